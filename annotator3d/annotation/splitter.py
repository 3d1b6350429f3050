"""Splitting the voxel on the screen, so that its parts take different classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annotator3d.annotation import splitting
from annotator3d.annotation.mode import LabelMode
from annotator3d.annotation.parts import VoxelParts, todo_points
from annotator3d.annotation.state import SessionState
from annotator3d.errors import nearest

METHODS = ("prediction", "height", "clusters")


class Splitter:
    """Makes the parts of the shown voxel; see `session.LabelSession`."""

    def __init__(self, state: SessionState, mode: LabelMode) -> None:
        self._state, self._mode = state, mode

    def split(
        self, method: str, at: float | None, count: int | None, distance: float | None
    ) -> None:
        """Split the points without a label (all, if each has one), the largest part first."""
        view, labels = self._state.shown(), self._mode.labels()
        todo = todo_points(labels)
        xyz = view.xyz[todo]
        if method == "prediction":
            if view.predicted is None:
                blind = self._state.options.blind
                why = "predictions are hidden (blind)" if blind else "none is stored"
                raise ValueError(f"the voxel cannot be split by prediction: {why}")
            numbers = splitting.by_class(view.predicted[todo])
        elif method == "height":
            at = splitting.best_height(xyz[:, 2]) if at is None else at
            numbers = splitting.by_height(xyz[:, 2], at)
        elif method == "clusters" and distance is not None:
            numbers = splitting.by_distance(xyz, distance)
        elif method == "clusters":
            numbers = splitting.by_count(xyz, count or self._next_count())
        else:
            raise ValueError(f"unknown way to split {method!r}: {nearest(method, METHODS)}")
        self._set_parts(labels, todo, numbers, method)

    def paint(self, mask: ArrayLike, erase: bool) -> None:
        """Pick points of the voxel, or with `erase` unpick them, as its first part."""
        labels, parts = self._mode.labels(), self._state.parts
        picked = np.asarray(mask, bool)
        if picked.shape != labels.shape:
            raise ValueError(f"a mask [{len(labels)}] was expected, got {picked.shape}")
        if parts.method == "brush" and parts.untouched:
            before = parts.numbers == 0
            picked = before & ~picked if erase else before | picked
        elif erase:
            raise ValueError("there are no picked points to erase")
        todo = todo_points(labels)
        if (picked & todo).any():
            self._set_parts(labels, todo, splitting.by_mask(picked[todo]), "brush")
        else:
            self.whole()

    def whole(self) -> None:
        """Make the voxel one part again."""
        self._state.effort.click()
        self._mode.reset_parts()

    def step(self, by: int) -> None:
        """Choose the part that comes `by` places later."""
        self._state.effort.click()
        self._state.parts.step(by)

    def _next_count(self) -> int:
        """Clusters for a key press: 2; one more each time, until a part has its class."""
        parts = self._state.parts
        return parts.count + 1 if parts.method == "clusters" and parts.untouched else 2

    def _set_parts(
        self,
        labels: NDArray[np.uint8],
        todo: NDArray[np.bool_],
        numbers: NDArray[np.int16],
        method: str,
    ) -> None:
        self._state.effort.click()
        all_numbers = np.zeros(len(todo), np.int16)
        all_numbers[todo] = numbers
        self._state.parts = VoxelParts(labels, all_numbers, method)
