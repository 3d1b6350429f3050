"""Grouping points into voxels: what a voxel holds, in which order, on which path."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from annotator3d.kernels import group_cells, native, reference, voxelize

FIELDS = ("cells", "scan", "point_to_voxel", "members", "splits", "scan_splits")
needs_library = pytest.mark.skipif(native.library() is None, reason=native.missing_reason())


def batches() -> st.SearchStrategy[tuple[list[tuple[int, int, int]], list[int]]]:
    """Cells and splits: dense or spread, negative, repeated, with empty scans."""
    near = st.integers(-2, 2)
    far = st.integers(-(2**31), 2**31 - 1)
    cell = st.one_of(st.tuples(near, near, near), st.tuples(far, near, far))
    scans = st.lists(st.lists(cell, max_size=30), max_size=4)
    return scans.map(
        lambda s: ([c for scan in s for c in scan], np.cumsum([0, *map(len, s)]).tolist())
    )


def cell_tensor(cells: list) -> Tensor:
    return torch.tensor(cells, dtype=torch.int32).reshape(-1, 3)


def twin(cells: list, splits: list[int]) -> dict[str, list]:
    """The same in dictionaries."""
    groups: dict[tuple, list[int]] = {}
    for scan in range(len(splits) - 1):
        for row in range(splits[scan], splits[scan + 1]):
            groups.setdefault((scan, *cells[row]), []).append(row)
    number = {key: i for i, key in enumerate(groups)}
    of_row = {row: number[key] for key, rows in groups.items() for row in rows}
    return {
        "cells": [list(key[1:]) for key in groups],
        "scan": [key[0] for key in groups],
        "point_to_voxel": [of_row[row] for row in range(len(cells))],
        "members": [row for rows in groups.values() for row in rows],
        "splits": np.cumsum([0, *map(len, groups.values())]).tolist(),
        "scan_splits": [sum(k[0] < b for k in groups) for b in range(len(splits))],
    }


def same(left: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> bool:
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_points_on_both_sides_of_zero_get_different_voxels():
    xyz = [[0.1, 0.1, 0.1], [-0.1, 0.1, 0.1], [0.24, 0.0, 0.2], [0.25, 0.0, 0.0], [-0.25, 0, 0]]
    v = voxelize(torch.tensor(xyz), 0.25)
    assert v.cells.tolist() == [[0, 0, 0], [-1, 0, 0], [1, 0, 0]]
    assert v.point_to_voxel.tolist() == [0, 1, 0, 2, 1]
    assert v.members.tolist() == [0, 2, 1, 4, 3]
    assert v.splits.tolist() == [0, 2, 4, 5]
    assert v.counts.tolist() == [2, 2, 1] and v.first.tolist() == [0, 1, 3] and len(v) == 3


def test_equal_cells_of_different_scans_stay_apart():
    v = group_cells(cell_tensor([(1, 2, 3)] * 4), torch.tensor([0, 1, 1, 4, 4]))
    assert v.scan.tolist() == [0, 2] and v.scan_splits.tolist() == [0, 1, 1, 2, 2]
    assert v.counts.tolist() == [1, 3]


@pytest.mark.parametrize("splits", [[0], [0, 0], [0, 0, 0]])
def test_no_points_give_no_voxels(splits):
    v = voxelize(torch.zeros(0, 4), 0.25, torch.tensor(splits))
    assert len(v) == 0 and v.splits.tolist() == [0] and v.scan_splits.tolist() == splits
    assert v.cells.shape == (0, 3) and v.counts.numel() == v.first.numel() == 0


@given(batches())
@settings(max_examples=150, deadline=None)
def test_grouping_equals_dictionaries_on_every_path(batch):
    cells, splits = batch
    expected = twin(cells, splits)
    args = cell_tensor(cells), torch.tensor(splits)
    for result in (reference.group_cells(*args), astuple(group_cells(*args))):
        assert {f: t.tolist() for f, t in zip(FIELDS, result, strict=True)} == expected


def astuple(voxels) -> tuple[Tensor, ...]:
    return tuple(getattr(voxels, field) for field in FIELDS)


@needs_library
@given(
    st.integers(0, 2**31),
    st.sampled_from([0.05, 0.1, 0.25, 1 / 3]),
    st.sampled_from([1e-3, 1.0, 50.0, 1e6]),
)
@settings(max_examples=60, deadline=None)
def test_library_equals_reference_on_points(seed, size, spread):
    rng = np.random.default_rng(seed)
    points = rng.normal(0, spread, (rng.integers(0, 700), 4)).astype(np.float32)
    # On the faces of cells, where a division that rounds otherwise shows.
    points[::3] = np.round(points[::3] / np.float32(size)) * np.float32(size)
    splits = torch.tensor(sorted([0, len(points), *rng.integers(0, len(points) + 1, 2)]))
    args = torch.from_numpy(points), size, splits
    assert same(reference.voxelize(*args), native.voxelize(*args))


@needs_library
def test_library_reads_slices_and_transposed_points_as_they_are():
    wide = torch.randn(3, 500, generator=torch.Generator().manual_seed(0)).mul(3)
    one = torch.tensor([0, 250])
    for points in (wide.t()[::2], wide.t().contiguous()[::2], torch.randn(250, 9)[:, 2:6]):
        assert same(reference.voxelize(points, 0.3, one), native.voxelize(points, 0.3, one))


def test_cell_is_the_float32_quotient_rounded_down():
    rng = random.Random(0)
    values = np.float32([rng.choice([-1, 1]) * rng.randrange(4000) * 0.05 for _ in range(3000)])
    points = torch.from_numpy(values).reshape(-1, 3)
    expected = [[math.floor(q) for q in row] for row in (values / np.float32(0.05)).reshape(-1, 3)]
    v = voxelize(points, 0.05)
    assert v.cells[v.point_to_voxel].tolist() == expected


def test_coordinates_up_to_the_last_cell_work_and_beyond_are_refused():
    edge = np.float32(2**31)
    inside = torch.tensor([[np.nextafter(edge, np.float32(0)), -edge, 0.0]])
    assert voxelize(inside, 1.0).cells.tolist() == [[2**31 - 128, -(2**31), 0]]
    for beyond in (float(edge), -3e9, 3e38):
        points = torch.tensor([[0.0, 0, 0], [0, beyond, 0]])
        with pytest.raises(ValueError, match=r"points: .*32 bits.*1 rows.*scan 1"):
            voxelize(points, 1.0, torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="points: .*32 bits"):
        voxelize(torch.full((1, 3), 1e10), 0.001)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_coordinates_name_scan_and_rows(bad):
    points = torch.zeros(5, 4)
    points[3, 1] = points[4, 2] = bad
    with pytest.raises(ValueError, match=r"points: expected finite.*2 rows of scan 2 of the batch"):
        voxelize(points, 0.25, torch.tensor([0, 2, 2, 5]))
    points = torch.zeros(5, 4)
    points[:, 3] = bad  # intensity is not a coordinate
    assert len(voxelize(points, 0.25)) == 1


@pytest.mark.parametrize(
    ("points", "size", "splits", "message"),
    [
        ([[0.0] * 3], 0.25, None, "points: expected a torch tensor, got list"),
        (torch.zeros(2, 3, dtype=torch.float64), 0.25, None, "points: expected float32"),
        (torch.zeros(3), 0.25, None, r"points: expected shape \[any, any\], got \[3\]"),
        (torch.zeros(2, 2), 0.25, None, r"points: .*got \[2, 2\]"),
        (torch.zeros(2, 3), 0.0, None, "size: .*got 0.0"),
        (torch.zeros(2, 3), -1, None, "size: .*got -1"),
        (torch.zeros(2, 3), math.nan, None, "size: .*got nan"),
        (torch.zeros(2, 3), 1e-60, None, "size: "),
        (torch.zeros(2, 3), "0.25", None, "size: .*'0.25'"),
        (torch.zeros(2, 3), 0.25, torch.tensor([0, 1]), "splits: .*0 to 2.*got .0, 1"),
        (torch.zeros(2, 3), 0.25, torch.tensor([1, 2]), "splits: "),
        (torch.zeros(2, 3), 0.25, torch.tensor([0, 2, 1, 2]), "splits: "),
        (torch.zeros(2, 3), 0.25, torch.tensor([], dtype=torch.int64), "splits: "),
        (torch.zeros(2, 3), 0.25, torch.tensor([0, 2]).int(), "splits: expected int64"),
    ],
)
def test_wrong_arguments_are_named(points, size, splits, message):
    with pytest.raises(ValueError, match=message):
        voxelize(points, size, splits)


@pytest.mark.realdata
def test_real_scans_give_the_partition_of_numpy():
    root = os.environ.get("ANNOTATOR3D_SEMANTICKITTI")
    if not root:
        pytest.skip("ANNOTATOR3D_SEMANTICKITTI is not set")
    files = sorted(Path(root).glob("sequences/*/velodyne/*.bin"))[::10][:4]
    assert files, f"no scans under {root}"
    for file in files:
        points = torch.from_numpy(np.fromfile(file, np.float32).reshape(-1, 4))
        one = torch.tensor([0, len(points)])
        for size in (0.25, 0.05):
            result = reference.voxelize(points, size, one)
            cells = np.floor(points[:, :3].numpy() / np.float32(size)).astype(np.int64)
            unique, first, inverse = np.unique(
                cells, axis=0, return_index=True, return_inverse=True
            )
            order = np.argsort(first)
            rank = np.argsort(order)
            assert np.array_equal(result[0].numpy(), unique[order])
            assert np.array_equal(result[2].numpy(), rank[inverse.ravel()])
            if native.library() is not None:
                assert same(result, native.voxelize(points, size, one))
