"""The answered voxels around the one on the screen, and what can be accepted because of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.nearby import NearbyVoxel, VoxelIndex
from annotator3d.annotation.proposals import (
    Proposal,
    propose_from_neighbours,
    propose_from_prediction,
)
from annotator3d.annotation.state import SessionState
from annotator3d.data.scan_source import Pose
from annotator3d.ledger.ledger import Query

NEARBY = 5.0  # metres
_NEAR_SCANS = 8
_SAME_PLACE = 0.87  # voxel edges: the centre of the voxel that a point lies in is no further away


class Neighbourhood:
    """What is known around a query, in its scan and in the other scans of the drive.

    Args:
        pose: scan id -> pose, or None.

    Raises ConfigError for an unknown class among the options' movable ones.
    """

    def __init__(self, state: SessionState, pose: Callable[[str], Pose | None]) -> None:
        self._state, self._pose = state, pose
        self._same_place = _SAME_PLACE * state.ledger.voxel_size  # metres
        self._movable = state.options.movable_ids(state.class_names)
        self._index: VoxelIndex | None = None

    def forget(self) -> None:
        """Find the voxels again, after queries were added or released."""
        self._index = None

    def answered(self, query: Query, radius: float = NEARBY) -> list[NearbyVoxel]:
        """Answered queries within `radius` metres of one, the nearest first.

        A person who is asked for an independent opinion does not get those at the same place.
        """
        states = self._state.states
        if self._index is None:
            self._index = VoxelIndex(states.queries, self._pose, self._state.ledger.voxel_size)
        found = [
            near
            for near in self._index.near(query, radius)
            if near.query in states.queries and states.state(near.query) == "answered"
        ]
        if states.is_blind(query.id):
            return [near for near in found if near.distance > self._same_place]
        return found

    def drawn_with(self, query: Query) -> list[Query]:
        """The answered queries whose points are shown with one: those of the nearest scans only.

        So a query opens at once.
        """
        near = [self._state.states.queries[n.query] for n in self.answered(query)]
        scans = list(dict.fromkeys(other.scan for other in near))[:_NEAR_SCANS]
        return [other for other in near if other.scan in scans]

    def points(self) -> list[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
        """Points [n, 3], metres, frame of the shown scan, and labels [n] of each of `drawn_with`.

        Scans that cannot be read are left out.
        """
        view = self._state.shown()
        found: list[tuple[NDArray[np.float32], NDArray[np.uint8]]] = []
        for query in self.drawn_with(view.query):
            xyz = self._state.views.seen_from(view, query)
            if xyz is not None:
                found.append((xyz, self._state.states.labels(query.id)))
        return found

    def proposals(self) -> list[Proposal]:
        """What can be accepted for the shown query, the best first; none once it was begun."""
        view = self._state.view
        if view is None or self._state.states.top(view.query.id) is not None:
            return []
        offer = self._state.options.offer
        found = [self._from_same_place(), propose_from_prediction(view.predicted, offer)]
        return [proposal for proposal in found if proposal is not None]

    def _from_same_place(self) -> Proposal | None:
        view = self._state.shown()
        if not self._state.options.same_place or view.pose is None:
            return None
        answers = [
            (near.query, self._state.states.labels(near.query))
            for near in self.answered(view.query, self._same_place)
        ]
        return propose_from_neighbours(len(view.rows), answers, self._movable)
