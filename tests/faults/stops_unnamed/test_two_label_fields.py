"""Two fields that may hold the classes are asked about; numbers of objects name their field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from source_scans import points, run_import, stored, write_taxonomy

from annotator3d.cli.main import main
from annotator3d.data.taxonomy import load_taxonomy

COUNT = 120


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    return write_taxonomy(tmp_path)


def ply(path: Path, **fields: np.ndarray) -> None:
    from plyfile import PlyData, PlyElement

    p = points(0, COUNT)
    columns = {axis: p.xyz[:, k] for k, axis in enumerate("xyz")} | {"intensity": p.intensity}
    columns |= fields
    data = np.empty(COUNT, [(name, values.dtype.str) for name, values in columns.items()])
    for name, values in columns.items():
        data[name] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    PlyData([PlyElement.describe(data, "vertex")]).write(str(path))


def npz(path: Path, **fields: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, xyz=points(0, COUNT).xyz, **fields)


def las(path: Path, **fields: np.ndarray) -> None:
    import laspy

    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales = [0.001] * 3
    for name, values in fields.items():
        if name != "classification":
            header.add_extra_dim(laspy.ExtraBytesParams(name, values.dtype))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = points(0, COUNT).xyz.astype(np.float64).T
    for name, values in fields.items():
        cloud[name] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    cloud.write(str(path))


def classes(seed: int = 0, top: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, top, COUNT).astype(np.int32)


CASES = {
    "few objects": ("ply", {"label": classes(1, 4), "class": classes(2)}),
    "many objects": ("ply", {"label": np.arange(COUNT, dtype=np.int32), "class": classes(2)}),
    "same name": ("ply", {"label": classes(1), "scalar_Label": classes(2)}),
    "other names": ("ply", {"sem_class": classes(1), "scalar_Classification": classes(2)}),
    "floats": ("npz", {"semantic": classes(1).astype("f4"), "category": classes(2)}),
    "three": ("npz", {"label": classes(1), "sem": classes(2), "gt": classes(3)}),
    "las": ("las", {"classification": classes(1).astype("u1"), "label": classes(2)}),
}


@pytest.mark.parametrize("case", CASES)
def test_two_fields_that_differ_are_asked_about_and_an_option_answers(
    tmp_path, taxonomy, capsys, case
):
    kind, fields = CASES[case]
    src, out = tmp_path / "src", tmp_path / "out"
    for name in ("one", "two"):
        globals()[kind](src / f"{name}.{kind}", **fields)
    assert run_import(src, out, taxonomy, format=kind) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert len(error) <= 500 and "--label-field" in error and f"one.{kind}" in error
    assert all(repr(name) in error for name in fields)
    *_, last = fields
    assert run_import(src, out, taxonomy, "--label-field", last, format=kind) == 0
    np.testing.assert_array_equal(stored(out, "00/000000")[2], fields[last])
    first = next(iter(fields))
    printed = capsys.readouterr().out
    assert f"from {last!r}" in printed and f"fields not used: {first!r}" in printed


@pytest.mark.parametrize("other", [np.zeros(COUNT, "u1"), np.full(COUNT, -1, "i4"), classes()])
def test_a_field_without_classes_or_with_the_same_ones_is_no_question(
    tmp_path, taxonomy, capsys, other
):
    ply(tmp_path / "src" / "one.ply", label=other, classification=classes())
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    np.testing.assert_array_equal(stored(tmp_path / "out", "00/000000")[2], classes())
    assert "fields not used: " in capsys.readouterr().out


@pytest.mark.parametrize("place", ["field", "file"])
def test_labels_of_different_places_are_asked_about(tmp_path, taxonomy, capsys, place):
    src = tmp_path / "src"
    ply(src / "one.ply", label=classes(1))
    if place == "field":
        ply(src / "two.ply", sem_class=classes(2))
    else:
        ply(src / "two.ply")
        classes(2).astype("<u4").tofile(src / "two.label")
    assert run_import(src, tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err
    assert "field 'label' for 1 of 2 scans, such as one.ply" in error and "--label-field" in error
    assert ("'sem_class'" if place == "field" else "label files") in error


@pytest.mark.parametrize("top", [2_500, 60_000])
def test_numbers_of_objects_name_their_field_and_the_others(tmp_path, taxonomy, capsys, top):
    objects = np.linspace(4, top, COUNT).astype(np.uint32)
    ply(tmp_path / "src" / "one.ply", label=objects, ring=classes())
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert len(error) <= 500
    for words in ("'label'", "'ring'", "--label-field", f"{objects[1]} (", " more", "objects"):
        assert words in error
    options = ("--label-field", "ring", "--instance-field", "none")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, *options) == 0


def test_classes_packed_with_objects_in_decimal_are_recognised(tmp_path, taxonomy, capsys):
    """As nuScenes' panoptic labels: 1000 times the class plus a number of the object."""
    npz(tmp_path / "src" / "one.npz", label=1000 * classes() + np.arange(COUNT) % 7)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npz") == 1
    assert "look like class x 1000 + object" in capsys.readouterr().err


@pytest.mark.parametrize("number", [65_536 + 9_999, 100_001, 7_000_000, 4_000_000_000])
def test_ids_beyond_16_bits_are_named_as_they_stand(tmp_path, taxonomy, capsys, number):
    label = classes().astype(np.int64)
    label[:7] = number
    npz(tmp_path / "src" / "one.npz", label=label)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npz") == 1
    error = capsys.readouterr().err
    assert f"{number} (7 points, first in one.npz" in error and "above 65535" in error


@pytest.mark.parametrize(
    ("number", "words"),
    [(10**12, "1000000000000"), (-70_000, "-70000"), (1.25, "1.25"), (2**63 + 2048.0, "92233720")],
)
def test_numbers_that_are_no_ids_are_named_as_they_stand(tmp_path, taxonomy, capsys, number, words):
    label = classes().astype(np.float64)
    label[3] = number
    npz(tmp_path / "src" / "one.npz", label=label)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npz") == 1
    assert f"the label {words}" in capsys.readouterr().err


def test_object_numbers_beyond_16_bits_are_left_out_and_told(tmp_path, taxonomy, capsys):
    """As CARLA writes them: the classes are in ObjTag, numbers of any size in ObjIdx."""
    objects = classes().astype(np.uint32) + 70_000
    ply(tmp_path / "src" / "one.ply", ObjTag=classes(), ObjIdx=objects)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    assert "the object numbers in 'ObjIdx' exceed 65535" in capsys.readouterr().out
    _, _, found, instances = stored(tmp_path / "out", "00/000000")
    np.testing.assert_array_equal(found, classes())
    assert not instances.any()
    options = ("--instance-field", "ObjIdx")
    assert run_import(tmp_path / "src", tmp_path / "b", taxonomy, *options) == 1
    assert "above 65535" in capsys.readouterr().err


@pytest.mark.parametrize("number", [100_001, 7_000_000])
def test_ids_beyond_16_bits_in_label_files_are_named_as_they_stand(make_kitti, capsys, number):
    root = make_kitti()
    path = sorted(root.rglob("*.label"))[0]
    count = path.stat().st_size // 4
    np.resize([number, number + 1, 40], count).astype("<u4").tofile(path)
    assert main(["check", str(root)]) == 1
    assert f"in the number {number}" in capsys.readouterr().out
    with pytest.raises(ValueError, match=f"in the number {number}"):
        load_taxonomy("semantickitti19").to_train(np.fromfile(path, "<u4"), path)
