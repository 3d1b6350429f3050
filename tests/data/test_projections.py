"""Scans on range images and polar grids: every point by a loop over points, misfits by name."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from annotator3d.data.batch import InputRule, collate, make_sample
from annotator3d.data.projections.polar_grid import PolarGrid
from annotator3d.data.projections.projected import PointSet
from annotator3d.data.projections.range_image import RangeImage
from annotator3d.data.scan import Scan

IMAGE = RangeImage(height=8, width=16, fov=(10.0, -30.0))
GRID = PolarGrid((6, 8, 4), (2.0, 20.0), (-2.0, 2.0))


def scan_of(xyz, intensity=None, ring=None) -> Scan:
    xyz = np.asarray(xyz, np.float32).reshape(-1, 3)
    if intensity is None:
        intensity = np.linspace(0, 1, len(xyz), dtype=np.float32)
    ring = None if ring is None else np.asarray(ring, np.float32)
    return Scan.from_raw("07/000042", xyz, intensity, None, ring)


def at(distance: float, azimuth: float, elevation: float = 0.0) -> tuple[float, float, float]:
    """A point by degrees; azimuth counter-clockwise from ahead."""
    a, e = math.radians(azimuth), math.radians(elevation)
    flat = distance * math.cos(e)
    return flat * math.cos(a), flat * math.sin(a), distance * math.sin(e)


def pixel_of(point, image: RangeImage) -> tuple[int, int]:
    x, y, z = map(float, point)
    clockwise_from_behind = (math.pi - math.atan2(y, x)) / (2 * math.pi)
    column = int(clockwise_from_behind * image.width) % image.width
    elevation = math.degrees(math.asin(z / math.hypot(x, y, z)))
    up, down = image.fov
    row = math.floor((up - elevation) / (up - down) * image.height)
    return min(max(row, 0), image.height - 1), column


def polar_cell_of(point, grid: PolarGrid) -> tuple[int, int, int]:
    x, y, z = map(float, point)
    shares = (
        (math.hypot(x, y) - grid.reach[0]) / (grid.reach[1] - grid.reach[0]),
        (math.atan2(y, x) + math.pi) / (2 * math.pi),
        (z - grid.heights[0]) / (grid.heights[1] - grid.heights[0]),
    )
    return tuple(
        min(max(math.floor(share * n), 0), n - 1)
        for share, n in zip(shares, grid.grid, strict=True)
    )


def is_on_an_edge(point, projection) -> bool:
    """Whether rounding decides the cell: another one is a thousandth of a millimetre away."""
    cell = pixel_of if isinstance(projection, RangeImage) else polar_cell_of
    around = np.array(np.meshgrid(*[[-1e-6, 0, 1e-6]] * 3)).reshape(3, -1).T
    return len({cell(np.asarray(point, float) + move, projection) for move in around}) > 1


coordinates = st.floats(-30, 30, width=32).filter(lambda c: abs(c) > 0.01)
clouds = st.lists(st.tuples(coordinates, coordinates, coordinates), min_size=1, max_size=40)


@given(clouds)
def test_the_pixel_of_each_point_and_the_point_that_is_seen_in_it(xyz):
    xyz = [p for p in xyz if not is_on_an_edge(p, IMAGE)]
    xyz.append(at(5.0, 10.0, -3.0))  # one that is in the field of view
    sample = make_sample(scan_of(xyz), InputRule(3, projection=IMAGE))
    points = np.asarray(xyz, np.float32)
    members = defaultdict(list)
    for row, point in enumerate(points):
        members[pixel_of(point, IMAGE)].append(row)
    found = [tuple(cell) for cell in sample["cells"].tolist()]
    assert sorted(found) == sorted((*pixel, 0) for pixel in members)
    distance = [math.hypot(*map(float, p)) for p in points]
    for pixel, (row, column, _) in enumerate(found):
        mine = members[row, column]
        assert [n for n, p in enumerate(sample["point_to_voxel"].tolist()) if p == pixel] == mine
        seen = int(sample["first"][pixel])
        assert seen in mine and distance[seen] <= min(distance[n] for n in mine) + 1e-9
    told = sample["points"].numpy()
    np.testing.assert_allclose(told[:, 0], distance, rtol=1e-6)
    np.testing.assert_array_equal(told[:, 1:4], points)


@given(clouds)
def test_the_polar_cell_of_each_point_and_what_is_told_of_it(xyz):
    xyz = [p for p in xyz if not is_on_an_edge(p, GRID)] + [(5.0, 1.0, 0.3)]
    sample = make_sample(scan_of(xyz), InputRule(3, projection=GRID))
    wanted = [polar_cell_of(point, GRID) for point in np.asarray(xyz, np.float32)]
    cells = [tuple(c) for c in sample["cells"].tolist()]
    assert [cells[v] for v in sample["point_to_voxel"].tolist()] == wanted
    assert len(cells) == len(set(cells)) == len(set(wanted))
    assert sample["first"].tolist() == [wanted.index(cell) for cell in cells]
    for told, (x, y, z), cell in zip(sample["points"].tolist(), xyz, wanted, strict=True):
        polar = [math.hypot(x, y), math.atan2(y, x), z]
        edges = [18 / 6, 2 * math.pi / 8, 4 / 4]
        low = [2.0, -math.pi, -2.0]
        away = [p - (o + (c + 0.5) * e) for p, o, c, e in zip(polar, low, cell, edges, strict=True)]
        np.testing.assert_allclose(told[:8], [*away, *polar, x, y], atol=1e-5)


def test_columns_run_clockwise_from_behind_once_around():
    azimuths = [179.0, 91.0, 1.0, -1.0, -89.0, -179.0]
    sample = make_sample(scan_of([at(9, a) for a in azimuths]), InputRule(3, projection=IMAGE))
    columns = sample["cells"][sample["point_to_voxel"], 1].tolist()
    assert columns == [0, 3, 7, 8, 11, 15]
    exactly_behind = make_sample(
        scan_of([(-5, 0.0, 0), (-5, -0.0, 0)]), InputRule(3, projection=IMAGE)
    )
    assert exactly_behind["cells"][:, 1].tolist() == [0]


def test_rows_are_the_sensors_own_where_the_scan_has_them_and_by_angle_where_not():
    xyz = [at(9, 5, 8), at(9, 5, -1), at(9, 5, -28)]
    ring = [0, 5, 2]

    def rows(how, ring):
        image = RangeImage(8, 16, (10.0, -30.0), how)
        sample = make_sample(scan_of(xyz, ring=ring), InputRule(3, projection=image))
        return sample["cells"][sample["point_to_voxel"], 0].tolist()

    assert rows("auto", ring) == rows("ring", ring) == ring
    assert rows("auto", None) == rows("angle", ring) == [0, 2, 7]


def test_of_equally_near_points_the_first_of_the_file_is_seen():
    xyz = [at(9, 5), at(4, 5), at(4, 5), at(4.5, 6)]
    sample = make_sample(scan_of(xyz), InputRule(3, projection=IMAGE))
    assert len(sample["cells"]) == 1 and sample["first"].tolist() == [1]


@pytest.mark.parametrize("target", ["any", "first"])
def test_the_target_of_a_pixel_is_that_of_the_point_that_is_seen(target):
    xyz = [at(9, 5), at(9, 5), at(4, 5), at(9, 95)]
    rule = InputRule(3, target=target, projection=IMAGE)
    labels = np.array([1, 1, 2, 0], np.uint8)
    sample = make_sample(scan_of(xyz), rule, labels)
    assert sample["target"][sample["point_to_voxel"]].tolist() == [2, 2, 2, 0]
    hidden = np.array([1, 1, 255, 0], np.uint8)  # only points that are not seen were labelled
    assert make_sample(scan_of(xyz), rule, hidden)["target"].tolist()[0] == 255


def test_the_target_of_a_polar_cell_is_the_majority_of_its_labelled_points():
    xyz = [(5.0, 1.0, 0.3), (5.1, 1.0, 0.3), (5.2, 1.0, 0.3), (-5.0, 1.0, 0.3)]
    labels = np.array([2, 1, 1, 0], np.uint8)
    rule = InputRule(3, projection=GRID)
    sample = make_sample(scan_of(xyz), rule, labels)
    assert sample["target"][sample["point_to_voxel"]].tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize("projection", [IMAGE, GRID])
def test_rows_of_a_batch_lead_to_the_scans_own_points(projection):
    rng = np.random.default_rng(0)
    scans = [scan_of(rng.uniform(-9, 9, (n, 3))) for n in (30, 0, 20)]
    rule = InputRule(3, projection=projection)
    samples = [make_sample(scan, rule) for scan in scans]
    batch = collate(samples)
    assert batch["points"].shape[0] == 50 and batch["num_points"].tolist() == [30, 0, 20]
    for b, sample in enumerate(samples):
        start, stop = batch["splits"][b : b + 2].tolist()
        seen = batch["points"][batch["first"][start:stop]]
        assert torch.equal(seen, sample["points"][sample["first"]])


@pytest.mark.parametrize(
    ("projection", "xyz", "ring", "words"),
    [
        (RangeImage(rows="ring"), [(5, 1, 0)], None, "has no ring numbers.*rows=angle"),
        (RangeImage(height=32), [(5, 1, 0)], [40], "height 32: .*0 to 31, got 40"),
        (RangeImage(height=32), [(5, 1, 0)], [math.nan], "0 to 31, got nan"),
        (RangeImage(height=32), [(5, 1, 0)], [0.5], "0 to 31, got 0.5"),
        (RangeImage(), [(0.1, 0, 5), (0, 0.1, 9)], None, "none of its 2 points.*-25 and 3 degrees"),
        (PolarGrid(), [(5000, 1, 0), (1, 1, 0)], None, "none of its 2 points.*3 to 50 m"),
        (PolarGrid(), [(5, 1, 80)], None, "none of its 1 points.*-3 to 1.5 m high"),
    ],
)
def test_a_scan_that_does_not_fit_is_refused_by_name(projection, xyz, ring, words):
    with pytest.raises(ValueError, match=f"scan 07/000042.*{words}") as error:
        make_sample(scan_of(xyz, ring=ring), InputRule(3, projection=projection))
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RangeImage(height=0), "height: expected 1 to 4,096, got 0"),
        (lambda: RangeImage(width=10**9), "width: expected 1 to"),
        (lambda: RangeImage(fov=(-25.0, 3.0)), "fov: .*the higher one first"),
        (lambda: RangeImage(fov=(3.0,)), "fov: expected two"),
        (lambda: RangeImage(rows="rings"), "rows: expected one of auto, ring, angle"),
        (lambda: PolarGrid(grid=(4, 4)), "grid: expected three numbers"),
        (lambda: PolarGrid(grid=(4, 0, 4)), "grid: expected three numbers from 1"),
        (lambda: PolarGrid(reach=(9.0, 3.0)), "reach: .*smaller one first"),
        (lambda: PolarGrid(reach=(-1.0, 3.0)), "reach: "),
        (lambda: PolarGrid(heights=(1.0, 1.0)), "heights: "),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("projection", [IMAGE, GRID, RangeImage(rows="ring")])
def test_a_scan_of_no_points_is_an_empty_image(projection):
    empty = PointSet("a/b", np.empty((0, 3), np.float32), np.empty(0, np.float32), np.empty(0))
    found = projection.project(empty)
    assert len(found.cells) == 0 and found.points.shape[0] == 0
