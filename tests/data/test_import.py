"""A folder of scans in any format becomes a dataset: nothing lost, nothing guessed in silence."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import own_case
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from own_case import WRITERS, points, write_scans, write_taxonomy

from annotator3d.cli.main import main
from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.formats.kitti import read_bin, read_calib, read_label, read_poses, split_label
from annotator3d.data.formats.registry import read_cloud
from annotator3d.data.importing import running


@pytest.fixture
def taxonomy(tmp_path) -> Path:
    return write_taxonomy(tmp_path)


def run(src: Path, out: Path, taxonomy: Path, *options: str, format: str = "ply") -> int:
    return main(
        ["import", str(src), str(out), "--format", format, "--taxonomy", str(taxonomy), *options]
    )


def stored(out: Path, scan_id: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """xyz, intensity, classes and instances of a scan as they lie on the disk."""
    sequence, frame = scan_id.split("/")
    folder = out / "sequences" / sequence
    xyz, intensity = read_bin(folder / "velodyne" / f"{frame}.bin")
    classes, instances = split_label(read_label(folder / "labels" / f"{frame}.label", len(xyz)))
    return xyz, intensity, classes, instances


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_arrives_unchanged(tmp_path, taxonomy, kind):
    out = tmp_path / "out"
    assert run(write_scans(tmp_path / "src", kind), out, taxonomy, format=kind.split("-")[0]) == 0
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
    wanted = own_case.Points(
        np.array(rows, np.float32),
        np.array(data.draw(st.lists(st.integers(0, 255), min_size=count, max_size=count)), "f4"),
        np.array(labels, np.uint16),
        np.zeros(count, np.uint16),
    )
    (folder / "src").mkdir()
    own_case.write_ply(folder / "src" / "one.ply", wanted)
    assert run(folder / "src", folder / "out", write_taxonomy(folder)) == 0
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
    assert run(tmp_path / "src", tmp_path / "out", taxonomy, format=format) == 1
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
    assert run(src, out, taxonomy, format=format) == 1
    error = capsys.readouterr().err
    assert "2 of 4 scans cannot be imported" in error
    assert all(str(path) in error for path in broken)
    with pytest.raises(FileNotFoundError, match="unfinished import"):
        ImportedScans(out, "all")
    for path in broken:
        path.write_bytes(whole[path])
    assert run(src, out, taxonomy, format=format) == 0
    assert len(ImportedScans(out, "all")) == 4


def test_an_import_that_was_stopped_goes_on_and_ends_the_same(tmp_path, taxonomy, monkeypatch):
    src, real = write_scans(tmp_path / "src"), running.convert
    assert run(src, tmp_path / "whole", taxonomy) == 0
    seen: list[str] = []
    out = tmp_path / "out"
    for stop_after, code in ((3, 1), (4, 1), (9, 0)):

        def convert(source, *rest, stop_after=stop_after):
            if len(seen) == stop_after:
                raise KeyboardInterrupt
            seen.append(source.id)
            return real(source, *rest)

        monkeypatch.setattr(running, "convert", convert)
        assert run(src, out, taxonomy) == code
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
    assert run(src, out, taxonomy) == 1
    damaged.unlink()  # what was the second scan of b is the first now
    own_case.write_ply(src / "a" / "scan0.ply", points(7))
    assert run(src, out, taxonomy) == 0
    np.testing.assert_array_equal(stored(out, "a/000000")[0], points(7).xyz)
    np.testing.assert_array_equal(stored(out, "b/000000")[0], points(101).xyz)
    assert ImportedScans(out, "all").ids == ["a/000000", "a/000001", "b/000000"]


def test_nothing_that_is_there_is_overwritten(tmp_path, taxonomy, capsys):
    src, out = write_scans(tmp_path / "src"), tmp_path / "out"
    assert run(src, out, taxonomy) == 0
    before = contents(out)
    assert run(src, out, taxonomy) == 1
    assert "already holds a dataset" in capsys.readouterr().err
    assert contents(out) == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    assert run(src, tmp_path / "full", taxonomy) == 1
    assert "thesis.tex" in capsys.readouterr().err
    assert run(src, src / "inside", taxonomy) == 1
    assert "outside of SRC" in capsys.readouterr().err


def test_an_unfinished_import_refuses_other_options(tmp_path, taxonomy, capsys):
    src, out = write_scans(tmp_path / "src"), tmp_path / "out"
    (src / "a" / "scan0.ply").write_bytes(b"ply\n")
    assert run(src, out, taxonomy) == 1
    assert run(src, out, taxonomy, "--unit", "0.001") == 1
    assert "unfinished import with other options" in capsys.readouterr().err


def test_several_processes_write_the_same(tmp_path, taxonomy):
    src = write_scans(tmp_path / "src", sequences=("a",), scans=40, count=5)
    assert run(src, tmp_path / "one", taxonomy, "--workers", "1") == 0
    assert run(src, tmp_path / "two", taxonomy, "--workers", "2") == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_numbered_files_keep_their_number_and_others_are_counted_naturally(tmp_path, taxonomy):
    for name in ("kitti/sequences/04/velodyne/000003", "kitti/sequences/04/velodyne/000010",
                 "x/scan2", "x/scan10", "x/scan1", "deep/er/1600000000000000"):  # fmt: skip
        path = tmp_path / "src" / f"{name}.ply"
        path.parent.mkdir(parents=True, exist_ok=True)
        own_case.write_ply(path, points(0))
    assert run(tmp_path / "src", tmp_path / "out", taxonomy) == 0
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
        own_case.write_ply(tmp_path / "src" / name / "a.ply", points(0))
    assert run(tmp_path / "src", tmp_path / "out", taxonomy) == 1
    assert "would both become sequence '00'" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["beside", "labels", "sibling", "given", "npy", "lidarseg"])
def test_labels_in_a_file_of_their_own_are_found(tmp_path, taxonomy, place):
    src, p = tmp_path / "src", points(0)
    folder = src / "s" / ("points" if place == "sibling" else "")
    folder.mkdir(parents=True)
    own_case.write_ply(folder / "one.ply", p, label=False)
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
    assert run(src, tmp_path / "out", taxonomy, *options) == 0
    _, _, classes, instances = stored(tmp_path / "out", "s/000000")
    np.testing.assert_array_equal(classes, p.label)
    kept = p.instance if target.suffix == ".label" else np.zeros_like(p.instance)
    np.testing.assert_array_equal(instances, kept)


def test_a_label_folder_that_fits_no_scan_is_refused(tmp_path, taxonomy, capsys):
    (tmp_path / "given").mkdir()
    src, options = write_scans(tmp_path / "src"), ["--labels", str(tmp_path / "given")]
    assert run(src, tmp_path / "out", taxonomy, *options) == 1
    assert "expected such as a/scan0.label" in capsys.readouterr().err
    assert run(src, tmp_path / "out", taxonomy, *options, "--label-field", "label") == 2
    assert "either --labels or a field" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_label_files_of_another_length_name_both_files(tmp_path, taxonomy, capsys):
    src = tmp_path / "src"
    src.mkdir()
    own_case.write_ply(src / "one.ply", points(0), label=False)
    np.save(src / "one_label.npy", np.ones(7, int))
    assert run(src, tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err
    assert "one_label.npy" in error and "one.ply has 120 points" in error


def test_npy_scans_and_npy_labels_are_told_apart(tmp_path, taxonomy):
    p = points(0)
    for folder in ("src/labels", "src"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    np.save(tmp_path / "src" / "one.npy", np.column_stack([p.xyz, p.intensity]))
    np.save(tmp_path / "src" / "labels" / "one.npy", p.label)
    assert run(tmp_path / "src", tmp_path / "out", taxonomy, format="npy") == 0
    assert ImportedScans(tmp_path / "out", "all").ids == ["00/000000"]
    np.testing.assert_array_equal(stored(tmp_path / "out", "00/000000")[2], p.label)


def test_columns_name_what_plain_arrays_hold(tmp_path, taxonomy, capsys):
    p = points(0)
    (tmp_path / "src").mkdir()
    columns = np.column_stack([p.intensity, p.xyz, np.arange(len(p.xyz)), p.label])
    columns.astype("<f4").tofile(tmp_path / "src" / "one.bin")
    names = "intensity,x,y,z,_,label"
    assert run(tmp_path / "src", tmp_path / "o", taxonomy, "--columns", names, format="bin") == 0
    xyz, intensity, classes, _ = stored(tmp_path / "o", "00/000000")
    np.testing.assert_array_equal(xyz, p.xyz)
    np.testing.assert_array_equal(classes, p.label)
    np.save(tmp_path / "src" / "one.npy", columns)
    assert run(tmp_path / "src", tmp_path / "p", taxonomy, format="npy") == 1
    assert "6 columns; name each with --columns" in capsys.readouterr().err
    assert run(tmp_path / "src", tmp_path / "q", taxonomy, "--columns", "x,y", format="npy") == 2
    assert "--columns x,y: z is missing" in capsys.readouterr().err


def with_fields(path: Path, **fields: np.ndarray) -> own_case.Points:
    """A PLY file with these fields beside x, y, z."""
    p = points(0)
    with_columns(path, {axis: p.xyz[:, k] for k, axis in enumerate("xyz")} | fields)
    return p


def with_columns(path: Path, columns: dict[str, np.ndarray]) -> None:
    from plyfile import PlyData, PlyElement

    data = np.empty(len(columns["x"]), [(n, v.dtype) for n, v in columns.items()])
    for name, values in columns.items():
        data[name] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    PlyData([PlyElement.describe(data, "vertex")]).write(str(path))


def test_fields_are_found_by_their_usual_names_and_chosen_by_options(tmp_path, taxonomy, capsys):
    p = points(0)
    other = np.roll(p.label, 1).astype(np.int32)
    path = tmp_path / "src" / "one.ply"
    with_fields(
        path, scalar_Classification=p.label.astype("f4"), mine=other, Reflectance=p.intensity
    )
    assert run(tmp_path / "src", tmp_path / "a", taxonomy) == 0
    printed = capsys.readouterr().out
    assert "'scalar_Classification'" in printed and "'Reflectance'" in printed
    _, intensity, classes, _ = stored(tmp_path / "a", "00/000000")
    np.testing.assert_array_equal(classes, p.label)
    np.testing.assert_array_equal(intensity, p.intensity)
    assert run(tmp_path / "src", tmp_path / "b", taxonomy, "--label-field", "Mine") == 0
    np.testing.assert_array_equal(stored(tmp_path / "b", "00/000000")[2], other)
    assert run(tmp_path / "src", tmp_path / "c", taxonomy, "--label-field", "reflectanse") == 1
    assert "did you mean 'Reflectance'" in capsys.readouterr().err
    assert run(tmp_path / "src", tmp_path / "d", taxonomy, "--label-field", "none") == 0
    assert not list((tmp_path / "d").rglob("*.label"))


def test_minus_one_and_nan_are_no_class_and_fractions_are_refused(tmp_path, taxonomy, capsys):
    p = points(0)
    label = p.label.astype(np.float32)
    label[:4] = [-1, np.nan, 2, 3]
    with_fields(tmp_path / "src" / "one.ply", label=label)
    assert run(tmp_path / "src", tmp_path / "a", taxonomy) == 0
    assert stored(tmp_path / "a", "00/000000")[2][:4].tolist() == [0, 0, 2, 3]
    assert "2 points without a class" in capsys.readouterr().out
    for wrong in (1.5, -2, np.inf):
        label[5] = wrong
        with_fields(tmp_path / "src" / "one.ply", label=label)
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        assert run(tmp_path / "src", tmp_path / "b", taxonomy) == 1
        assert "whole numbers from 0 to 65535" in capsys.readouterr().err


def test_packed_labels_in_a_field_are_split(tmp_path, taxonomy):
    p = points(0)
    with_fields(tmp_path / "src" / "one.ply", label=p.label | p.instance.astype(np.uint32) << 16)
    assert run(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    _, _, classes, instances = stored(tmp_path / "out", "00/000000")
    np.testing.assert_array_equal(classes, p.label)
    np.testing.assert_array_equal(instances, p.instance)


def test_classes_may_be_told_by_colors(tmp_path, taxonomy):
    p = points(0)
    palette = {0: (9, 9, 9), 1: (128, 64, 128), 2: (230, 160, 50), 3: (0, 175, 0), 7: (9, 9, 9)}
    rgb = np.array([palette[raw] for raw in p.label], np.uint8)
    channels = {name: rgb[:, i] for i, name in enumerate(("red", "green", "blue"))}
    with_fields(tmp_path / "src" / "one.ply", **channels)
    assert run(tmp_path / "src", tmp_path / "out", taxonomy, "--label-colors") == 0
    wanted = np.where(p.label == 7, 0, p.label)
    np.testing.assert_array_equal(stored(tmp_path / "out", "00/000000")[2], wanted)


def test_without_intensity_the_network_gets_a_constant(tmp_path, taxonomy, capsys):
    with_fields(tmp_path / "src" / "one.ply", label=points(0).label)
    assert run(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    assert "no intensity: the network gets the constant 0" in capsys.readouterr().out
    scan = ImportedScans(tmp_path / "out", "all").read(0)
    assert len(scan) == 120 and not scan.intensity.any()


def test_intensity_in_some_files_only_is_refused(tmp_path, taxonomy, capsys):
    with_fields(tmp_path / "src" / "one.ply", label=points(0).label)
    own_case.write_ply(tmp_path / "src" / "two.ply", points(0))
    assert run(tmp_path / "src", tmp_path / "a", taxonomy) == 1
    assert "1 of 2 files have no intensity, the first is one.ply" in capsys.readouterr().err
    assert run(tmp_path / "src", tmp_path / "b", taxonomy, "--intensity-field", "none") == 0


@pytest.mark.parametrize(
    ("largest", "scale"), [(0.7, 1), (1.0, 1), (90, 255), (3000, 4095), (50000, 65535), (1e5, 1e5)]
)
def test_intensity_is_brought_to_0_to_1_by_a_scale_that_can_be_changed(
    tmp_path, taxonomy, largest, scale
):
    intensity = np.linspace(0, largest, 120, dtype=np.float32)
    with_fields(tmp_path / "src" / "one.ply", intensity=intensity)
    assert run(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    path = tmp_path / "out" / "dataset.yaml"
    card = yaml.safe_load(path.read_text())
    assert card["intensity"] == {"field": "intensity", "max": scale}
    found = ImportedScans(tmp_path / "out", "all", labels="optional").read(0).intensity
    np.testing.assert_allclose(found, intensity / scale, rtol=1e-6)
    card["intensity"]["max"] = 2 * scale
    path.write_text(yaml.safe_dump(card))
    halved = ImportedScans(tmp_path / "out", "all", labels="optional").read(0).intensity
    np.testing.assert_allclose(halved, intensity / scale / 2, rtol=1e-6)


def test_las_without_any_class_is_unlabelled(tmp_path, taxonomy, capsys):
    (tmp_path / "src").mkdir()
    own_case.write_las(tmp_path / "src" / "one.las", points(0), classes=False)
    assert run(tmp_path / "src", tmp_path / "out", taxonomy, format="las") == 0
    printed = capsys.readouterr().out
    assert "no labels: a person has to answer" in printed
    assert "--set active.oracle=person --set data.val=null" in printed
    assert not list((tmp_path / "out").rglob("labels"))


UTM = (690_123.0, 5_335_456.0, 512.0)


def test_large_coordinates_keep_their_millimetres_and_come_back(tmp_path, taxonomy, capsys):
    src, out = tmp_path / "src", tmp_path / "out"
    src.mkdir()
    shifts = [(0.0, 0.0, 0.0), (100.0, 50.0, 1.0)]
    for i, shift in enumerate(shifts):
        own_case.write_las(src / f"{i}.las", points(i), tuple(np.array(UTM) + shift))
    assert run(src, out, taxonomy, format="las") == 0
    assert "would lose their millimetres" in capsys.readouterr().out
    dataset, poses = ImportedScans(out, "all"), read_poses(out / "sequences" / "00" / "poses.txt")
    first = np.array(dataset.origin(0).offset)
    for i, shift in enumerate(shifts):
        scan, offset = dataset.read(i), np.array(dataset.origin(i).offset)
        assert np.abs(scan.xyz).max() < 50 and (offset == np.floor(offset)).all()
        world = points(i).xyz.astype(np.float64) + UTM + shift
        np.testing.assert_allclose(scan.xyz + offset, world, atol=5e-6)
        np.testing.assert_allclose(poses[i][:3, 3] + first, offset)
    assert run(src, tmp_path / "b", taxonomy, "--offset", "690123,5335456,512", format="las") == 0
    np.testing.assert_array_equal(stored(tmp_path / "b", "00/000000")[0], points(0).xyz)


@pytest.mark.parametrize("kind", ["ply", "npy", "las"])
def test_what_is_subtracted_does_not_change_a_millimetre(tmp_path, taxonomy, kind):
    """Coordinates in float64, from one millimetre up, at two places on earth."""
    small = np.arange(-40, 40)[:, None] * [0.001, 0.003, 0.011] + [0, 0, 3]
    found = []
    for name, place in (("here", (0.0, 0.0, 0.0)), ("there", UTM)):
        (tmp_path / name).mkdir()
        path = tmp_path / name / f"a.{kind}"
        p = own_case.Points(small, *(np.zeros(80, np.uint16),) * 3)
        if kind == "las":
            own_case.write_las(path, p, place)
        else:
            columns = {axis: small[:, k] + place[k] for k, axis in enumerate("xyz")}
            if kind == "ply":
                with_columns(path, columns)
            else:
                np.save(path, np.column_stack(list(columns.values())))
        words = ",".join(map(str, place))
        out = tmp_path / f"{name}-out"
        assert run(tmp_path / name, out, taxonomy, f"--offset={words}", format=kind) == 0
        found.append(read_bin(out / "sequences" / "00" / "velodyne" / "000000.bin")[0])
    if kind == "las":  # whole steps: the same bits
        np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[1], small, atol=2e-7)


def test_units_other_than_metres(tmp_path, taxonomy):
    p = points(0)
    (tmp_path / "src").mkdir()
    millimetres = np.column_stack([np.rint(p.xyz.astype(np.float64) * 1000), p.intensity])
    np.save(tmp_path / "src" / "one.npy", millimetres)
    assert run(tmp_path / "src", tmp_path / "o", taxonomy, "--unit", "0.001", format="npy") == 0
    xyz, _ = read_bin(tmp_path / "o" / "sequences" / "00" / "velodyne" / "000000.bin")
    np.testing.assert_allclose(xyz, p.xyz, atol=1e-6)


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
    assert run(src, tmp_path / "out", taxonomy, *options) == 0
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
    assert run(src, folder / "out", write_taxonomy(folder), f"--offset={words}") == 0
    made = folder / "out" / "sequences" / "a"
    new, tr = read_poses(made / "poses.txt")[0], read_calib(made / "calib.txt")["Tr"]
    np.testing.assert_array_equal(tr, rows[1])
    old = np.column_stack([points(0).xyz.astype(np.float64), np.ones(120)])
    moved = old - [*offset, 0]
    np.testing.assert_allclose(moved @ (new @ tr).T, old @ (rows[0] @ tr).T, atol=1e-6)


def test_whole_sequence_poses_belong_to_numbered_frames(tmp_path, taxonomy):
    (tmp_path / "src" / "velodyne").mkdir(parents=True)
    for frame in (1, 3):
        own_case.write_ply(tmp_path / "src" / "velodyne" / f"{frame:06d}.ply", points(frame))
    lines = [" ".join(repr(float(v)) for v in pose(i)[:3].ravel()) for i in range(5)]
    (tmp_path / "src" / "poses.txt").write_text("\n".join(lines))
    assert run(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    found = read_poses(tmp_path / "out" / "sequences" / "00" / "poses.txt")
    np.testing.assert_array_equal(found[[1, 3]], [pose(1), pose(3)])


def test_poses_that_do_not_fit_are_refused_and_may_be_left_out(tmp_path, taxonomy, capsys):
    src = write_scans(tmp_path / "src", sequences=("a",), scans=3)
    (src / "a" / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 2)
    assert run(src, tmp_path / "out", taxonomy) == 1
    assert "2 poses for 3 scans" in capsys.readouterr().err
    assert run(src, tmp_path / "out", taxonomy, "--poses", "none") == 0
    assert not (tmp_path / "out" / "sequences" / "a" / "poses.txt").exists()


def test_unknown_ids_are_named_with_their_files_and_the_import_goes_on(tmp_path, capsys):
    text = own_case.CLASSES.replace("[2, 7]", "[2]").replace("[0, 9]", "[0]")
    src, taxonomy = write_scans(tmp_path / "src"), write_taxonomy(tmp_path, text)
    assert run(src, tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err
    count = sum(int((points(seed).label == 7).sum()) for seed in (0, 1, 100, 101))
    assert f"7 ({count} points, first in a/scan0.ply)" in error
    write_taxonomy(tmp_path)
    assert run(src, tmp_path / "out", taxonomy) == 0


def split(out: Path) -> tuple[list[str], list[str]]:
    return ImportedScans(out, "train", labels="optional").ids, ImportedScans(out, "val").ids


def test_splits_by_sequence_and_by_share_with_a_seed(tmp_path, taxonomy, capsys):
    src = write_scans(tmp_path / "src", sequences=("a", "b", "c"), scans=2, count=9)
    assert run(src, tmp_path / "named", taxonomy, "--val", "c,a") == 0
    train, val = split(tmp_path / "named")
    assert (train, val) == (
        ["b/000000", "b/000001"],
        [f"{s}/00000{i}" for s in "ac" for i in (0, 1)],
    )
    drawn = {}
    for seed in range(6):
        out = tmp_path / f"seed{seed}"
        assert run(src, out, taxonomy, "--val-share", "0.34", "--seed", str(seed)) == 0
        assert f"share 0.34 of the sequences, seed {seed}" in capsys.readouterr().out
        train, val = split(out)
        assert len(val) == 2 and len(train) == 4 and len({i.split("/")[0] for i in val}) == 1
        drawn[seed] = val[0]
    assert len(set(drawn.values())) == 3
    again = tmp_path / "again"
    assert run(src, again, taxonomy, "--val-share", "0.34", "--seed", "5") == 0
    assert split(again)[1][0] == drawn[5]
    assert ImportedScans(again, "val").drawn


def test_one_sequence_is_split_by_scans_and_only_labelled_ones_validate(tmp_path, taxonomy):
    src = write_scans(tmp_path / "src", sequences=("a",), scans=10, count=9)
    for frame in (0, 1, 2, 3, 4):
        own_case.write_ply(src / "a" / f"scan{frame}.ply", points(frame, 9), label=False)
    assert run(src, tmp_path / "out", taxonomy, "--val-share", "0.4") == 0
    train, val = split(tmp_path / "out")
    assert len(val) == 2 and all(int(scan_id[2:]) >= 5 for scan_id in val)
    assert sorted(train + val) == ImportedScans(tmp_path / "out", "all", labels="optional").ids


def test_labelled_scans_without_validation_are_told_how_to_get_one(tmp_path, taxonomy, capsys):
    src, out = write_scans(tmp_path / "src"), tmp_path / "out"
    assert run(src, out, taxonomy, "--val-share", "0") == 0
    lists = out / "splits"
    wanted = f"next: move ids of some scans from {lists}/train.txt to {lists}/val.txt, then annot"
    assert wanted in capsys.readouterr().out


def test_wrong_options_are_usage_errors(tmp_path, taxonomy, capsys):
    src = write_scans(tmp_path / "src")
    for options, words in (
        (["--val", "bb"], "no such sequence; did you mean 'b'"),
        (["--val", "a,b"], "leave some to train on"),
        (["--val-share", "1.5"], "--val-share"),
        (["--unit", "-1"], "--unit"),
        (["--offset", "1,2"], "expected auto, none or X,Y,Z"),
        (["--intensity-max", "0"], "--intensity-max"),
        (["--columns", "x,y,z"], "--columns is for"),
        (["--label-colors", "--label-field", "label"], "either --label-colors"),
    ):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert run(src, tmp_path / "out", taxonomy, *options) == 2, options
        assert words in capsys.readouterr().err
    assert main(["import", str(src), str(tmp_path / "out"), "--format", "ply"]) == 2
    assert "--taxonomy is missing" in capsys.readouterr().err


def test_another_format_than_the_files_is_told_with_what_is_there(tmp_path, taxonomy, capsys):
    src = write_scans(tmp_path / "src")
    assert run(src, tmp_path / "out", taxonomy, format="pcd") == 1
    assert "holds no .pcd files, only .ply" in capsys.readouterr().err
    assert run(tmp_path / "none", tmp_path / "out", taxonomy) == 1
    assert "SRC must be a folder" in capsys.readouterr().err


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


def test_a_stock_semantic_kitti_yaml_serves_as_taxonomy(tmp_path):
    src, out = tmp_path / "src", tmp_path / "out"
    src.mkdir()
    with_fields(src / "one.ply", label=np.resize([10, 252, 40, 0], 120).astype(np.uint16))
    assert run(src, out, Path("semantickitti19")) == 0
    dataset = ImportedScans(out, "all")
    assert dataset.taxonomy.num_classes == 19
    assert dataset.read(0).labels[:4].tolist() == [0, 0, 8, 255]


def test_own_scans_says_what_a_folder_lacks(tmp_path, taxonomy, make_kitti):
    with pytest.raises(FileNotFoundError, match="import your scans first"):
        ImportedScans(make_kitti(), "train")
    out = tmp_path / "out"
    run(write_scans(tmp_path / "src"), out, taxonomy, "--val-share", "0")
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
    assert run(src, data, classes) == 0
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
        own_case.write_ply(src / f"{i}.ply", points(i), label=False)
    assert run(src, tmp_path / "data", taxonomy) == 0
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
    with pytest.raises(ValueError, match="a.npy is damaged"):
        read_cloud(tmp_path / "a.npy", "npy")
    np.savez(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(3))
    with pytest.raises(ValueError, match="a.npz has no z, only x, y"):
        read_cloud(tmp_path / "a.npz", "npz")


def test_import_writes_nothing_outside_of_out(tmp_path, taxonomy):
    src = write_scans(tmp_path / "src")
    before = contents(src)
    os.chmod(src / "a", 0o555)
    assert run(src, tmp_path / "out", taxonomy) == 0
    assert contents(src) == before
