"""Labels that are there are read, wherever and however they are stored, or named as not used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from source_scans import points, run_import, stored, structured, write_ply, write_taxonomy

FRAME = "000104"
SEQUENCES = ("00000", "00001")


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    return write_taxonomy(tmp_path)


def cloud(path: Path, seed: int) -> np.ndarray:
    """A .bin scan; returns its labels [N] of 1 to 3."""
    p = points(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.column_stack([p.xyz, p.intensity]).astype("<f4").tofile(path)
    return np.random.default_rng(seed).integers(1, 4, len(p.xyz))


def labels_of(out: Path, sequence: str, frame: str = FRAME) -> np.ndarray:
    return stored(out, f"{sequence}/{frame}")[2]


# Layouts as they unpack: folder of the scans, folder of the labels, options below the root.
FOLDERS = {
    "rellis": ("{s}/os1_cloud_node_kitti_bin", "{s}/os1_cloud_node_semantickitti_label_id", ()),
    "rellis given": (
        "{s}/os1_cloud_node_kitti_bin",
        "{s}/os1_cloud_node_semantickitti_label_id",
        ("--labels", "."),
    ),
    "mirrored": ("velodyne/{s}", "labels/{s}", ()),
    "mirrored deep": ("train/points/{s}", "ground_truth/train/{s}", ()),
    "given elsewhere": ("scans/{s}", "../truth/{s}/semantic", ("--labels", "../truth")),
    "given flat in sequences": ("{s}", "../truth/sequences/{s}/labels", ("--labels", "../truth")),
    "annotations": ("{s}/points", "{s}/annotations", ()),
    "beside": ("{s}", "{s}", ()),
    "named after": ("{s}/scans", "{s}_labels", ()),
    "named before": ("{s}", "labels_{s}", ()),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_labels_in_other_folders_are_found(tmp_path, taxonomy, capsys, case):
    scans, labels, options = FOLDERS[case]
    src, wanted = tmp_path / "src", {}
    for number, name in enumerate(SEQUENCES):
        wanted[name] = cloud(src / scans.format(s=name) / f"{FRAME}.bin", number)
        folder = src / labels.format(s=name)
        folder.mkdir(parents=True, exist_ok=True)
        wanted[name].astype("<u4").tofile(folder / f"{FRAME}.label")
    options = [str(src / o) if not o.startswith("--") else o for o in options]
    assert run_import(src, tmp_path / "out", taxonomy, *options, format="bin") == 0
    assert "labels of 2 scans from '.label'" in capsys.readouterr().out
    for folder in (tmp_path / "out" / "sequences").iterdir():
        name = next(s for s in SEQUENCES if s in folder.name)
        np.testing.assert_array_equal(labels_of(tmp_path / "out", folder.name), wanted[name])


def as_text(path: Path, y: np.ndarray) -> None:
    path.write_text("".join(f"{v}\n" for v in y))


# How the labels of one scan are stored: the file's name and how it is written.
STORED: dict[str, tuple[str, Callable[[Path, np.ndarray], object]]] = {
    "semantic3d": ("{f}.labels", as_text),
    "text in labels": ("labels/{f}.txt", as_text),
    "text with a header": ("{f}_labels.csv", lambda p, y: p.write_text(
        "label\r\n" + "".join(f"{v}\r\n" for v in y))),
    "text in one line": ("{f}.labels", lambda p, y: p.write_text(" ".join(map(str, y)))),
    "upper case": ("Labels/{f}.LABEL", lambda p, y: y.astype("<u4").tofile(p)),
    "text of floats": ("{f}.labels", lambda p, y: p.write_text("\n".join(f"{v:.6e}" for v in y))),
    "binary .labels": ("{f}.labels", lambda p, y: y.astype("<u4").tofile(p)),
    "int32 .bin": ("labels/{f}.bin", lambda p, y: y.astype("<i4").tofile(p)),
    "uint8 .bin": ("labels/{f}.bin", lambda p, y: y.astype("u1").tofile(p)),
    "uint16 .bin": ("labels/{f}.bin", lambda p, y: y.astype("<u2").tofile(p)),
    "int64 .bin": ("labels/{f}.bin", lambda p, y: y.astype("<i8").tofile(p)),
    "float32 .bin": ("labels/{f}.bin", lambda p, y: y.astype("<f4").tofile(p)),
    "big-endian .bin": ("labels/{f}.bin", lambda p, y: y.astype(">u4").tofile(p)),
    "float64 .bin": ("labels/{f}.bin", lambda p, y: y.astype("<f8").tofile(p)),
    "uint8 .label": ("{f}.label", lambda p, y: y.astype("u1").tofile(p)),
    "int64 .label": ("labels/{f}.label", lambda p, y: y.astype("<i8").tofile(p)),
    "[N, 1]": ("labels/{f}.npy", lambda p, y: np.save(p, y[:, None])),
    "[1, N]": ("{f}_label.npy", lambda p, y: np.save(p, y[None].astype("f4"))),
    "segment": ("segment/{f}.npy", lambda p, y: np.save(p, y.astype("i2"))),
    "prefix": ("label_{f}.npy", lambda p, y: np.save(p, y)),
    "whole name": ("{f}.bin.label", lambda p, y: y.astype("<u4").tofile(p)),
    "gt": ("gt/{f}_gt.npy", lambda p, y: np.save(p, y)),
}  # fmt: skip


@pytest.mark.parametrize("case", STORED)
def test_labels_in_other_types_and_endings_are_read(tmp_path, taxonomy, capsys, case):
    name, write = STORED[case]
    y = cloud(tmp_path / "src" / "a" / f"{FRAME}.bin", 0)
    path = tmp_path / "src" / "a" / name.format(f=FRAME)
    path.parent.mkdir(exist_ok=True)
    write(path, y)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 0
    np.testing.assert_array_equal(labels_of(tmp_path / "out", "a"), y)
    assert f"from '{path.suffix}" in capsys.readouterr().out


def test_minus_one_in_int32_files_means_no_class(tmp_path, taxonomy):
    y = cloud(tmp_path / "src" / f"{FRAME}.bin", 0)
    y[:5] = -1
    (tmp_path / "src" / "labels").mkdir()
    y.astype("<i4").tofile(tmp_path / "src" / "labels" / f"{FRAME}.bin")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 0
    np.testing.assert_array_equal(labels_of(tmp_path / "out", "00"), np.where(y < 0, 0, y))


def test_instances_without_a_class_are_read_as_they_are(tmp_path, taxonomy):
    """As exported from a run in which no point of a scan has got a class yet."""
    y = cloud(tmp_path / "src" / "0.bin", 0)
    cloud(tmp_path / "src" / "1.bin", 1)
    y.astype("<u4").tofile(tmp_path / "src" / "0.label")
    instances = np.arange(120) % 5
    (instances << 16).astype("<u4").tofile(tmp_path / "src" / "1.label")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 0
    _, _, classes, found = stored(tmp_path / "out", "00/000001")
    assert not classes.any()
    np.testing.assert_array_equal(found, instances)


@pytest.mark.parametrize("cut", [2, 4])
def test_a_label_file_that_is_cut_is_not_read_as_a_narrower_one(tmp_path, taxonomy, capsys, cut):
    y = cloud(tmp_path / "src" / f"{FRAME}.bin", 0)
    path = tmp_path / "src" / f"{FRAME}.label"
    path.write_bytes(y.astype("<u4").tobytes()[: 4 * len(y) // cut])
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 1
    error = capsys.readouterr().err
    assert f"{FRAME}.label" in error and "first part" in error


@pytest.mark.parametrize(
    "name",
    [
        "ObjTag",
        "ClassID",
        "scalar_Label-Id",
        "semantic_segmentation",
        "segment",
        "sem",
        "sem_class",
        "semantics",
        "scalar_Classes",
        "class_label",
        "gt",
    ],
)
def test_labels_in_fields_of_other_names_are_read(tmp_path, taxonomy, capsys, name):
    from plyfile import PlyData, PlyElement

    data = structured(points(0))
    old = list(data.dtype.names)
    old[old.index("label")] = name
    data.dtype.names = tuple(old)
    (tmp_path / "src").mkdir()
    PlyData([PlyElement.describe(data, "vertex")]).write(str(tmp_path / "src" / "one.ply"))
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    assert f"from {name!r}" in capsys.readouterr().out
    np.testing.assert_array_equal(labels_of(tmp_path / "out", "00", "000000"), points(0).label)


@pytest.mark.parametrize("kind", ["npz", "npz of axes", "npy", "ply", "las"])
def test_fields_of_one_column_are_read_and_of_more_are_named(tmp_path, taxonomy, capsys, kind):
    p, format = points(0), kind.split(" ")[0]
    label, color = np.clip(p.label, 1, 3).astype("u1"), np.zeros((120, 3), "u1")
    (tmp_path / "src").mkdir()
    path = tmp_path / "src" / f"one.{format}"
    axes = dict(zip("xyz", p.xyz.T, strict=True))
    if kind.startswith("npz"):
        place = {"xyz": p.xyz} if kind == "npz" else axes
        np.savez(path, **place, label=label[:, None], color=color, other=np.zeros(7))
    elif kind == "npy":
        fields = [(a, "f4") for a in "xyz"] + [("label", "u1", (1,)), ("color", "u1", (3,))]
        data = np.zeros(120, fields)
        for name, values in (axes | {"label": label[:, None], "color": color}).items():
            data[name] = values
        np.save(path, data)
    elif kind == "ply":
        from plyfile import PlyData, PlyElement

        data = np.empty(120, [*((a, "f4") for a in "xyz"), ("label", "O"), ("color", "O")])
        for name, values in axes.items():
            data[name] = values
        data["label"] = [[v] for v in label]
        data["color"] = list(color)
        types = {"label": "u1", "color": "u1"}
        element = PlyElement.describe(data, "vertex", val_types=types)
        PlyData([element]).write(str(path))
    else:
        import laspy

        las = laspy.LasData(laspy.LasHeader(point_format=6, version="1.4"))
        las.add_extra_dim(laspy.ExtraBytesParams("color", "3u1"))
        las.x, las.y, las.z = p.xyz.T.astype(np.float64)
        las.classification, las["color"] = label, color
        las.write(str(path))
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format=format) == 0
    np.testing.assert_array_equal(labels_of(tmp_path / "out", "00", "000000"), label)
    printed = capsys.readouterr().out
    shape = "lists" if kind == "ply" else "3"
    assert f"not used, as they are not one number a point: 'color' [N, {shape}]" in printed
    assert kind != "npz" or "'other' [7]" in printed


@pytest.mark.parametrize(
    ("scan", "label"),
    [("cloud_0104", "label_0104"), ("scan104", "seg_104"), ("velodyne-7", "gt-7")],
)
def test_labels_named_by_another_word_and_the_number_are_found(tmp_path, taxonomy, scan, label):
    y = cloud(tmp_path / "src" / "a" / f"{scan}.bin", 0)
    cloud(tmp_path / "src" / "a" / f"{scan}9.bin", 1)
    (tmp_path / "src" / "a" / "labels").mkdir()
    y.astype("<u4").tofile(tmp_path / "src" / "a" / "labels" / f"{label}.label")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 0
    np.testing.assert_array_equal(labels_of(tmp_path / "out", "a", "000000"), y)


@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_link_that_leads_nowhere_is_named(tmp_path, taxonomy, capsys, place):
    cloud(tmp_path / "src" / "a" / f"{FRAME}.bin", 0)
    link = tmp_path / "src" / "a" / "labels"
    if place == "file":
        link.mkdir()
        link = link / f"{FRAME}.label"
    os.symlink("/nowhere/at/all", link)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 1
    error = capsys.readouterr().err
    assert "link to /nowhere/at/all" in error and link.name in error
    out, options = tmp_path / "without", ["--label-field", "none"]
    assert run_import(tmp_path / "src", out, taxonomy, *options, format="bin") == 0


def test_links_to_labels_on_another_disk_are_followed(tmp_path, taxonomy):
    y = cloud(tmp_path / "src" / "a" / f"{FRAME}.bin", 0)
    (tmp_path / "disk").mkdir()
    y.astype("<u4").tofile(tmp_path / "disk" / f"{FRAME}.label")
    os.symlink(tmp_path / "disk", tmp_path / "src" / "a" / "truth_labels")
    os.symlink(tmp_path / "src", tmp_path / "src" / "a" / "round_and_round")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 0
    np.testing.assert_array_equal(labels_of(tmp_path / "out", "a"), y)


def test_files_and_fields_that_are_not_used_are_named_with_their_number(tmp_path, taxonomy, capsys):
    for frame in range(3):
        cloud(tmp_path / "src" / "a" / f"{frame}.bin", frame)
        for ending in ("json", "png"):
            (tmp_path / "src" / "a" / "labels").mkdir(exist_ok=True)
            (tmp_path / "src" / "a" / "labels" / f"{frame}.{ending}").write_text("{}")
    (tmp_path / "src" / "a" / "7.npy").touch()
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 0
    printed = capsys.readouterr().out
    assert "not used: 3 files like a/labels/0.json, 3 files like a/labels/0.png" in printed
    assert "not used: 1 file like a/7.npy (of another format" in printed

    (tmp_path / "ply").mkdir()
    for frame in range(2):
        write_ply(tmp_path / "ply" / f"{frame}.ply", points(frame))
    options = ["--label-field", "none", "--instance-field", "none"]
    assert run_import(tmp_path / "ply", tmp_path / "fields", taxonomy, *options) == 0
    assert "fields not used: 'label', 'instance'" in capsys.readouterr().out


def test_boxes_and_predictions_are_no_labels_and_are_named(tmp_path, taxonomy, capsys):
    """As KITTI's detection benchmark unpacks, and as a network wrote into the folder."""
    y = cloud(tmp_path / "src" / "velodyne" / f"{FRAME}.bin", 0)
    for name in ("label_2", "predictions", "labels"):
        (tmp_path / "src" / name).mkdir()
    boxes = "Car 0.00 0 -1.57 599 156 629 189 2.85 2.63 12.34 0.47 1.49 69.44 -1.56\n"
    (tmp_path / "src" / "label_2" / f"{FRAME}.txt").write_text(boxes)
    (tmp_path / "src" / "labels" / f"{FRAME}.txt").write_text(boxes)
    y.astype("<u4").tofile(tmp_path / "src" / "predictions" / f"{FRAME}.label")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 0
    printed = capsys.readouterr().out
    assert "no labels: a person has to answer" in printed
    assert f"predictions/{FRAME}.label" in printed and f"label_2/{FRAME}.txt" in printed


def test_labels_of_some_scans_only_are_counted(tmp_path, taxonomy, capsys):
    for frame in range(3):
        y = cloud(tmp_path / "src" / "a" / f"{frame}.bin", frame)
    y.astype("<u4").tofile(tmp_path / "src" / "a" / "2.label")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 0
    assert "no labels were found for 2 scans of 3, the first a/0.bin" in capsys.readouterr().out


def test_labels_beside_src_are_named(tmp_path, taxonomy, capsys):
    y = cloud(tmp_path / "00" / "velodyne" / f"{FRAME}.bin", 0)
    (tmp_path / "00" / "labels").mkdir()
    y.astype("<u4").tofile(tmp_path / "00" / "labels" / f"{FRAME}.label")
    src, folder = tmp_path / "00" / "velodyne", tmp_path / "00" / "labels"
    assert run_import(src, tmp_path / "out", taxonomy, format="bin") == 0
    assert f"pass --labels {folder}" in capsys.readouterr().out
    assert run_import(src, tmp_path / "b", taxonomy, "--labels", str(folder), format="bin") == 0
    np.testing.assert_array_equal(labels_of(tmp_path / "b", "00"), y)


def test_fields_do_not_count_where_a_folder_of_labels_is_named(tmp_path, taxonomy, capsys):
    for k in range(2):
        (tmp_path / "src").mkdir(exist_ok=True)
        write_ply(tmp_path / "src" / f"{k}.ply", points(k))
    (tmp_path / "truth").mkdir()
    y = np.full(120, 3)
    y.astype("<u4").tofile(tmp_path / "truth" / "1.label")
    options = ["--labels", str(tmp_path / "truth")]
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, *options) == 0
    np.testing.assert_array_equal(labels_of(tmp_path / "out", "00", "000001"), y)
    assert not (tmp_path / "out" / "sequences" / "00" / "labels" / "000000.label").exists()
    printed = capsys.readouterr().out
    assert "no labels were found for 1 scan of 2" in printed and "not used: 'label'" in printed


def test_a_folder_that_fits_no_scan_says_what_it_holds(tmp_path, taxonomy, capsys):
    cloud(tmp_path / "src" / "a" / f"{FRAME}.bin", 0)
    for number in range(3):
        path = tmp_path / "truth" / "other" / f"{number}.label"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    options = ["--labels", str(tmp_path / "truth")]
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, *options, format="bin") == 1
    assert "it holds 3 files like other/0.label" in capsys.readouterr().err


@pytest.mark.parametrize("case", ["one file for two scans", "two files for one scan"])
def test_labels_that_fit_twice_are_refused(tmp_path, taxonomy, capsys, case):
    names = ("a", "b") if case.startswith("one") else ("a",)
    for number, name in enumerate(names):
        y = cloud(tmp_path / "src" / name / f"{FRAME}.bin", number)
    folders = ("labels",) if case.startswith("one") else ("a/labels_anna", "a/labels_bert")
    for folder in folders:
        (tmp_path / "src" / folder).mkdir(parents=True)
        y.astype("<u4").tofile(tmp_path / "src" / folder / f"{FRAME}.label")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 1
    error = capsys.readouterr().err
    assert f"{FRAME}.label" in error and ("--labels DIR" in error or "--label-field none" in error)
    options = ["--label-field", "none"]
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, *options, format="bin") == 0


def test_labels_of_the_scans_own_format_are_no_scans(tmp_path, taxonomy, capsys):
    y = {}
    for name in SEQUENCES:
        p = points(int(name))
        for folder in ("points", "semantic_label"):
            (tmp_path / "src" / name / folder).mkdir(parents=True)
        np.save(tmp_path / "src" / name / "points" / "7.npy", p.xyz)
        y[name] = np.clip(p.label, 1, 3)
        np.save(tmp_path / "src" / name / "semantic_label" / "7.npy", y[name][:, None])
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npy") == 0
    assert "2 scans, 240 points in 2 sequences: 00000, 00001" in capsys.readouterr().out
    for name in SEQUENCES:
        np.testing.assert_array_equal(labels_of(tmp_path / "out", name, "000007"), y[name])


@pytest.mark.parametrize("ending", ["csv", "txt", "labels"])
@pytest.mark.parametrize("head", ["", "label\r\n"])
def test_text_with_a_mark_of_its_encoding_is_read(tmp_path, ending, head):
    (tmp_path / "src" / "labels").mkdir(parents=True)
    p = points(0)
    write_ply(tmp_path / "src" / "a.ply", p, label=False)
    text = head + "\r\n".join(str(v) for v in p.label)
    (tmp_path / "src" / "labels" / f"a.{ending}").write_bytes(text.encode("utf-8-sig"))
    assert run_import(tmp_path / "src", tmp_path / "out", write_taxonomy(tmp_path)) == 0
    np.testing.assert_array_equal(stored(tmp_path / "out", "00/000000")[2], p.label)
