"""What a scan sees through: places that its beams passed on their way to something behind.

An image of the sphere around the sensor holds the nearest range in each direction. Its directions
are exact on every machine: they come from divisions and square roots, not from angles.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

COLUMNS = 720  # about half a degree each
ROW = 0.01  # of the slope of a direction: about half a degree where it is level
SECTORS, ENOUGH = 12, 20  # of a turn, and places that say something of a sector
STEEPEST = 4.0  # slopes beyond share the last row: 76 degrees up or down


class Sight:
    """The nearest range of a scan in each direction.

    Args:
        xyz: [N, 3] its points, sensor frame.
    """

    def __init__(self, xyz: NDArray) -> None:
        rows, columns, ranges = _directions(xyz)
        self._first = int(rows.min(initial=0))
        height = int(rows.max(initial=0)) - self._first + 1
        nearest = np.full((height, COLUMNS), np.inf, np.float32)
        np.minimum.at(nearest, (rows - self._first, columns), ranges.astype(np.float32))
        self._nearest = _least_around(nearest)

    def sees_through(self, xyz: NDArray, metres: float) -> NDArray[np.bool_]:
        """Whether all that the scan sees around the direction of each place [n, 3] (sensor frame)
        is more than `metres` behind it. False where the scan sees nothing around."""
        seen, ranges = self._around(xyz)
        return np.isfinite(seen) & (seen > ranges + metres)

    def share_seen_through(self, xyz: NDArray, metres: float) -> float:
        """The part of these places that the scan sees through, of those where it sees anything
        around: the median over the sectors that hold enough of them, NaN where none does.

        Poses that are wrong make a scan see through much that is there, on all sides; something
        that drives by does so in a few sectors.
        """
        seen, ranges = self._around(xyz)
        there = np.isfinite(seen)
        sectors = _directions(xyz)[1][there] * SECTORS // COLUMNS
        places = np.bincount(sectors, minlength=SECTORS)
        through = np.bincount(sectors, (seen > ranges + metres)[there], SECTORS)
        enough = places >= ENOUGH
        return float(np.median(through[enough] / places[enough])) if enough.any() else math.nan

    def _around(self, xyz: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """The nearest range [n] around the direction of each place, inf: nothing; its range."""
        rows, columns, ranges = _directions(xyz)
        rows = rows - self._first
        inside = (rows >= 0) & (rows < len(self._nearest))
        seen = self._nearest[np.where(inside, rows, 0), columns]
        return np.where(inside, seen, np.float32(np.inf)), ranges


def _directions(xyz: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Row, column and range [n] of each place [n, 3]."""
    x, y, z = np.asarray(xyz, np.float64).T
    flat = np.sqrt(x * x + y * y)
    sides = np.maximum(np.abs(x) + np.abs(y), 1e-9)
    turn = np.where(x >= 0, np.where(y >= 0, y / sides, 4 + y / sides), 2 - y / sides)  # 0..4
    columns = np.minimum((turn * (COLUMNS / 4)).astype(np.int64), COLUMNS - 1)
    slope = np.clip(z / np.maximum(flat, 1e-9), -STEEPEST, STEEPEST)
    return np.floor(slope / ROW).astype(np.int64), columns, np.sqrt(flat * flat + z * z)


def _least_around(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The least of the 3 x 3 pixels around each; columns go around."""
    wide = np.minimum(np.minimum(image, np.roll(image, 1, 1)), np.roll(image, -1, 1))
    least = wide.copy()
    least[1:] = np.minimum(least[1:], wide[:-1])
    least[:-1] = np.minimum(least[:-1], wide[1:])
    return least
