"""A LAS file that is exported is the imported one with another classification, and valid."""

from __future__ import annotations

import shutil
from pathlib import Path

import laspy
import numpy as np
import pytest
from source_scans import points, run_import, stored, write_taxonomy

from annotator3d.cli.main import main
from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.exporting.writers import WRITERS, Labels

UTM = np.array([476_000.0, 4_429_000.0, 210.0])


def write(path: Path, format: int, version: str, seed: int = 0, **how) -> laspy.LasData:
    """A file with everything that its point format has, at an offset that is off the grid."""
    p, random = points(seed), np.random.default_rng(seed)
    header = laspy.LasHeader(point_format=format, version=version)
    header.scales = how.get("scales", [0.01, 0.01, 0.001])
    header.offsets = UTM + how.get("off", [0.0037, -0.0021, 0.0004])
    header.global_encoding.wkt = format >= 6
    header.file_source_id, header.system_identifier = 77, "aircraft"
    wkt = b'PROJCS["any"]\0'
    header.vlrs.append(laspy.VLR("LASF_Projection", 2112, "crs", wkt))
    header.vlrs.append(laspy.VLR("mine", 9, "notes", b"\1\2\3"))
    header.add_extra_dim(laspy.ExtraBytesParams("height", np.float32))
    las = laspy.LasData(header)
    count = len(p.xyz)
    las.points = laspy.ScaleAwarePointRecord.zeros(count, header=header)
    las.x, las.y, las.z = (p.xyz.astype(np.float64) + UTM).T
    for name in las.point_format.dimension_names:
        if name in ("gps_time", "height"):
            las[name] = random.random(count)
        elif name in ("intensity", "red", "green", "blue", "nir", "point_source_id"):
            las[name] = random.integers(0, 65536, count)
        elif name in ("user_data", "scan_angle_rank"):
            las[name] = random.integers(0, 90, count)
        elif name in ("edge_of_flight_line", "key_point", "overlap", "synthetic"):
            las[name] = random.integers(0, 2, count)
    las.number_of_returns = random.integers(1, 4, count)
    las.return_number = np.minimum(random.integers(1, 4, count), las.number_of_returns)
    las.classification = p.label.astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    las.write(str(path))
    return laspy.read(path)


def exported(tmp_path: Path, format: str, name: str = "a", seed: int = 3) -> tuple:
    """The labels that were given, and the file that was written of them, with its writer."""
    dataset = ImportedScans(tmp_path / "data", "all", labels="optional")
    writer = WRITERS[format](dataset, tmp_path / "out", True)
    count = dataset.num_points(0)
    train = np.random.default_rng(seed).choice([0, 1, 2, 255], count).astype(np.uint8)
    writer.path(0).parent.mkdir(parents=True, exist_ok=True)
    writer.write(0, Labels(train, None))
    return dataset.taxonomy.to_raw(train), laspy.read(tmp_path / "out" / f"{name}.{format}"), writer


FORMATS = {(0, "1.2"), (1, "1.2"), (3, "1.2"), (2, "1.3"), (6, "1.4"), (7, "1.4"), (8, "1.4")}


@pytest.mark.parametrize(("format", "version"), sorted(FORMATS))
@pytest.mark.parametrize("ending", ["las", "laz"])
def test_only_the_classification_changes(tmp_path, format, version, ending):
    old = write(tmp_path / "src" / f"a.{ending}", format, version)
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "data", taxonomy, format=ending) == 0
    raw, new, writer = exported(tmp_path, ending)
    assert writer.notes == {}
    np.testing.assert_array_equal(new.classification, raw)
    names = list(old.point_format.dimension_names)
    assert list(new.point_format.dimension_names) == names
    for name in names:
        if name != "classification":
            np.testing.assert_array_equal(np.array(new[name]), np.array(old[name]), err_msg=name)
    head = ("version", "point_format", "scales", "offsets", "file_source_id", "system_identifier")
    for name in head:
        assert np.all(getattr(new.header, name) == getattr(old.header, name)), name
    assert new.header.global_encoding.wkt == old.header.global_encoding.wkt
    records = [(v.user_id, v.record_id, v.record_data_bytes()) for v in old.header.vlrs]
    kept = [(v.user_id, v.record_id, v.record_data_bytes()) for v in new.header.vlrs]
    assert [r for r in kept if r[0] != "laszip encoded"] == [
        r for r in records if r[0] != "laszip encoded"
    ]
    assert new.header.point_count == len(old.points)


def test_extended_records_stay(tmp_path):
    path = tmp_path / "src" / "a.las"
    las = write(path, 6, "1.4")
    las.evlrs = laspy.vlrs.vlrlist.VLRList([laspy.VLR("mine", 10, "long", bytes(70_000))])
    las.write(str(path))
    assert run_import(path.parent, tmp_path / "data", write_taxonomy(tmp_path), format="las") == 0
    _, new, _ = exported(tmp_path, "las")
    assert [(e.user_id, len(e.record_data_bytes())) for e in new.evlrs] == [("mine", 70_000)]


LARGE = """
classes:
  - {name: ground, ids: [1]}
  - {name: building, ids: [2, 7, 200]}
  - {name: plant, ids: [%d, 3]}
ignored: [0, 9]
"""


@pytest.mark.parametrize(("format", "largest", "field"), [
    (3, 31, "classification"), (3, 32, "label"), (6, 255, "classification"), (6, 300, "label"),
])  # fmt: skip
def test_ids_that_the_classification_cannot_hold_get_a_field(tmp_path, format, largest, field):
    version = "1.2" if format < 6 else "1.4"
    old = write(tmp_path / "src" / "a.las", format, version)
    taxonomy = write_taxonomy(tmp_path, LARGE % largest)
    assert run_import(tmp_path / "src", tmp_path / "data", taxonomy, format="las") == 0
    raw, new, writer = exported(tmp_path, "las")
    assert raw.max() == largest
    np.testing.assert_array_equal(np.array(new[field]), raw)
    if field == "label":
        np.testing.assert_array_equal(new.classification, old.classification)
        (words,) = writer.notes
        assert "classification is as it was" in words
    np.testing.assert_array_equal(new.gps_time, old.gps_time)


def test_labels_go_back_into_the_field_that_they_came_from(tmp_path):
    path = tmp_path / "src" / "a.las"
    las = write(path, 6, "1.4")
    las.add_extra_dim(laspy.ExtraBytesParams("mine", np.uint8))
    las["mine"], las.classification = points(0).label, np.full(120, 5, np.uint8)
    las.write(str(path))
    options = ["--label-field", "mine"]
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(path.parent, tmp_path / "data", taxonomy, *options, format="las") == 0
    raw, new, _ = exported(tmp_path, "las")
    np.testing.assert_array_equal(new["mine"], raw)
    assert (np.array(new.classification) == 5).all()


GRIDS = {
    "off by half a step": ([0.01] * 3, [0.005] * 3),
    "off by a third": ([0.01, 0.1, 0.001], [0.0033, 0.033, 0.00033]),
    "of inches": ([0.0254] * 3, [0.01] * 3),
    "on the grid": ([0.001] * 3, [0.0] * 3),
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("source", ["there", "gone", "changed"])
def test_whole_numbers_survive(tmp_path, name, source):
    scales, off = GRIDS[name]
    path = tmp_path / "src" / "a.las"
    old = write(path, 6, "1.4", scales=scales, off=off)
    assert run_import(path.parent, tmp_path / "data", write_taxonomy(tmp_path), format="las") == 0
    offset = np.array(ImportedScans(tmp_path / "data", "all").origin(0).offset)
    np.testing.assert_allclose(
        stored(tmp_path / "data", "00/000000")[0] + offset, np.array(old.xyz), rtol=0, atol=5e-6
    )
    if source == "gone":
        path.unlink()
    if source == "changed":
        write(path, 6, "1.4", seed=5)
    raw, new, writer = exported(tmp_path, "las")
    for axis in "XYZ":
        np.testing.assert_array_equal(np.array(new[axis]), np.array(old[axis]))
    assert (new.header.scales == old.header.scales).all()
    np.testing.assert_allclose(new.header.offsets, old.header.offsets, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(new.classification, raw)
    assert (np.array(new.return_number) >= 1).all()
    words = " ".join(writer.notes)
    assert ("are lost" in words) == (source != "there")
    assert ("no longer" in words) == (source == "gone")
    assert ("other points by now" in words) == (source == "changed")


def test_feet_are_exported_as_feet(tmp_path):
    path = tmp_path / "src" / "a.las"
    old = write(path, 6, "1.4")
    options = ["--unit", "us-ft"]
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(path.parent, tmp_path / "data", taxonomy, *options, format="las") == 0
    for gone in (False, True):
        if gone:
            path.unlink()
        _, new, _ = exported(tmp_path, "las")
        np.testing.assert_array_equal(np.array(new.X), np.array(old.X))
        np.testing.assert_allclose(np.array(new.xyz), np.array(old.xyz), rtol=0, atol=1e-6)


def test_withheld_points_are_left_out_and_synthetic_ones_counted(tmp_path, capsys):
    path = tmp_path / "src" / "a.las"
    las = write(path, 6, "1.4")
    las.withheld = np.arange(120) % 10 == 0
    las.synthetic = np.arange(120) % 30 == 1
    las.write(str(path))
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(path.parent, tmp_path / "data", taxonomy, format="las") == 0
    printed = capsys.readouterr().out
    assert "withheld (deleted) are left out" in printed and ": 12 points in 1 scan" in printed
    assert "synthetic, which no sensor measured, are kept: 4 points in 1 scan" in printed
    scan = ImportedScans(tmp_path / "data", "all").read(0)
    assert len(scan) == 108 and not (scan.rows % 10 == 0).any()
    raw, new, writer = exported(tmp_path, "las")
    assert writer.notes == {}
    for name in ("X", "Y", "Z", "withheld", "synthetic"):
        np.testing.assert_array_equal(np.array(new[name]), np.array(las[name]))
    options = ["--keep-withheld"]
    assert run_import(path.parent, tmp_path / "all", taxonomy, *options, format="las") == 0
    assert "withheld are kept: 12 points in 1 scan" in capsys.readouterr().out
    assert len(ImportedScans(tmp_path / "all", "all").read(0)) == 120


def test_the_command_says_what_is_lost(tmp_path, capsys):
    for name in ("a", "b"):
        write(tmp_path / "src" / name / "0.las", 7, "1.4", seed=ord(name))
    taxonomy, data = write_taxonomy(tmp_path), tmp_path / "data"
    assert run_import(tmp_path / "src", data, taxonomy, "--val", "b", format="las") == 0
    settings = ["device=cpu", "model.voxel_size=2.0", "schedule.epochs=1", "active.rounds_at=[0]",
                "model.backbone={type: MinkUNet, planes: [4, 4, 8, 8, 4], blocks: 1}"]  # fmt: skip
    options = [part for setting in settings for part in ("--set", setting)]
    command = ["train", "al/own_data", "--data-root", str(data), "--work-dir"]
    assert main([*command, str(tmp_path / "work"), *options]) == 0
    shutil.rmtree(tmp_path / "src" / "b")
    capsys.readouterr()
    command = ["export", str(tmp_path / "work"), str(tmp_path / "out"), "--what", "predictions"]
    assert main([*command, "--format", "las"]) == 0
    told = "".join(capsys.readouterr())
    assert "1 file, " in told and "no longer in" in told and "are lost" in told
    new, old = (laspy.read(tmp_path / top / "a" / "0.las") for top in ("out", "src"))
    for name in ("gps_time", "red", "return_number", "X", "intensity"):
        np.testing.assert_array_equal(np.array(new[name]), np.array(old[name]))


def test_the_index_of_a_cloud_optimised_file_goes_and_is_named(tmp_path):
    path = tmp_path / "src" / "a.laz"
    las = write(path, 6, "1.4")
    las.header.vlrs.append(laspy.VLR("copc", 1, "info", bytes(160)))
    las.evlrs = laspy.vlrs.vlrlist.VLRList([laspy.VLR("copc", 1000, "pages", bytes(32))])
    las.write(str(path))
    assert run_import(path.parent, tmp_path / "data", write_taxonomy(tmp_path), format="laz") == 0
    _, new, writer = exported(tmp_path, "las")
    records = [*new.header.vlrs, *(new.evlrs or [])]
    assert {r.user_id for r in records} == {"LASF_Projection", "mine", "LASF_Spec"}
    assert list(writer.notes) == ["the index of a cloud-optimised file (COPC) is left out"]
