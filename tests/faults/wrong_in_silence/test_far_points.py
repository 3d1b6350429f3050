"""A few points far away change nothing for the others, and are counted."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import source_scans
import torch
from source_scans import points, run_import, stored, write_taxonomy

from annotator3d.cli.main import main
from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.formats.kitti import read_poses
from annotator3d.data.scan import rows_of_cell, rows_of_cells
from annotator3d.models.sparse_cuda import CudaGeometry

FLT_MAX = float(np.finfo(np.float32).max)


def offsets(out: Path) -> list[str]:
    with open(out / "scans.csv", newline="") as file:
        return [row["offset"] for row in csv.DictReader(file)]


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    return write_taxonomy(tmp_path)


@pytest.mark.parametrize(
    ("stray", "kept"), [(2.5e5, True), (-3e4, True), (4e6, True), (1e9, False), (FLT_MAX, False)]
)
@pytest.mark.parametrize("axis", [0, 2])
def test_a_stray_point_moves_no_scan_and_is_counted(tmp_path, taxonomy, capsys, stray, kept, axis):
    src, out = tmp_path / "src" / "d", tmp_path / "out"
    src.mkdir(parents=True)
    for i in range(4):
        p = points(i)
        if i == 2:
            p.xyz[5, axis] = stray
        source_scans.write_ply(src / f"{i}.ply", p)
    assert run_import(tmp_path / "src", out, taxonomy) == 0
    printed = capsys.readouterr().out
    assert offsets(out) == [""] * 4 and not (out / "sequences/d/poses.txt").exists()
    words = "far from all others" if kept else "farther than 10,000 km"
    (note,) = [line for line in printed.splitlines() if words in line]
    assert "1 point in 1 scan, d/2.ply" in note
    xyz = stored(out, "d/000002")[0]
    np.testing.assert_array_equal(np.delete(xyz, 5, 0), np.delete(points(2).xyz, 5, 0))
    assert np.isnan(xyz[5]).all() == (not kept)
    main(["check", str(out)])
    printed = capsys.readouterr().out
    assert "far points" in printed if kept else "not finite" in printed


def test_zeros_in_a_map_far_away_do_not_keep_it_there(tmp_path, taxonomy):
    """Four in ten points without a return at 0, 0, 0, the others in UTM."""
    src = tmp_path / "src"
    src.mkdir()
    p = points(0, 500)
    xyz = p.xyz.astype(np.float64) + [690_123, 5_335_456, 512]
    xyz[:200] = 0
    np.save(src / "a.npy", np.column_stack([xyz, p.intensity]))
    assert run_import(src, tmp_path / "out", taxonomy, format="npy") == 0
    stored_xyz = np.fromfile(next((tmp_path / "out").rglob("*.bin")), "<f4").reshape(-1, 4)[:, :3]
    offset = np.array([float(value) for value in offsets(tmp_path / "out")[0].split()])
    np.testing.assert_allclose(stored_xyz[200:] + offset, xyz[200:], rtol=0, atol=1e-4)


def test_all_scans_of_a_drive_have_an_offset_or_none(tmp_path, taxonomy):
    """A drive in map coordinates that passes 10 km, mostly beyond; another one mostly before."""
    for name, places in (("far", (9_980, 10_020, 10_060)), ("near", (9_900, 9_950, 10_020))):
        (tmp_path / "src" / name).mkdir(parents=True)
        for i, x in enumerate(places):
            p = points(i)
            p.xyz = p.xyz.astype(np.float64) + [x, 0, 0]
            rows = np.column_stack([p.xyz, p.intensity])
            np.save(tmp_path / "src" / name / f"{i}.npy", rows)
    out = tmp_path / "out"
    assert run_import(tmp_path / "src", out, taxonomy, format="npy") == 0
    found = offsets(out)
    assert all(found[:3]) and not any(found[3:])
    poses = read_poses(out / "sequences/far/poses.txt")
    moved = [np.fromfile(p, "<f4").reshape(-1, 4)[:, :3] for p in sorted(out.rglob("far/*/*.bin"))]
    for i, x in enumerate((9_980, 10_020, 10_060)):
        first = np.array([float(value) for value in found[0].split()])
        world = moved[i] + poses[i][:3, 3] + first
        np.testing.assert_allclose(world, points(i).xyz + np.array([x, 0, 0]), rtol=0, atol=2e-3)
    assert not (out / "sequences/near/poses.txt").exists()


def test_one_scan_of_another_place_is_named(tmp_path, taxonomy, capsys):
    src = tmp_path / "src" / "d"
    src.mkdir(parents=True)
    for i in range(4):
        p = points(i)
        xyz = p.xyz.astype(np.float64) + (5e6 if i == 2 else 0)
        np.save(src / f"{i}.npy", np.column_stack([xyz, p.intensity]))
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npy") == 1
    error = capsys.readouterr().err
    assert "2.npy has coordinates around 5e+06 m" in error and "steps of 0.5 m" in error


@pytest.mark.parametrize("options", [["--offset", "none"], ["--offset=5335456,690123,512"]])
def test_an_offset_that_leaves_steps_of_centimetres_is_told_and_fails_the_check(
    tmp_path, taxonomy, capsys, options
):
    (tmp_path / "src").mkdir()
    source_scans.write_las(tmp_path / "src" / "a.las", points(0), (690_123.0, 5_335_456.0, 512.0))
    assert run_import(tmp_path / "src", tmp_path / "o", taxonomy, *options, format="las") == 0
    note = "most coordinates are so large that float32 keeps steps of 0.5 m; pass --offset auto"
    assert note in capsys.readouterr().out
    assert main(["check", str(tmp_path / "o")]) == 1
    assert "error: large coordinates" in capsys.readouterr().out


KITTI = {
    "UTM": (lambda xyz: xyz + [690_123, 5_335_456, 512], "error: large coordinates", "0.5 m"),
    "national grid": (lambda xyz: xyz + [30_000, 40_000, 0], "warning: coarse", "0.00390625 m"),
    "1e9": (lambda xyz: xyz + 1e9, "error: empty scan", "none of its 300 points"),
    "1e30": (lambda xyz: xyz * 1e30, "error: empty scan", "none of its 300 points"),
}


@pytest.mark.parametrize("name", KITTI)
def test_check_sees_what_float32_cannot_hold(make_kitti, capsys, name):
    moved, kind, words = KITTI[name]
    root = make_kitti(sequences=("00",), scans=1, points=300)
    (path,) = root.rglob("*.bin")
    data = np.fromfile(path, "<f4").reshape(-1, 4)
    data[:, :3] = moved(data[:, :3].astype(np.float64))
    data.tofile(path)
    main(["check", str(root)])
    printed = capsys.readouterr().out
    assert kind in printed and words in printed and str(path) in printed


@pytest.mark.parametrize(("value", "words"), [
    (FLT_MAX, "farther than 10,000 km"), (-1e30, "farther than 10,000 km"),
    (1e9, "farther than 10,000 km"), (2.5e5, "up to 250.0 km"), (2e4, "up to 20.0 km"),
])  # fmt: skip
def test_check_counts_single_points_and_a_scan_is_read_without_the_impossible(
    make_kitti, capsys, value, words
):
    root = make_kitti(sequences=("00",), scans=1, points=300)
    (path,) = root.rglob("*.bin")
    data = np.fromfile(path, "<f4").reshape(-1, 4)
    data[7, 1] = value
    data.tofile(path)
    main(["check", str(root)])
    printed = capsys.readouterr().out
    assert "warning: far points" in printed and words in printed and "row 7" in printed
    assert "1 of 300 points" in printed


def test_a_point_at_the_largest_float_stops_no_training(tmp_path, taxonomy, recwarn):
    src, out = tmp_path / "src", tmp_path / "out"
    for name in "ab":
        (src / name).mkdir(parents=True)
        source_scans.write_ply(src / name / "0.ply", points(ord(name)))
    assert run_import(src, out, taxonomy, "--val", "b") == 0
    path = out / "sequences/a/velodyne/000000.bin"
    data = np.fromfile(path, "<f4").reshape(-1, 4)
    data[3, :3] = FLT_MAX
    data.tofile(path)
    scan = ImportedScans(out, "train").read(0)
    assert len(scan) == 119 and 3 not in scan.rows
    settings = ["device=cpu", "model.voxel_size=2.0", "schedule.epochs=1", "active.rounds_at=[0]",
                "model.backbone={type: MinkUNet, planes: [4, 4, 8, 8, 4], blocks: 1}"]  # fmt: skip
    options = [part for setting in settings for part in ("--set", setting)]
    work = str(tmp_path / "work")
    command = ["train", "al/own_data", "--data-root", str(out), "--work-dir", work]
    assert main([*command, *options]) == 0


def test_a_stray_voxel_is_looked_up_like_any_other():
    xyz = np.float32([[1, 1, 1], [9e6, -9e6, 9e6], [1.1, 1, 1], [-9e6, 9e6, -9e6]])
    cells = [tuple(int(v) for v in np.floor(row / np.float32(0.25))) for row in xyz]
    for rows, cell in zip(rows_of_cells(xyz, cells, 0.25), cells, strict=True):
        np.testing.assert_array_equal(rows, rows_of_cell(xyz, cell, 0.25))


@pytest.mark.parametrize("far", [(2**31 - 1, 0, 0), (2**21, 2**21, 2**21), (-(2**31), 5, 5)])
def test_what_convolution_on_cuda_cannot_number_is_refused(far):
    cells = torch.tensor([(0, 0, 0), far], dtype=torch.int32)
    with pytest.raises(ValueError, match="lie too far apart for convolution on CUDA"):
        CudaGeometry(cells, torch.tensor([0, 2]))
