"""Grouping points into voxels: what a voxel holds, in which order, on which path."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path as File

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import FAST, KINDS, PATHS, Path, cloud
from torch import Tensor

from annotator3d.kernels import cpu, reference
from annotator3d.kernels.grouping import group_cells, voxelize

FIELDS = ("cells", "scan", "point_to_voxel", "members", "splits", "scan_splits")


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
    pairs = zip(left, right, strict=True)
    return all(a.dtype == b.dtype and torch.equal(a, b.cpu()) for a, b in pairs)


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


@pytest.mark.parametrize("path", PATHS)
@given(batches())
@settings(max_examples=100, deadline=None)
def test_grouping_equals_dictionaries(path: Path, batch):
    cells, splits = batch
    with path.used():
        found = group_cells(path.put(cell_tensor(cells)), torch.tensor(splits))
    assert {f: getattr(found, f).tolist() for f in FIELDS} == twin(cells, splits)


def astuple(voxels) -> tuple[Tensor, ...]:
    return tuple(getattr(voxels, field) for field in FIELDS)


@pytest.mark.parametrize("path", FAST)
@given(
    st.integers(0, 2**31),
    st.sampled_from([0.05, 0.1, 0.25, 1 / 3]),
    st.sampled_from([1e-3, 1.0, 50.0, 1e6]),
)
@settings(max_examples=60, deadline=None)
def test_points_are_grouped_as_by_the_reference(path: Path, seed, size, spread):
    rng = np.random.default_rng(seed)
    points = rng.normal(0, spread, (rng.integers(0, 700), 4)).astype(np.float32)
    # On the faces of cells, where a division that rounds otherwise shows.
    points[::3] = np.round(points[::3] / np.float32(size)) * np.float32(size)
    splits = torch.tensor(sorted([0, len(points), *rng.integers(0, len(points) + 1, 2)]))
    args = torch.from_numpy(points), size, splits
    expected = reference.voxelize(*args)
    with path.used():
        assert same(expected, astuple(voxelize(*path.put(args))))


@pytest.mark.parametrize("path", FAST)
@given(st.integers(0, 2**31), st.sampled_from(KINDS), st.integers(0, 300))
@settings(max_examples=60, deadline=None)
def test_points_where_rounding_decides_are_grouped_as_by_the_reference(path: Path, seed, kind, n):
    for size in (0.25, 0.05):
        points = cloud(seed, n, kind, size)
        expected = reference.voxelize(points, size, torch.tensor([0, n]))
        with path.used():
            assert same(expected, astuple(voxelize(path.put(points), size)))


@pytest.mark.parametrize("path", FAST)
def test_slices_and_transposed_points_are_read_as_they_are(path):
    wide = torch.randn(3, 500, generator=torch.Generator().manual_seed(0)).mul(3)
    one = torch.tensor([0, 250])
    for points in (wide.t()[::2], wide.t().contiguous()[::2], torch.randn(250, 9)[:, 2:6]):
        with path.used():
            found = astuple(voxelize(path.put(points), 0.3, one))
        assert same(reference.voxelize(points, 0.3, one), found)


@pytest.mark.parametrize("path", PATHS)
def test_cell_is_the_float32_quotient_rounded_down(path):
    rng = random.Random(0)
    values = np.float32([rng.choice([-1, 1]) * rng.randrange(4000) * 0.05 for _ in range(3000)])
    points = torch.from_numpy(values).reshape(-1, 3)
    expected = [[math.floor(q) for q in row] for row in (values / np.float32(0.05)).reshape(-1, 3)]
    with path.used():
        v = voxelize(path.put(points), 0.05)
    assert v.cells[v.point_to_voxel].tolist() == expected


@pytest.mark.parametrize("path", PATHS)
def test_coordinates_up_to_the_last_cell_work(path):
    edge = np.float32(2**31)
    inside = torch.tensor([[np.nextafter(edge, np.float32(0)), -edge, 0.0]])
    with path.used():
        assert voxelize(path.put(inside), 1.0).cells.tolist() == [[2**31 - 128, -(2**31), 0]]


def test_intensity_is_not_a_coordinate():
    points = torch.zeros(5, 4)
    points[:, 3] = math.nan
    assert len(voxelize(points, 0.25)) == 1


@pytest.mark.realdata
def test_real_scans_give_the_partition_of_numpy():
    root = os.environ.get("ANNOTATOR3D_SEMANTICKITTI")
    if not root:
        pytest.skip("ANNOTATOR3D_SEMANTICKITTI is not set")
    files = sorted(File(root).glob("sequences/*/velodyne/*.bin"))[::10][:4]
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
            if cpu.library() is not None:
                assert same(result, cpu.voxelize(points, size, one))
