"""The parts of the voxel on the screen, which take their classes one after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.ledger.records import UNASSIGNED


class VoxelParts:
    """The points of a voxel in parts that are labelled one after the other.

    While some points have no label, only these are split, so that a class never goes to points
    that have one; otherwise all points are split.

    Args:
        labels: [n] the current ones, 254 = not labelled yet.
        parts: [n] part of each point, as `splitting` gives them; None: one part.
        method: how they were made, for the screen.
    """

    def __init__(
        self,
        labels: NDArray[np.uint8],
        parts: NDArray[np.int16] | None = None,
        method: str = "whole",
    ) -> None:
        self.method = method
        todo = todo_points(labels)
        given = np.zeros(len(labels), np.int16) if parts is None else parts
        found, dense = np.unique(given[todo], return_inverse=True)
        self.numbers = np.full(len(labels), -1, np.int16)
        """[n] part of each point; -1: done, not to be touched."""
        self.numbers[todo] = dense.reshape(-1)
        self.count = len(found)
        self.current = 0
        self._left = set(range(self.count))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """[n] the points that the next class goes to."""
        return self.numbers == self.current

    @property
    def is_last(self) -> bool:
        """Whether every other part has had its class."""
        return self._left <= {self.current}

    @property
    def untouched(self) -> bool:
        """Whether no part has had its class yet."""
        return len(self._left) == self.count

    def step(self, by: int) -> None:
        """Choose the part that comes `by` places later."""
        self.current = (self.current + by) % max(self.count, 1)

    def labelled(self) -> None:
        """Go on to the next part that has not had its class."""
        self._left.discard(self.current)
        later = [part for part in sorted(self._left) if part > self.current]
        self.current = next(iter(later), min(self._left, default=self.current))


def todo_points(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[n] the points that have no label yet; all if all have one."""
    open_ = labels == UNASSIGNED
    return open_ if open_.any() else np.ones(len(labels), bool)
