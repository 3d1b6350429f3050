"""Beams without a return, stored at (0, 0, 0), are no points: counted, and never asked about."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from source_scans import WRITERS, points, run_import, write_taxonomy
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.data.batch import answer_labels
from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.scan import Scan, VoxelLabels, rows_of_cell
from annotator3d.engine.config.load import dump_config

pytestmark = pytest.mark.filterwarnings("ignore:.*without a return are stored:RuntimeWarning")


def with_zeros(seed: int, count: int, zero: float = 0.0):
    p = points(seed)
    p.xyz[:count] = zero
    p.label[:count] = np.arange(count) % 3 + 1
    return p


@pytest.mark.parametrize("kind", ["bin", "ply-little", "pcd-ascii", "npy", "las"])
@pytest.mark.parametrize(("count", "zero"), [(50, 0.0), (50, -0.0), (3, 0.0)])
def test_they_are_counted_and_left_out(tmp_path, capsys, kind, count, zero):
    format = kind.split("-")[0]
    (tmp_path / "src").mkdir()
    for i in range(2):
        WRITERS[kind](tmp_path / "src" / f"{i}.{format}", with_zeros(i, count, zero))
    out = tmp_path / "out"
    assert run_import(tmp_path / "src", out, write_taxonomy(tmp_path), format=format) == 0
    assert "(0, 0, 0), where beams without a return are stored" in (text := capsys.readouterr().out)
    assert f"{2 * count} points in 2 scans" in text
    scan = ImportedScans(out, "all").read(0)
    assert len(scan) == 120 - count and scan.num_raw == 120
    assert scan.no_return.tolist() == list(range(count))
    assert not (scan.xyz == 0).all(1).any() and len(scan.labels) == len(scan)
    main(["check", str(out)])
    assert "no return, 2 files" in (text := capsys.readouterr().out)
    assert f"{count} of 120 points are at (0, 0, 0)" in text


@pytest.mark.parametrize("strategy", ["random", "vcd", "entropy"])
def test_the_sensors_own_voxel_is_never_asked_about(tmp_path, strategy):
    """Predictions of a network that goes by pixels: they differ most where all beams meet."""
    src, pred = tmp_path / "src" / "d", tmp_path / "pred" / "d"
    src.mkdir(parents=True)
    pred.mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(2):
        WRITERS["bin"](src / f"{i:06d}.bin", with_zeros(i, 60))
        np.save(pred / f"{i:06d}.npy", random.normal(size=(120, 3)).astype(np.float32) * 5)
    out, work = tmp_path / "out", tmp_path / "work"
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", out, taxonomy, format="bin") == 0
    given = [] if strategy == "random" else ["--predictions", str(tmp_path / "pred")]
    sets = [f"active.strategy={strategy}", "active.queries_per_scan=40", "data.val=null"]
    options = [word for value in sets for word in ("--set", value)]
    command = ["select", "al/own_data", "--data-root", str(out), "--work-dir", str(work)]
    assert main([*command, *given, *options]) == 0
    asked = list(csv.DictReader((work / "rounds" / "1" / "queries.csv").open()))
    assert asked and ("0", "0", "0") not in {
        (row["cell_x"], row["cell_y"], row["cell_z"]) for row in asked
    }


@pytest.mark.parametrize("command", ["select", "train"])
def test_a_round_counts_them_over_all_its_scans(tmp_path, make_kitti, capsys, command):
    """Scan 0 has none, so that a count of the first scan alone would be wrong."""
    root, work = make_kitti(sequences=("00", "01", "02"), scans=3), str(tmp_path / "work")
    for frame in (1, 2):
        for sequence in ("00", "01"):
            path = root / f"sequences/{sequence}/velodyne/{frame:06d}.bin"
            data = np.fromfile(path, "<f4").reshape(-1, 4)
            data[: 10 * frame, :3] = 0
            data.tofile(path)
    config = tmp_path / "config.yaml"
    asks = {"oracle": "person", "strategy": "random"}
    config.write_text(dump_config(tiny_config(root, active=asks)))
    assert main([command, str(config), "--work-dir", work]) == 0
    out = capsys.readouterr().out
    wanted = "round 1: of 1,200 points in 6 scans, 60 points (in 4 scans) at (0, 0, 0), where"
    assert out.count(wanted) == 1


def surface(step: float, copies: int) -> np.ndarray:
    """A floor through the origin of a map, with points at the origin itself."""
    axis = np.arange(-3, 3 + step / 2, step)
    x, y = np.meshgrid(axis, axis)
    floor = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)]).astype(np.float32)
    floor = floor[(np.abs(floor) > 1e-6).any(1)]
    return np.concatenate([np.zeros((copies, 3), np.float32), floor])


@pytest.mark.parametrize(("step", "copies"), [(0.1, 1), (0.1, 3), (2.0, 1), (0.02, 40)])
def test_a_measured_point_at_the_origin_of_a_map_stays(step, copies):
    xyz = surface(step, copies)
    scan = Scan.from_raw("00/0", xyz, np.zeros(len(xyz), np.float32))
    assert len(scan) == len(xyz) and scan.num_dropped == 0


def test_in_a_scan_far_from_the_origin_they_do_not_come_out_as_points(tmp_path, capsys):
    """UTM: the offset of the others would turn them into points 5,000 km away."""
    (tmp_path / "src").mkdir()
    p = points()
    xyz = p.xyz.astype(np.float64) + [500000, 5400000, 100]
    xyz[:70] = 0  # more than half
    data = np.column_stack([xyz, p.intensity, p.label])
    np.save(tmp_path / "src" / "a.npy", data)
    taxonomy, out = write_taxonomy(tmp_path), tmp_path / "out"
    columns = ("--columns", "x,y,z,intensity,label")
    assert run_import(tmp_path / "src", out, taxonomy, *columns, format="npy") == 0
    assert "70 points in 1 scan" in capsys.readouterr().out
    scan = ImportedScans(out, "all", labels="optional").read(0)
    assert len(scan) == 50 and np.abs(scan.xyz).max() < 50


def test_a_scan_of_nothing_else_is_named(tmp_path, capsys):
    (tmp_path / "src").mkdir()
    for i in range(2):
        WRITERS["bin"](tmp_path / "src" / f"{i}.bin", with_zeros(i, 120 * i))
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 1
    error = capsys.readouterr().err
    assert "1 of 2 scans" in error and "1.bin" in error and "not at (0, 0, 0)" in error


def test_answers_about_the_sensors_own_voxel_still_fit_their_points():
    """A ledger of an earlier version, which took these beams for points, is still trained on."""
    xyz = np.array([[0, 0, 0], [0.1, 0.1, 0.1], [0, 0, 0], [0.2, 0.2, 0.2], [5, 5, 5]], np.float32)
    scan = Scan.from_raw("00/0", xyz, np.zeros(5, np.float32))
    assert rows_of_cell(scan.xyz, (0, 0, 0), 0.25).tolist() == [0, 1]
    then = VoxelLabels((0, 0, 0), np.array([9, 1, 9, 2], np.uint8), 1)
    assert answer_labels(scan, [then], 0.25).tolist() == [1, 2, 255]
    with pytest.raises(ValueError, match="3 labels but the voxel has 2"):
        answer_labels(scan, [then._replace(labels=np.zeros(3, np.uint8))], 0.25)
