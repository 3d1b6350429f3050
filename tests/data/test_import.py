"""A folder of scans in any format becomes a dataset: nothing lost, nothing guessed in silence."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import source_scans
from hypothesis import given, settings
from hypothesis import strategies as st
from source_scans import WRITERS, points, run_import, stored, write_scans, write_taxonomy

from annotator3d.cli.main import main
from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.formats.registry import read_cloud
from annotator3d.data.importing import running


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    return write_taxonomy(tmp_path)


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_arrives_unchanged(tmp_path, taxonomy, kind):
    out = tmp_path / "out"
    assert (
        run_import(write_scans(tmp_path / "src", kind), out, taxonomy, format=kind.split("-")[0])
        == 0
    )
    dataset = ImportedScans(out, "all")
    assert dataset.ids == ["a/000000", "a/000001", "b/000000", "b/000001"]
    for i, seed in enumerate((0, 1, 100, 101)):
        wanted = points(seed)
        xyz, intensity, classes, instances = stored(out, dataset.ids[i])
        np.testing.assert_array_equal(xyz, wanted.xyz)
        np.testing.assert_array_equal(intensity, wanted.intensity)
        np.testing.assert_array_equal(classes, wanted.label)
        np.testing.assert_array_equal(instances, wanted.instance)
        scan = dataset.read(i)
        np.testing.assert_array_equal(scan.intensity, wanted.intensity / np.float32(255))
        train = {0: 255, 1: 0, 2: 1, 7: 1, 3: 2}
        np.testing.assert_array_equal(scan.labels, [train[raw] for raw in wanted.label])


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-1e3, 1e3, width=32)] * 3), min_size=1, max_size=6),
    st.data(),
)
def test_any_points_and_labels_survive_a_ply_file(tmp_path_factory, rows, data):
    folder = tmp_path_factory.mktemp("any")
    count = len(rows)
    labels = data.draw(
        st.lists(st.sampled_from([0, 1, 2, 3, 7, 9]), min_size=count, max_size=count)
    )
    labels[0] = 1  # with no class at all the scans are unlabelled
    wanted = source_scans.Points(
        np.array(rows, np.float32),
        np.array(data.draw(st.lists(st.integers(0, 255), min_size=count, max_size=count)), "f4"),
        np.array(labels, np.uint16),
        np.zeros(count, np.uint16),
    )
    (folder / "src").mkdir()
    source_scans.write_ply(folder / "src" / "one.ply", wanted)
    assert run_import(folder / "src", folder / "out", write_taxonomy(folder)) == 0
    xyz, intensity, classes, _ = stored(folder / "out", "00/000000")
    np.testing.assert_array_equal(xyz, wanted.xyz)
    np.testing.assert_array_equal(intensity, wanted.intensity)
    assert classes.tolist() == labels


@pytest.mark.parametrize(
    ("format", "library"),
    [("ply", "plyfile"), ("pcd", "pypcd4"), ("las", "laspy"), ("laz", "lazrs")],
)
def test_a_missing_library_is_one_line_that_names_the_extra(
    tmp_path, taxonomy, capsys, monkeypatch, format, library
):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / f"a.{format}").touch()
    monkeypatch.setitem(sys.modules, library, None)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format=format) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install 'annotator3d[formats]'" in error
    assert library in error and not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["ply-little", "ply-ascii", "pcd-binary", "pcd-compressed", "las",
                                  "laz", "npy", "npz", "bin"])  # fmt: skip
def test_damaged_files_are_all_named_and_mending_them_is_enough(tmp_path, taxonomy, capsys, kind):
    format = kind.split("-")[0]
    src, out = write_scans(tmp_path / "src", kind), tmp_path / "out"
    broken = [src / "a" / f"scan1.{format}", src / "b" / f"scan0.{format}"]
    whole = {path: path.read_bytes() for path in broken}
    for path in broken:
        path.write_bytes(whole[path][: len(whole[path]) * 2 // 3 + 1])
    assert run_import(src, out, taxonomy, format=format) == 1
    error = capsys.readouterr().err
    assert "2 of 4 scans cannot be imported" in error
    assert all(path.relative_to(src).as_posix() in error for path in broken)
    with pytest.raises(FileNotFoundError, match="unfinished import"):
        ImportedScans(out, "all")
    capsys.readouterr()
    assert main(["check", str(out)]) == 1  # it is not taken for a folder of another layout
    assert "unfinished import" in capsys.readouterr().err
    for path in broken:
        path.write_bytes(whole[path])
    assert run_import(src, out, taxonomy, format=format) == 0
    assert len(ImportedScans(out, "all")) == 4


def test_an_import_that_was_stopped_goes_on_and_ends_the_same(tmp_path, taxonomy, monkeypatch):
    src, real = write_scans(tmp_path / "src"), running.convert
    assert run_import(src, tmp_path / "whole", taxonomy) == 0
    seen: list[str] = []
    out = tmp_path / "out"
    for stop_after, code in ((3, 130), (4, 130), (9, 0)):

        def convert(source, *rest, stop_after=stop_after):
            if len(seen) == stop_after:
                raise KeyboardInterrupt
            seen.append(source.id)
            return real(source, *rest)

        monkeypatch.setattr(running, "convert", convert)
        assert run_import(src, out, taxonomy) == code
        if stop_after == 3:
            journal = out / ".import.jsonl"
            journal.write_bytes(journal.read_bytes()[:-20])  # a kill within the last line
    assert seen == ["a/000000", "a/000001", "b/000000", "b/000000", "b/000001"]
    assert contents(out) == contents(tmp_path / "whole")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_source_that_changed_or_went_since_the_stop_is_read_again(tmp_path, taxonomy):
    src, out = write_scans(tmp_path / "src"), tmp_path / "out"
    damaged = src / "b" / "scan0.ply"
    damaged.write_bytes(b"ply\n")
    assert run_import(src, out, taxonomy) == 1
    damaged.unlink()  # what was the second scan of b is the first now
    source_scans.write_ply(src / "a" / "scan0.ply", points(7))
    assert run_import(src, out, taxonomy) == 0
    np.testing.assert_array_equal(stored(out, "a/000000")[0], points(7).xyz)
    np.testing.assert_array_equal(stored(out, "b/000000")[0], points(101).xyz)
    assert ImportedScans(out, "all").ids == ["a/000000", "a/000001", "b/000000"]


def test_nothing_that_is_there_is_overwritten(tmp_path, taxonomy, capsys):
    src, out = write_scans(tmp_path / "src"), tmp_path / "out"
    assert run_import(src, out, taxonomy) == 0
    before = contents(out)
    assert run_import(src, out, taxonomy) == 1
    assert "already holds a dataset" in capsys.readouterr().err
    assert contents(out) == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    assert run_import(src, tmp_path / "full", taxonomy) == 1
    assert "thesis.tex" in capsys.readouterr().err
    assert run_import(src, src / "inside", taxonomy) == 1
    assert "outside of SRC" in capsys.readouterr().err


def test_an_unfinished_import_refuses_other_options(tmp_path, taxonomy, capsys):
    src, out = write_scans(tmp_path / "src"), tmp_path / "out"
    (src / "a" / "scan0.ply").write_bytes(b"ply\n")
    assert run_import(src, out, taxonomy) == 1
    assert run_import(src, out, taxonomy, "--unit", "0.001") == 1
    assert "unfinished import with other options" in capsys.readouterr().err


def test_several_processes_write_the_same(tmp_path, taxonomy):
    src = write_scans(tmp_path / "src", sequences=("a",), scans=40, count=5)
    assert run_import(src, tmp_path / "one", taxonomy, "--workers", "1") == 0
    assert run_import(src, tmp_path / "two", taxonomy, "--workers", "2") == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_numbered_files_keep_their_number_and_others_are_counted_naturally(tmp_path, taxonomy):
    for name in ("kitti/sequences/04/velodyne/000003", "kitti/sequences/04/velodyne/000010",
                 "x/scan2", "x/scan10", "x/scan1", "deep/er/1600000000000000"):  # fmt: skip
        path = tmp_path / "src" / f"{name}.ply"
        path.parent.mkdir(parents=True, exist_ok=True)
        source_scans.write_ply(path, points(0))
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    with open(tmp_path / "out" / "scans.csv", newline="") as file:
        rows = {row["id"]: row["source"] for row in csv.DictReader(file)}
    assert rows == {
        "deep-er/000000": "deep/er/1600000000000000.ply",
        "kitti-04/000003": "kitti/sequences/04/velodyne/000003.ply",
        "kitti-04/000010": "kitti/sequences/04/velodyne/000010.ply",
        "x/000000": "x/scan1.ply",
        "x/000001": "x/scan2.ply",
        "x/000002": "x/scan10.ply",
    }
    assert [ImportedScans(tmp_path / "out", "all").origin(i).source for i in (1, 5)] == [
        "kitti/sequences/04/velodyne/000003.ply",
        "x/scan10.ply",
    ]


def test_folders_that_would_become_one_sequence_are_refused(tmp_path, taxonomy, capsys):
    for name in ("00/velodyne", "00/points"):
        (tmp_path / "src" / name).mkdir(parents=True)
        source_scans.write_ply(tmp_path / "src" / name / "a.ply", points(0))
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 1
    assert "would both become sequence '00'" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["beside", "labels", "sibling", "given", "npy", "lidarseg"])
def test_labels_in_a_file_of_their_own_are_found(tmp_path, taxonomy, place):
    src, p = tmp_path / "src", points(0)
    folder = src / "s" / ("points" if place == "sibling" else "")
    folder.mkdir(parents=True)
    source_scans.write_ply(folder / "one.ply", p, label=False)
    target = {
        "beside": folder / "one.label",
        "labels": folder / "labels" / "one.label",
        "sibling": src / "s" / "labels" / "one.label",
        "given": tmp_path / "given" / "s" / "one.label",
        "npy": folder / "one_label.npy",
        "lidarseg": tmp_path / "given" / "lidarseg" / "s_000000_lidarseg.bin",
    }[place]
    target.parent.mkdir(parents=True, exist_ok=True)
    if place == "npy":
        np.save(target, p.label.astype(np.int64))
    elif place == "lidarseg":
        p.label.astype(np.uint8).tofile(target)
    else:
        (p.label | p.instance.astype("<u4") << 16).tofile(target)
    options = ["--labels", str(tmp_path / "given")] if place in ("given", "lidarseg") else []
    assert run_import(src, tmp_path / "out", taxonomy, *options) == 0
    _, _, classes, instances = stored(tmp_path / "out", "s/000000")
    np.testing.assert_array_equal(classes, p.label)
    kept = p.instance if target.suffix == ".label" else np.zeros_like(p.instance)
    np.testing.assert_array_equal(instances, kept)


def test_wrong_options_are_usage_errors(tmp_path, taxonomy, capsys):
    src = write_scans(tmp_path / "src")
    for options, words in (
        (["--val", "bb"], "no such sequence; did you mean 'b'"),
        (["--val", "a,b"], "leave some for training"),
        (["--val-share", "1.5"], "--val-share"),
        (["--unit", "-1"], "--unit"),
        (["--offset", "1,2"], "expected auto, none or X,Y,Z"),
        (["--intensity-max", "0"], "--intensity-max"),
        (["--columns", "x,y,z"], "--columns is for"),
        (["--label-colors", "--label-field", "label"], "either --label-colors"),
    ):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert run_import(src, tmp_path / "out", taxonomy, *options) == 2, options
        assert words in capsys.readouterr().err
    assert main(["import", str(src), str(tmp_path / "out"), "--format", "ply"]) == 2
    assert "--taxonomy is missing" in capsys.readouterr().err


def test_another_format_than_the_files_is_told_with_what_is_there(tmp_path, taxonomy, capsys):
    src = write_scans(tmp_path / "src")
    assert run_import(src, tmp_path / "out", taxonomy, format="pcd") == 1
    assert "holds no .pcd files, only .ply" in capsys.readouterr().err
    assert run_import(tmp_path / "none", tmp_path / "out", taxonomy) == 1
    assert "SRC: there is no folder" in capsys.readouterr().err


def test_the_template_is_a_taxonomy_and_is_not_overwritten(tmp_path, capsys):
    from annotator3d.data.taxonomy import load_taxonomy

    path = tmp_path / "mine.yaml"
    assert main(["import", "--template", str(path)]) == 0
    loaded = load_taxonomy(path)
    assert loaded.names == ["ground", "building", "vegetation"]
    assert loaded.colors[1].tolist() == [230, 160, 50] and "ground" in loaded.guidance
    assert loaded.to_train([1, 2, 3, 4, 0], "x").tolist() == [0, 1, 2, 2, 255]
    assert main(["import", "--template", str(path)]) == 2
    assert "the file exists already" in capsys.readouterr().err


def test_own_scans_says_what_a_folder_lacks(tmp_path, taxonomy, make_kitti):
    with pytest.raises(FileNotFoundError, match="import your scans first"):
        ImportedScans(make_kitti(), "train")
    out = tmp_path / "out"
    run_import(write_scans(tmp_path / "src"), out, taxonomy, "--val-share", "0")
    with pytest.raises(ValueError, match="--set data.val=null"):
        ImportedScans(out, "val")
    with pytest.raises(ValueError, match="split must be"):
        ImportedScans(out, "vall")
    (out / "splits" / "train.txt").write_text("a/000001  # mine\n")
    assert ImportedScans(out, "train").ids == ["a/000001"]
    text = (out / "dataset.yaml").read_text()
    (out / "dataset.yaml").write_text(text.replace("layout: 1", "layout: 9"))
    with pytest.raises(ValueError, match="layout 9, this version reads 1"):
        ImportedScans(out, "train")


TINY = [
    "device=cpu",
    "model.voxel_size=2.0",
    "model.backbone={type: MinkUNet, planes: [4, 4, 8, 8, 4], blocks: 1}",
    "schedule.epochs=1",
    "active.rounds_at=[0]",
    "active.voxel_size=4.0",
]


def train(out: Path, work: Path, *more: str) -> int:
    options = [part for setting in (*TINY, *more) for part in ("--set", setting)]
    return main(
        ["train", "al/own_data", "--data-root", str(out), "--work-dir", str(work), *options]
    )


def test_a_newcomer_with_ply_files_and_three_classes_reaches_train(tmp_path, capsys):
    """The commands of docs/own-data.md, in its order."""
    src = write_scans(tmp_path / "scans")
    classes, data = tmp_path / "classes.yaml", tmp_path / "data"
    assert main(["import", "--template", str(classes)]) == 0
    classes.write_text(classes.read_text().replace("ids: [2]", "ids: [2, 7]"))
    assert run_import(src, data, classes) == 0
    assert f"next: annotator3d train al/own_data --data-root {data}\n" in capsys.readouterr().out
    assert main(["check", str(data)]) == 0
    assert train(data, tmp_path / "work") == 0
    assert "mIoU" in capsys.readouterr().out
    card = json.loads((tmp_path / "work" / "run.json").read_text())
    assert card["classes"] == ["ground", "building", "vegetation"]
    assert card["ledger"]["answered"] == card["data"]["pool"]["scans"] > 0


def test_scans_without_labels_reach_the_first_query(tmp_path, taxonomy, capsys):
    src = tmp_path / "src"
    src.mkdir()
    for i in range(2):
        source_scans.write_ply(src / f"{i}.ply", points(i), label=False)
    assert run_import(src, tmp_path / "data", taxonomy) == 0
    (line,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("next: "))
    wanted = line.split("--set ")[1:]
    assert train(tmp_path / "data", tmp_path / "work", *(w.strip() for w in wanted)) == 0
    assert "2 of 2 voxels wait" in capsys.readouterr().out


def test_reading_a_file_of_another_format_is_told_in_words(tmp_path):
    path = tmp_path / "a.ply"
    path.write_text("ply\nformat ascii 1.0\nelement face 0\nproperty int x\nend_header\n")
    with pytest.raises(ValueError, match="a.ply has no element 'vertex', only"):
        read_cloud(path, "ply")
    np.save(tmp_path / "a.npy", np.array([{"evil": 1}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="a.npy holds Python objects"):
        read_cloud(tmp_path / "a.npy", "npy")
    np.savez(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(3))
    with pytest.raises(ValueError, match="a.npz has no z, only x, y"):
        read_cloud(tmp_path / "a.npz", "npz")


def test_import_writes_nothing_outside_of_out(tmp_path, taxonomy):
    src = write_scans(tmp_path / "src")
    before = contents(src)
    os.chmod(src / "a", 0o555)
    assert run_import(src, tmp_path / "out", taxonomy) == 0
    assert contents(src) == before
