"""Points that are no measurements are counted when they are imported, whatever stands for them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from source_scans import points, run_import, write_las, write_ply, write_taxonomy

from annotator3d.data.extent import at_one_place

ABSENT = "points whose x, y or z is NaN or Inf in the file are left out"
SHARED = "points at exactly one place"


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    return write_taxonomy(tmp_path)


def imported(tmp_path: Path, taxonomy: Path, capsys, *scans: np.ndarray) -> str:
    (tmp_path / "src").mkdir()
    for k, xyz in enumerate(scans):
        p = points(k, len(xyz))
        p.xyz = xyz.astype(np.float32)
        write_ply(tmp_path / "src" / f"{k}.ply", p)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axes", [[0, 1, 2], [2]])
def test_points_that_are_not_finite_are_counted(tmp_path, taxonomy, capsys, value, axes):
    first, second = points(0, 400).xyz, points(1, 400).xyz
    for axis in axes:
        first[10:37, axis] = value
        second[5, axis] = value
    out = imported(tmp_path, taxonomy, capsys, first, second, points(2, 400).xyz)
    assert f"{ABSENT}: 28 points in 2 scans, the first 0.ply" in out


def test_a_scan_without_such_points_says_nothing(tmp_path, taxonomy, capsys):
    out = imported(tmp_path, taxonomy, capsys, points(0, 400).xyz)
    assert ABSENT not in out and SHARED not in out


def test_withheld_points_are_not_counted_as_not_finite(tmp_path, taxonomy, capsys):
    import laspy

    (tmp_path / "src").mkdir()
    path = tmp_path / "src" / "a.las"
    write_las(path, points(0, 400))
    las = laspy.read(path)
    las.withheld = np.arange(400) < 30
    las.write(path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="las") == 0
    out = capsys.readouterr().out
    assert "withheld (deleted)" in out and ABSENT not in out


@pytest.mark.parametrize("place", [(1.2, 0.0, 1.73), (-32.768, -32.768, -32.768), (0.0, 0.0, -1.7)])
def test_beams_without_a_return_in_a_moved_frame_are_counted(tmp_path, taxonomy, capsys, place):
    first, second = points(0, 3000).xyz, points(1, 3000).xyz
    first[::4] = place
    second[:150] = np.array(place) + 1  # the frame moves on
    out = imported(tmp_path, taxonomy, capsys, first, second, points(2, 3000).xyz)
    assert f"{SHARED} that many others share" in out
    assert ": 900 points in 2 scans, the first 0.ply" in out


def test_the_count_is_that_of_a_plain_loop():
    random = np.random.default_rng(0)
    for n, values in ((0, 5), (99, 1), (100, 1), (5000, 3), (5000, 8), (20000, 40)):
        xyz = random.integers(0, values, (n, 3)).astype(np.float32)
        counts = Counter(map(tuple, xyz.tolist())).values()
        assert at_one_place(xyz) == sum(c for c in counts if c >= max(100, n // 100))


def test_surfaces_on_a_coarse_grid_are_no_such_place():
    random = np.random.default_rng(0)
    ground = np.round(random.uniform(-20, 20, (50_000, 2)), 1)
    assert at_one_place(np.c_[ground, np.full(50_000, -1.7)].astype(np.float32)) == 0
