"""What voxels look like: a slow twin point by point, known shapes, and any order of the points."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
import torch

from annotator3d.active.descriptors import Descriptors, describe_voxels, ground_heights
from annotator3d.kernels.grouping import voxelize


def described(xyz, size=0.5, intensity=None) -> dict[tuple, Descriptors]:
    """Cell -> descriptors, as numbers."""
    points = torch.from_numpy(np.asarray(xyz, np.float32))
    voxels = voxelize(points, size)
    bright = None if intensity is None else torch.from_numpy(np.float32(intensity))
    rows = np.array(describe_voxels(points, voxels, size, bright)).T.tolist()
    return {tuple(c): Descriptors(*row) for c, row in zip(voxels.cells.tolist(), rows, strict=True)}


def street(seed: int, points: int = 900):
    """Ground with a slope, a wall, a pole and things in the air: xyz, intensity."""
    random = np.random.default_rng(seed)
    ground = random.uniform([-9, -9, 0], [9, 9, 0.03], (points, 3))
    ground[:, 2] += 0.02 * ground[:, 0] - 1.7
    wall = random.uniform([-9, 5, -1.7], [9, 5.02, 2], (points // 3, 3))
    pole = random.uniform([2, 2, -1.7], [2.02, 2.02, 1], (40, 3))
    air = random.uniform([-9, -9, -1], [9, 9, 4], (60, 3))
    xyz = np.concatenate([ground, wall, pole, air, [[40, 40, 3.0]]]).astype(np.float32)
    return xyz, random.random(len(xyz), np.float32)


def slow_ground(xyz) -> list[float]:
    lowest: dict = {}
    for x, y, z in xyz.tolist():
        column = math.floor(x / 2), math.floor(y / 2)
        lowest[column] = min(z, lowest.get(column, math.inf))
    heights = []
    for x, y, _ in xyz.tolist():
        i, j = math.floor(x / 2), math.floor(y / 2)
        near = [(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        there = sorted(lowest[column] for column in near if column in lowest)
        heights.append(there[len(there) // 4])
    return heights


def slow_descriptors(xyz, size, intensity) -> dict[tuple, Descriptors]:
    inside, ground = defaultdict(list), slow_ground(xyz)
    for i, cell in enumerate(np.floor(xyz / np.float32(size)).astype(int).tolist()):
        inside[tuple(cell)].append(i)
    found = {}
    for cell, own in inside.items():
        near = [
            i
            for other, rows in inside.items()
            if max(abs(a - b) for a, b in zip(cell, other, strict=True)) <= 1
            for i in rows
        ]
        points = xyz[near].astype(np.float64)
        values, vectors = np.linalg.eigh(
            np.cov(points.T, bias=True) if len(near) > 1 else 0 * np.eye(3)
        )
        small, middle, large = np.sqrt(np.maximum(values, 0))
        shape = (0.0, 0.0, 0.0, 0.0)
        if large > 0.001:
            main = sum(d * abs(v) for d, v in zip((small, middle, large), vectors.T, strict=True))
            vertical = main[2] / np.linalg.norm(main)
            shape = (large - middle) / large, (middle - small) / large, small / large, vertical
        found[cell] = Descriptors(
            np.mean(xyz[own, 2].astype(np.float64)) - min(ground[i] for i in own),
            math.hypot((cell[0] + 0.5) * size, (cell[1] + 0.5) * size),
            *shape,
            math.log2(len(near)),
            np.mean(intensity[own].astype(np.float64)),
        )
    return found


@pytest.mark.parametrize("size", [0.25, 0.5, 2.0])
def test_the_descriptors_are_those_of_a_slow_twin(size):
    xyz, intensity = street(0)
    fast, slow = described(xyz, size, intensity), slow_descriptors(xyz, size, intensity)
    assert fast.keys() == slow.keys()
    for cell, expected in slow.items():
        # coordinates are rounded to a millimetre, which shows where few points are about a voxel
        for name, value, wanted in zip(Descriptors._fields, fast[cell], expected, strict=True):
            assert value == pytest.approx(wanted, abs=0.02), (cell, name)


def test_the_order_of_the_points_changes_no_bit():
    xyz, intensity = street(1)
    order = np.random.default_rng(0).permutation(len(xyz))
    assert described(xyz, 0.5, intensity) == described(xyz[order], 0.5, intensity[order])


def test_ground_wall_and_pole_are_told_apart():
    grid = np.arange(-3, 3, 0.05)
    ground = np.array([(x, y, -1.75) for x in grid for y in grid])
    wall = np.array([(x, 2.3, z) for x in grid for z in np.arange(-1.75, 3, 0.05)])
    pole = np.array([(-1.6, -1.6, z) for z in np.arange(-1.75, 3, 0.02)])
    found = described(np.concatenate([ground, wall, pole]), 0.5)
    road, side, post = found[0, 0, -4], found[0, 4, 2], found[-4, -4, 2]
    assert road.planarity > 0.95 and road.verticality < 0.05 and abs(road.height) < 1e-6
    assert side.planarity > 0.9 and side.verticality == pytest.approx(0.7, abs=0.05)
    assert post.linearity > 0.99 and post.verticality > 0.99
    assert post.height == pytest.approx(1.25 + 1.75, abs=0.02)
    assert road.range == pytest.approx(math.hypot(0.25, 0.25))


def test_a_reflection_below_the_ground_does_not_move_it():
    grid = np.arange(-6, 6, 0.5)
    ground = np.array([(x, y, -1.75) for x in grid for y in grid] + [(0.1, 0.1, -9.0)], np.float32)
    assert set(ground_heights(torch.from_numpy(ground)).tolist()) == {-1.75}


def test_a_lone_point_and_no_point_are_described():
    lone = described([[1.0, 1.0, -1.0]])[2, 2, -2]
    assert lone == Descriptors(0.0, math.hypot(1.25, 1.25), 0, 0, 0, 0, 0, 0)
    assert described(np.zeros((0, 3))) == {}
