"""Where points lie in the world, and which of them share a cell of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Cells = NDArray[np.int64]


def to_world(xyz: NDArray, matrix: NDArray[np.float64]) -> Points:
    """Points [N, 3] by a pose [4, 4], in float64.

    Each sum is written out: the bits of a matrix product depend on its number of rows.
    """
    x, y, z = np.asarray(xyz, np.float64).T
    rows = [m[0] * x + m[1] * y + m[2] * z + m[3] for m in matrix[:3]]
    return np.column_stack(rows)


def inverse_of(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """World -> sensor of a rigid pose [4, 4], from its transpose."""
    inverse, (x, y, z) = np.eye(4), matrix[:3, 3]
    for i, (a, b, c) in enumerate(matrix[:3, :3].T):
        inverse[i] = a, b, c, -(a * x + b * y + c * z)
    return inverse


def cells_of(world: Points, size: float) -> Cells:
    """[N, 3] the cell of each point [N, 3]: floor(xyz / size)."""
    return np.floor(world / size).astype(np.int64)


def numbered(cells: Cells, others: Cells) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Numbers of the distinct `cells` [n, 3], and those of `others` [m, 3] among them.

    Returns:
        (number [n] of each cell from 0, number [m] of each other cell or -1, how many there are).
        Cells are compared in full.
    """
    if not len(cells):
        return np.zeros(0, np.int64), np.full(len(others), -1), 0
    low, high = cells.min(0), cells.max(0)
    size = high - low + 1
    assert size.astype(np.float64).prod() < 2.0**62, "votes of one reach span too many cells"
    known, number = np.unique(np.ravel_multi_index((cells - low).T, size), return_inverse=True)
    found = np.full(len(others), -1, np.int64)
    inside = (others >= low) & (others <= high)
    near = np.flatnonzero(inside[:, 0] & inside[:, 1] & inside[:, 2])  # all(1) takes much longer
    keys = np.ravel_multi_index((others[near] - low).T, size)
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    same = known[at] == keys
    found[near[same]] = at[same]
    return number.reshape(-1), found, len(known)
