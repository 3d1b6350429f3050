"""Poses and splits of an import."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import source_scans
from hypothesis import given, settings
from hypothesis import strategies as st
from source_scans import points, run_import, write_scans, write_taxonomy

from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.formats.kitti import read_calib, read_poses


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    return write_taxonomy(tmp_path)


def pose(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(random.normal(size=(3, 3)))[0]
    matrix[:3, 3] = random.normal(size=3)
    return matrix


@pytest.mark.parametrize("place", ["rows", "one each", "folder of rows", "16 numbers"])
def test_poses_are_found_and_kept(tmp_path, taxonomy, place):
    src = write_scans(tmp_path / "src")
    poses = {name: [pose(10 * k + i) for i in range(2)] for k, name in enumerate(("a", "b"))}
    options = []
    for name, matrices in poses.items():
        lines = [" ".join(repr(float(v)) for v in m[:3].ravel()) for m in matrices]
        if place == "rows":
            (src / name / "poses.txt").write_text("\n".join(lines))
        elif place == "folder of rows":
            (tmp_path / "poses").mkdir(exist_ok=True)
            (tmp_path / "poses" / f"{name}.txt").write_text("\n".join(lines))
            options = ["--poses", str(tmp_path / "poses")]
        else:
            for i, line in enumerate(lines):
                extra = "\n0, 0, 0, 1" if place == "16 numbers" else ""
                (src / name / f"scan{i}.pose").write_text(line.replace(" ", ", ") + extra)
    assert run_import(src, tmp_path / "out", taxonomy, *options) == 0
    for name, matrices in poses.items():
        folder = tmp_path / "out" / "sequences" / name
        np.testing.assert_array_equal(read_poses(folder / "poses.txt"), matrices)
        np.testing.assert_array_equal(read_calib(folder / "calib.txt")["Tr"], np.eye(4))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.tuples(*[st.integers(-(10**6), 10**6)] * 3))
def test_poses_lead_to_the_same_place_whatever_is_subtracted(tmp_path_factory, seed, offset):
    folder = tmp_path_factory.mktemp("poses")
    src = write_scans(folder / "src", sequences=("a",), scans=1)
    rows = [pose(seed), pose(seed + 1)]
    for name, matrix in (("poses.txt", rows[0]), ("calib.txt", rows[1])):
        numbers = " ".join(repr(float(v)) for v in matrix[:3].ravel())
        (src / "a" / name).write_text(("Tr: " if name == "calib.txt" else "") + numbers)
    words = ",".join(map(str, offset))
    assert run_import(src, folder / "out", write_taxonomy(folder), f"--offset={words}") == 0
    made = folder / "out" / "sequences" / "a"
    new, tr = read_poses(made / "poses.txt")[0], read_calib(made / "calib.txt")["Tr"]
    np.testing.assert_array_equal(tr, rows[1])
    old = np.column_stack([points(0).xyz.astype(np.float64), np.ones(120)])
    moved = old - [*offset, 0]
    np.testing.assert_allclose(moved @ (new @ tr).T, old @ (rows[0] @ tr).T, atol=1e-6)


def test_whole_sequence_poses_belong_to_numbered_frames(tmp_path, taxonomy):
    (tmp_path / "src" / "velodyne").mkdir(parents=True)
    for frame in (1, 3):
        source_scans.write_ply(tmp_path / "src" / "velodyne" / f"{frame:06d}.ply", points(frame))
    lines = [" ".join(repr(float(v)) for v in pose(i)[:3].ravel()) for i in range(5)]
    (tmp_path / "src" / "poses.txt").write_text("\n".join(lines))
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    found = read_poses(tmp_path / "out" / "sequences" / "00" / "poses.txt")
    np.testing.assert_array_equal(found[[1, 3]], [pose(1), pose(3)])


def test_poses_that_do_not_fit_are_refused_and_may_be_left_out(tmp_path, taxonomy, capsys):
    src = write_scans(tmp_path / "src", sequences=("a",), scans=3)
    (src / "a" / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 2)
    assert run_import(src, tmp_path / "out", taxonomy) == 1
    assert "2 poses for 3 scans" in capsys.readouterr().err
    assert run_import(src, tmp_path / "out", taxonomy, "--poses", "none") == 0
    assert not (tmp_path / "out" / "sequences" / "a" / "poses.txt").exists()


def split(out: Path) -> tuple[list[str], list[str]]:
    return ImportedScans(out, "train", labels="optional").ids, ImportedScans(out, "val").ids


def test_splits_by_sequence_and_by_share_with_a_seed(tmp_path, taxonomy, capsys):
    src = write_scans(tmp_path / "src", sequences=("a", "b", "c"), scans=2, count=9)
    assert run_import(src, tmp_path / "named", taxonomy, "--val", "c,a") == 0
    train, val = split(tmp_path / "named")
    assert (train, val) == (
        ["b/000000", "b/000001"],
        [f"{s}/00000{i}" for s in "ac" for i in (0, 1)],
    )
    drawn = {}
    for seed in range(6):
        out = tmp_path / f"seed{seed}"
        assert run_import(src, out, taxonomy, "--val-share", "0.34", "--seed", str(seed)) == 0
        assert f"share 0.34 of the sequences, seed {seed}" in capsys.readouterr().out
        train, val = split(out)
        assert len(val) == 2 and len(train) == 4 and len({i.split("/")[0] for i in val}) == 1
        drawn[seed] = val[0]
    assert len(set(drawn.values())) == 3
    again = tmp_path / "again"
    assert run_import(src, again, taxonomy, "--val-share", "0.34", "--seed", "5") == 0
    assert split(again)[1][0] == drawn[5]
    assert ImportedScans(again, "val").drawn


def test_one_sequence_is_split_by_scans_and_only_labelled_ones_validate(tmp_path, taxonomy):
    src = write_scans(tmp_path / "src", sequences=("a",), scans=10, count=9)
    for frame in (0, 1, 2, 3, 4):
        source_scans.write_ply(src / "a" / f"scan{frame}.ply", points(frame, 9), label=False)
    assert run_import(src, tmp_path / "out", taxonomy, "--val-share", "0.4") == 0
    train, val = split(tmp_path / "out")
    assert len(val) == 2 and all(int(scan_id[2:]) >= 5 for scan_id in val)
    assert sorted(train + val) == ImportedScans(tmp_path / "out", "all", labels="optional").ids


def test_labelled_scans_without_validation_are_told_how_to_get_one(tmp_path, taxonomy, capsys):
    src, out = write_scans(tmp_path / "src"), tmp_path / "out"
    assert run_import(src, out, taxonomy, "--val-share", "0") == 0
    lists = out / "splits"
    wanted = f"next: move ids of some scans from {lists}/train.txt to {lists}/val.txt, then annot"
    assert wanted in capsys.readouterr().out
