"""What an import makes of fields, label files, intensities and coordinates."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import source_scans
import yaml
from source_scans import points, run_import, stored, write_scans, write_taxonomy

from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.formats.kitti import read_bin, read_poses


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    return write_taxonomy(tmp_path)


def test_a_label_folder_that_fits_no_scan_is_refused(tmp_path, taxonomy, capsys):
    (tmp_path / "given").mkdir()
    src, options = write_scans(tmp_path / "src"), ["--labels", str(tmp_path / "given")]
    assert run_import(src, tmp_path / "out", taxonomy, *options) == 1
    assert "expected, for example, a/scan0.label" in capsys.readouterr().err
    assert run_import(src, tmp_path / "out", taxonomy, *options, "--label-field", "label") == 2
    assert "either --labels or --label-field" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_label_files_of_another_length_name_both_files(tmp_path, taxonomy, capsys):
    src = tmp_path / "src"
    src.mkdir()
    source_scans.write_ply(src / "one.ply", points(0), label=False)
    np.save(src / "one_label.npy", np.ones(7, int))
    assert run_import(src, tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err
    assert "one_label.npy" in error and "one.ply has 120 points" in error


def test_npy_scans_and_npy_labels_are_told_apart(tmp_path, taxonomy):
    p = points(0)
    for folder in ("src/labels", "src"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    np.save(tmp_path / "src" / "one.npy", np.column_stack([p.xyz, p.intensity]))
    np.save(tmp_path / "src" / "labels" / "one.npy", p.label)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npy") == 0
    assert ImportedScans(tmp_path / "out", "all").ids == ["00/000000"]
    np.testing.assert_array_equal(stored(tmp_path / "out", "00/000000")[2], p.label)


def test_columns_name_what_plain_arrays_hold(tmp_path, taxonomy, capsys):
    p = points(0)
    (tmp_path / "src").mkdir()
    columns = np.column_stack([p.intensity, p.xyz, np.arange(len(p.xyz)), p.label])
    columns.astype("<f4").tofile(tmp_path / "src" / "one.bin")
    names = "intensity,x,y,z,_,label"
    assert (
        run_import(tmp_path / "src", tmp_path / "o", taxonomy, "--columns", names, format="bin")
        == 0
    )
    xyz, intensity, classes, _ = stored(tmp_path / "o", "00/000000")
    np.testing.assert_array_equal(xyz, p.xyz)
    np.testing.assert_array_equal(classes, p.label)
    np.save(tmp_path / "src" / "one.npy", columns)
    assert run_import(tmp_path / "src", tmp_path / "p", taxonomy, format="npy") == 1
    assert "6 columns; name each with --columns" in capsys.readouterr().err
    assert (
        run_import(tmp_path / "src", tmp_path / "q", taxonomy, "--columns", "x,y", format="npy")
        == 2
    )
    assert "--columns x,y: z is missing" in capsys.readouterr().err


def with_fields(path: Path, **fields: np.ndarray) -> source_scans.Points:
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
    assert run_import(tmp_path / "src", tmp_path / "a", taxonomy) == 0
    printed = capsys.readouterr().out
    assert "'scalar_Classification'" in printed and "'Reflectance'" in printed
    _, intensity, classes, _ = stored(tmp_path / "a", "00/000000")
    np.testing.assert_array_equal(classes, p.label)
    np.testing.assert_array_equal(intensity, p.intensity)
    assert run_import(tmp_path / "src", tmp_path / "b", taxonomy, "--label-field", "Mine") == 0
    np.testing.assert_array_equal(stored(tmp_path / "b", "00/000000")[2], other)
    assert (
        run_import(tmp_path / "src", tmp_path / "c", taxonomy, "--label-field", "reflectanse") == 1
    )
    assert "did you mean 'Reflectance'" in capsys.readouterr().err
    assert run_import(tmp_path / "src", tmp_path / "d", taxonomy, "--label-field", "none") == 0
    assert not list((tmp_path / "d").rglob("*.label"))


def test_minus_one_and_nan_are_no_class_and_fractions_are_refused(tmp_path, taxonomy, capsys):
    p = points(0)
    label = p.label.astype(np.float32)
    label[:4] = [-1, np.nan, 2, 3]
    with_fields(tmp_path / "src" / "one.ply", label=label)
    assert run_import(tmp_path / "src", tmp_path / "a", taxonomy) == 0
    assert stored(tmp_path / "a", "00/000000")[2][:4].tolist() == [0, 0, 2, 3]
    assert "2 points without a class in the file" in capsys.readouterr().out
    for wrong in (1.5, -2, np.inf):
        label[5] = wrong
        with_fields(tmp_path / "src" / "one.ply", label=label)
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        assert run_import(tmp_path / "src", tmp_path / "b", taxonomy) == 1
        assert "whole numbers from 0 to 65535" in capsys.readouterr().err


def test_packed_labels_in_a_field_are_split(tmp_path, taxonomy):
    p = points(0)
    with_fields(tmp_path / "src" / "one.ply", label=p.label | p.instance.astype(np.uint32) << 16)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    _, _, classes, instances = stored(tmp_path / "out", "00/000000")
    np.testing.assert_array_equal(classes, p.label)
    np.testing.assert_array_equal(instances, p.instance)


def test_classes_may_be_told_by_colors(tmp_path, taxonomy):
    p = points(0)
    palette = {0: (9, 9, 9), 1: (128, 64, 128), 2: (230, 160, 50), 3: (0, 175, 0), 7: (9, 9, 9)}
    rgb = np.array([palette[raw] for raw in p.label], np.uint8)
    channels = {name: rgb[:, i] for i, name in enumerate(("red", "green", "blue"))}
    with_fields(tmp_path / "src" / "one.ply", **channels)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, "--label-colors") == 0
    wanted = np.where(p.label == 7, 0, p.label)
    np.testing.assert_array_equal(stored(tmp_path / "out", "00/000000")[2], wanted)


def test_without_intensity_the_network_gets_a_constant(tmp_path, taxonomy, capsys):
    with_fields(tmp_path / "src" / "one.ply", label=points(0).label)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    assert "no intensity: the network gets the constant 0" in capsys.readouterr().out
    scan = ImportedScans(tmp_path / "out", "all").read(0)
    assert len(scan) == 120 and not scan.intensity.any()


def test_intensity_in_some_files_only_is_refused(tmp_path, taxonomy, capsys):
    with_fields(tmp_path / "src" / "one.ply", label=points(0).label)
    source_scans.write_ply(tmp_path / "src" / "two.ply", points(0))
    assert run_import(tmp_path / "src", tmp_path / "a", taxonomy) == 1
    assert "1 of 2 files have no intensity, for example one.ply" in capsys.readouterr().err
    assert run_import(tmp_path / "src", tmp_path / "b", taxonomy, "--intensity-field", "none") == 0


@pytest.mark.parametrize(
    ("largest", "scale"), [(0.7, 1), (1.0, 1), (90, 255), (3000, 4095), (50000, 65535), (1e5, 1e5)]
)
def test_intensity_is_brought_to_0_to_1_by_a_scale_that_can_be_changed(
    tmp_path, taxonomy, largest, scale
):
    intensity = np.linspace(0, largest, 120, dtype=np.float32)
    with_fields(tmp_path / "src" / "one.ply", intensity=intensity)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
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
    source_scans.write_las(tmp_path / "src" / "one.las", points(0), classes=False)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="las") == 0
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
        source_scans.write_las(src / f"{i}.las", points(i), tuple(np.array(UTM) + shift))
    assert run_import(src, out, taxonomy, format="las") == 0
    assert "too large for millimetres in float32" in capsys.readouterr().out
    dataset, poses = ImportedScans(out, "all"), read_poses(out / "sequences" / "00" / "poses.txt")
    first = np.array(dataset.origin(0).offset)
    for i, shift in enumerate(shifts):
        scan, offset = dataset.read(i), np.array(dataset.origin(i).offset)
        assert np.abs(scan.xyz).max() < 50 and (offset == np.floor(offset)).all()
        world = points(i).xyz.astype(np.float64) + UTM + shift
        np.testing.assert_allclose(scan.xyz + offset, world, atol=5e-6)
        np.testing.assert_allclose(poses[i][:3, 3] + first, offset)
    assert (
        run_import(src, tmp_path / "b", taxonomy, "--offset", "690123,5335456,512", format="las")
        == 0
    )
    np.testing.assert_array_equal(stored(tmp_path / "b", "00/000000")[0], points(0).xyz)


@pytest.mark.parametrize("kind", ["ply", "npy", "las"])
def test_what_is_subtracted_does_not_change_a_millimetre(tmp_path, taxonomy, kind):
    """Coordinates in float64, from one millimetre up, at two places on earth."""
    small = np.arange(-40, 40)[:, None] * [0.001, 0.003, 0.011] + [0, 0, 3]
    found = []
    for name, place in (("here", (0.0, 0.0, 0.0)), ("there", UTM)):
        (tmp_path / name).mkdir()
        path = tmp_path / name / f"a.{kind}"
        p = source_scans.Points(small, *(np.zeros(80, np.uint16),) * 3)
        if kind == "las":
            source_scans.write_las(path, p, place)
        else:
            columns = {axis: small[:, k] + place[k] for k, axis in enumerate("xyz")}
            if kind == "ply":
                with_columns(path, columns)
            else:
                np.save(path, np.column_stack(list(columns.values())))
        words = ",".join(map(str, place))
        out = tmp_path / f"{name}-out"
        assert run_import(tmp_path / name, out, taxonomy, f"--offset={words}", format=kind) == 0
        found.append(read_bin(out / "sequences" / "00" / "velodyne" / "000000.bin")[0])
    if kind == "las":  # whole steps: the same bits
        np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[1], small, atol=2e-7)


def test_units_other_than_metres(tmp_path, taxonomy):
    p = points(0)
    (tmp_path / "src").mkdir()
    millimetres = np.column_stack([np.rint(p.xyz.astype(np.float64) * 1000), p.intensity])
    np.save(tmp_path / "src" / "one.npy", millimetres)
    assert (
        run_import(tmp_path / "src", tmp_path / "o", taxonomy, "--unit", "0.001", format="npy") == 0
    )
    xyz, _ = read_bin(tmp_path / "o" / "sequences" / "00" / "velodyne" / "000000.bin")
    np.testing.assert_allclose(xyz, p.xyz, atol=1e-6)


def test_unknown_ids_are_named_with_their_files_and_the_import_goes_on(tmp_path, capsys):
    text = source_scans.CLASSES.replace("[2, 7]", "[2]").replace("[0, 9]", "[0]")
    src, taxonomy = write_scans(tmp_path / "src"), write_taxonomy(tmp_path, text)
    assert run_import(src, tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err
    count = sum(int((points(seed).label == 7).sum()) for seed in (0, 1, 100, 101))
    assert f"7 ({count} points, first in a/scan0.ply)" in error
    write_taxonomy(tmp_path)
    assert run_import(src, tmp_path / "out", taxonomy) == 0


def test_a_stock_semantic_kitti_yaml_serves_as_taxonomy(tmp_path):
    src, out = tmp_path / "src", tmp_path / "out"
    src.mkdir()
    with_fields(src / "one.ply", label=np.resize([10, 252, 40, 0], 120).astype(np.uint16))
    assert run_import(src, out, Path("semantickitti19")) == 0
    dataset = ImportedScans(out, "all")
    assert dataset.taxonomy.num_classes == 19
    assert dataset.read(0).labels[:4].tolist() == [0, 0, 8, 255]
