"""Intensities of several sensors have a scale each, and points without one stay points."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import source_scans
from source_scans import points, run_import, stored, write_taxonomy
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.data.batch import answer_labels
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.scan import Scan, VoxelLabels
from annotator3d.engine.config.load import dump_config


def write_drives(src: Path, **scales: float) -> Path:
    """Two scans a drive, with intensities of 0 to 255 times the drive's scale."""
    for name, scale in scales.items():
        (src / name).mkdir(parents=True)
        for i in range(2):
            p = points(i)
            p.intensity[0] = 255
            source_scans.write_ply(
                src / name / f"{i}.ply",
                dataclasses.replace(p, intensity=(p.intensity * np.float32(scale))),
            )
    return src


def imported(tmp_path: Path, *options: str) -> int:
    return run_import(tmp_path / "src", tmp_path / "out", write_taxonomy(tmp_path), *options)


def brightest(root: Path) -> dict[str, float]:
    """The largest intensity of each sequence as a network gets it."""
    dataset: ScanDataset = ImportedScans(root, "all")
    found: dict[str, float] = {}
    for i, scan_id in enumerate(dataset.ids):
        name = scan_id.split("/")[0]
        found[name] = max(found.get(name, 0), float(dataset.read(i).intensity.max()))
    return found


@pytest.mark.parametrize(
    "scales",
    [{"a": 1 / 255, "b": 1}, {"a": 1, "b": 257}, {"a": 1 / 255, "b": 1, "c": 16, "d": 257}],
)
def test_each_drive_is_divided_by_its_own_scale(tmp_path, capsys, scales):
    write_drives(tmp_path / "src", **scales)
    assert imported(tmp_path) == 0
    out = capsys.readouterr().out
    line = out.split("intensity from")[1].split("coordinates")[0]
    assert "scale for each sequence" in line and all(f"({name})" in line for name in scales)
    assert all(0.9 < value <= 1 for value in brightest(tmp_path / "out").values())
    assert main(["check", str(tmp_path / "out")]) == 0


def test_one_scale_stays_one_number(tmp_path, capsys):
    write_drives(tmp_path / "src", a=1, b=1)
    assert imported(tmp_path) == 0
    out = capsys.readouterr().out
    assert "to 255, divided by 255 when read\n" in out and "for each sequence" not in out
    assert "max: 255.0\n" in (tmp_path / "out" / "dataset.yaml").read_text()


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("510", {"a": 0.5 / 255, "b": 0.5}),
        ("b=510", {"a": 1, "b": 0.5}),
        ("a=2,b=1020", {"a": 0.5, "b": 0.25}),
    ],
)
def test_the_option_sets_one_scale_or_one_of_a_sequence(tmp_path, option, wanted):
    write_drives(tmp_path / "src", a=1 / 255, b=1)
    assert imported(tmp_path, "--intensity-max", option) == 0
    assert brightest(tmp_path / "out") == pytest.approx(wanted)


@pytest.mark.parametrize("option", ["0", "-1", "nan", "inf", "many", "a=0", "a=", "=3", "a=1,a=2"])
def test_a_scale_that_is_none_is_refused(tmp_path, capsys, option):
    write_drives(tmp_path / "src", a=1)
    assert imported(tmp_path, f"--intensity-max={option}") == 2
    assert "--intensity-max" in capsys.readouterr().err


def test_a_sequence_that_is_not_there_is_refused_before_any_work(tmp_path, capsys):
    write_drives(tmp_path / "src", drive1=1)
    assert imported(tmp_path, "--intensity-max", "drive2=255") == 2
    error = capsys.readouterr().err
    assert "no such sequence" in error and "'drive1'" in error and not (tmp_path / "out").exists()


def test_a_card_without_a_sequence_names_it(tmp_path):
    write_drives(tmp_path / "src", a=1 / 255, b=1)
    assert imported(tmp_path) == 0
    card = tmp_path / "out" / "dataset.yaml"
    card.write_text(card.read_text().replace("    b: 255.0\n", ""))
    with pytest.raises(ValueError, match=r"dataset.yaml has no intensity.max of sequence 'b'"):
        ImportedScans(tmp_path / "out", "all").read(3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["ply", "npy", "bin", "pcd"])
def test_points_without_an_intensity_stay_and_are_counted(tmp_path, capsys, kind, bad):
    (tmp_path / "src").mkdir()
    for i in range(2):
        p = points(i)
        p.intensity[:50] = bad
        name = {"ply": "ply-little", "pcd": "pcd-ascii"}.get(kind, kind)
        source_scans.WRITERS[name](tmp_path / "src" / f"{i}.{kind}", p)
    taxonomy, out = write_taxonomy(tmp_path), tmp_path / "out"
    assert run_import(tmp_path / "src", out, taxonomy, format=kind) == 0
    words = capsys.readouterr().out
    assert "without an intensity" in words and "100 points in 2 scans" in words
    _, intensity, classes, _ = stored(out, "00/000000")
    np.testing.assert_array_equal(intensity[:50], 0)
    np.testing.assert_array_equal(intensity[50:], points(0).intensity[50:])
    np.testing.assert_array_equal(classes, points(0).label)
    assert len(ImportedScans(out, "all").read(0)) == 120
    assert main(["check", str(out)]) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_data_that_was_never_imported_is_read_by_the_same_rule(tmp_path, make_kitti, capsys, bad):
    root = make_kitti(sequences=("00", "01", "02"), scans=2)
    for sequence in ("00", "01"):
        path = root / f"sequences/{sequence}/velodyne/000001.bin"
        data = np.fromfile(path, "<f4").reshape(-1, 4)
        data[:50, 3] = bad
        data.tofile(path)
    with pytest.warns(RuntimeWarning, match=r"50 of 200 points without an intensity .* get 0"):
        scan = SemanticKITTI(root, ["00"]).read(1)
    assert len(scan) == 200 and scan.no_intensity.tolist() == list(range(50))
    np.testing.assert_array_equal(scan.intensity[:50], 0)
    config = tmp_path / "config.yaml"
    asks = {"oracle": "person", "strategy": "random"}
    config.write_text(dump_config(tiny_config(root, active=asks)))
    with pytest.warns(RuntimeWarning, match="without an intensity"):
        assert main(["train", str(config), "--work-dir", str(tmp_path / "work")]) == 0
    words = "of 800 points in 4 scans, 100 points (in 2 scans) without an intensity"
    assert f"round 1: {words}" in capsys.readouterr().out


def test_answers_of_a_version_that_left_such_points_out_are_still_trained_on():
    xyz = np.full((4, 3), 5.1, np.float32)
    scan = Scan.from_raw("00/0", xyz, np.array([0.5, np.nan, 0.1, np.inf], np.float32))
    then = VoxelLabels((20, 20, 20), np.array([1, 2], np.uint8), 1)
    assert answer_labels(scan, [then], 0.25).tolist() == [1, 255, 2, 255]
    with pytest.raises(ValueError, match="3 labels but the voxel has 4"):
        answer_labels(scan, [then._replace(labels=np.zeros(3, np.uint8))], 0.25)


def test_a_field_in_which_nothing_is_filled_is_said(tmp_path, capsys):
    (tmp_path / "src").mkdir()
    source_scans.write_ply(
        tmp_path / "src" / "a.ply", dataclasses.replace(points(), intensity=np.full(120, np.nan))
    )
    assert imported(tmp_path) == 0
    assert "120 points in 1 scan" in capsys.readouterr().out


def test_negative_intensities_are_kept_and_counted(tmp_path, capsys):
    (tmp_path / "src").mkdir()
    p = points()
    p.intensity[:7] = -1
    source_scans.write_ply(tmp_path / "src" / "a.ply", p)
    assert imported(tmp_path) == 0
    out = capsys.readouterr().out
    assert "below 0" in out and "7 points in 1 scan" in out and "-1 to" in out
    np.testing.assert_array_equal(stored(tmp_path / "out", "00/000000")[1], p.intensity)


@pytest.mark.parametrize(("small", "large"), [(1, 255), (255, 65535), (255, 4095)])
def test_two_scales_in_one_sequence_are_told(tmp_path, capsys, small, large):
    (tmp_path / "src").mkdir()
    random = np.random.default_rng(0)
    for name, top in [("a", small), ("b", large), ("c", large)]:
        xyz = random.uniform(-20, 20, (500, 3))
        rows = np.column_stack([xyz, np.linspace(0, top, 500)])
        np.save(tmp_path / "src" / f"{name}.npy", rows)
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npy") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"1 scan of 3 of sequence 00 do not exceed {small}, first a.npy" in told


@pytest.mark.parametrize("value", [1e38, 1e6, 30000.0])
def test_an_intensity_far_above_all_others_is_told(tmp_path, capsys, value):
    (tmp_path / "src").mkdir()
    random = np.random.default_rng(0)
    intensity = random.uniform(0, 200, 500)
    intensity[7] = value
    rows = np.column_stack([random.uniform(-20, 20, (500, 3)), intensity])
    np.save(tmp_path / "src" / "a.npy", rows)
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npy") == 0
    told = capsys.readouterr().out
    assert "times those of 99 % of the points are kept: 1 point in 1 scan, a.npy" in told
