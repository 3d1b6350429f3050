"""Which voxels are of a class that moves: their place in the world says nothing of other scans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.scan import IGNORE, VoxelLabels

UNKNOWN_MOTION = "the class list does not say which classes move (moves: true, or a list of names)"


class MovingClasses:
    """The classes of a taxonomy that move.

    Args:
        moves: [C] bool by train id; None: the class list does not say, and none is taken to move.
    """

    def __init__(self, moves: NDArray[np.bool_] | None) -> None:
        self.are_known = moves is not None
        self._moves = np.zeros(IGNORE + 1, bool)
        if moves is not None:
            self._moves[: len(moves)] = moves

    def has_most_of(self, labels: NDArray[np.uint8]) -> bool:
        """Whether most of these points [n] with a class are of one that moves (ties: the lowest
        class counts); False where none has a class."""
        counts = np.bincount(labels[labels != IGNORE], minlength=1)
        return bool(counts.any() and self._moves[counts.argmax()])

    def of_voxels(
        self, classes: NDArray[np.uint8] | None, voxels: Sequence[NDArray[np.int64]]
    ) -> NDArray[np.bool_]:
        """[n] `has_most_of` the predicted classes [N] at the rows of each voxel; False without."""
        if classes is None or not self._moves.any():
            return np.zeros(len(voxels), bool)
        return np.array([self.has_most_of(classes[rows]) for rows in voxels], bool)

    def answered(self, labels: Iterable[tuple[str, VoxelLabels]]) -> set[tuple]:
        """(scan id, cell) of the voxels whose answers say that they are of a class that moves."""
        return {(scan, voxel.cell) for scan, voxel in labels if self.has_most_of(voxel.labels)}
