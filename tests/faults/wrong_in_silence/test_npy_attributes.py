"""A scan of one file for each attribute is one scan, and no attribute is taken for a cloud."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from source_scans import points, run_import, stored, write_taxonomy

P = points(5)
ONES = np.ones(len(P.xyz))
ARRAYS = {
    "coord": P.xyz,
    "color": np.full((len(P.xyz), 3), 128, np.uint8),
    "normal": np.tile(np.float32([0, 0, 1]), (len(P.xyz), 1)),
    "segment": P.label.astype(np.int32),
    "instance": P.instance.astype(np.int32),
    "strength": P.intensity[:, None],
}
# How the files of two scans are named: scan and attribute -> path.
LAYOUTS = {
    "folders of scans": "{scan}/{name}.npy",
    "below a split": "train/{scan}/{name}.npy",
    "in the name": "{scan}_{name}.npy",
    "in the name with a dot": "area1/{scan}.{name}.npy",
    "folders of attributes": "drive1/{name}/{scan}.npy",
}
NAMES = [
    {},
    {"coord": "xyz", "color": "rgb", "segment": "label"},
    {"coord": "coords", "normal": "normals", "instance": "instances", "strength": "intensity"},
]


def write(src: Path, layout: str, names: dict[str, str], **arrays: np.ndarray) -> None:
    for scan in ("scene0", "scene1"):
        for name, values in arrays.items():
            path = src / LAYOUTS[layout].format(scan=scan, name=names.get(name, name))
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, values)


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        pytest.param(layout, names, id=f"{layout} {words}")
        for layout in LAYOUTS
        for words, names in zip(("Pointcept", "short", "plural"), NAMES, strict=True)
        # A folder "label" beside those of scans holds labels: another layout.
        if (layout, words) != ("folders of attributes", "short")
    ],
)
@pytest.mark.parametrize("format", ["npy", "auto"])
def test_each_layout_is_one_scan_with_its_labels(tmp_path, capsys, layout, names, format):
    write(tmp_path / "src", layout, names, **ARRAYS)
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format=format) == 0
    report = capsys.readouterr().out
    assert "2 scans, 240 points in 1 sequence: " in report
    assert "2 scans put together from a file for each attribute" in report
    (sequence,) = (tmp_path / "out" / "sequences").iterdir()
    for frame in ("000000", "000001"):
        xyz, intensity, classes, instances = stored(tmp_path / "out", f"{sequence.name}/{frame}")
        np.testing.assert_array_equal(xyz, P.xyz)
        np.testing.assert_array_equal(intensity, P.intensity)
        np.testing.assert_array_equal(classes, P.label)
        np.testing.assert_array_equal(instances, P.instance)


def test_coordinates_and_colors_alone_are_unlabelled_scans(tmp_path, capsys):
    arrays = {name: ARRAYS[name] for name in ("coord", "color", "normal")}
    write(tmp_path / "src", "folders of scans", {}, **arrays)
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npy") == 0
    report = capsys.readouterr().out
    assert "2 scans, 240 points" in report and "no labels: a person has to answer" in report


def test_other_arrays_beside_the_coordinates_are_counted(tmp_path, capsys):
    write(tmp_path / "src", "folders of scans", {}, **ARRAYS)
    np.save(tmp_path / "src" / "scene0" / "pose.npy", np.eye(4))
    np.save(tmp_path / "src" / "scene0" / "offset.npy", P.xyz)
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npy") == 0
    report = capsys.readouterr().out
    assert "2 scans, 240 points" in report
    assert "2 files like scene0/offset.npy, scene0/pose.npy (beside the coordinates" in report


def test_files_of_different_lengths_are_named(tmp_path, capsys):
    write(tmp_path / "src", "folders of scans", {}, **ARRAYS)
    np.save(tmp_path / "src" / "scene1" / "color.npy", ARRAYS["color"][:-1])
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npy") == 1
    error = capsys.readouterr().err
    assert "1 of 2 scans" in error and "scene1/coord.npy has 120 points, but color.npy has 119" in (
        error
    )


# Arrays that are no clouds, and what is said of them.
NO_CLOUDS = {
    "colors": (ARRAYS["color"], "uint8"),
    "colors with alpha": (np.zeros((9, 4), np.uint8), "uint8"),
    "signed bytes": (np.zeros((9, 3), np.int8), "int8"),
    "labels": (np.zeros(9, np.int64), "one number a point"),
    "labels in a column": (np.zeros((9, 1), np.int32), "one number a point"),
    "intensities": (np.zeros(9, np.float32), "one number a point"),
}


@pytest.mark.parametrize("what", NO_CLOUDS)
def test_arrays_that_are_no_clouds_are_left_out_and_counted(tmp_path, capsys, what):
    values, words = NO_CLOUDS[what]
    src, taxonomy = tmp_path / "src", write_taxonomy(tmp_path)
    src.mkdir()
    np.save(src / "scan.npy", np.column_stack([P.xyz, P.intensity]))
    np.save(src / "extra1.npy", values)
    np.save(src / "extra2.npy", values)
    assert run_import(src, tmp_path / "out", taxonomy, format="npy") == 0
    report = capsys.readouterr().out
    assert "1 scans, 120 points" in report.replace("1 scan,", "1 scans,")
    assert words in report and "not used: 2 files like extra1.npy, extra2.npy (" in report
    (src / "scan.npy").unlink()
    assert run_import(src, tmp_path / "none", taxonomy, format="npy") == 1
    error = capsys.readouterr().err
    assert "none of its 2 .npy files is a scan" in error and words in error


@pytest.mark.parametrize("stem", ["color", "normal", "normals", "rgb", "intensity"])
def test_an_attribute_without_coordinates_is_no_scan(tmp_path, capsys, stem):
    src, taxonomy = tmp_path / "src" / "scene0", write_taxonomy(tmp_path)
    src.mkdir(parents=True)
    np.save(src / f"{stem}.npy", ARRAYS["normal"])
    assert run_import(src, tmp_path / "out", taxonomy, format="npy") == 1
    assert f"1 file like {stem}.npy (an attribute of points" in capsys.readouterr().err


@pytest.mark.parametrize("stem", ["coord", "points", "scan7", "000012"])
def test_a_single_array_is_still_a_scan(tmp_path, capsys, stem):
    src, taxonomy = tmp_path / "src", write_taxonomy(tmp_path)
    src.mkdir()
    np.save(src / f"{stem}.npy", P.xyz)
    assert run_import(src, tmp_path / "out", taxonomy, format="npy") == 0
    assert "120 points" in capsys.readouterr().out
