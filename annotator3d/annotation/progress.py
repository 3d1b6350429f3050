"""How far the queries of a ledger have come, and what was answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.query_states import QueryStates
from annotator3d.ledger.schema import EventKind

ENOUGH = 5  # responses of a person by which to judge their pace


@dataclass(frozen=True)
class Progress:
    """One line for the status bar; all queries of the ledger, no matter who answers them."""

    total: int  # voxels asked and not released
    settled: int  # with a response
    open: int
    answered: int
    skipped: int
    unsure: int
    disputed: int  # answered differently, and nobody has decided
    set_aside: int  # open, but their scan cannot be shown
    seconds_per_answer: float | None  # own if there are at least `ENOUGH`, else of all people
    seconds_left: float | None  # for the open voxels, at that pace, one person


class Tally:
    """Counts answers by class, kept up to date query by query.

    Args:
        num_classes: C.
        states: is read whenever a query is counted again.

    Attributes:
        voxels: [C] answered voxels in which a class occurs.
        points: [C] points of a class.
    """

    def __init__(self, num_classes: int, states: QueryStates) -> None:
        self.voxels = np.zeros(num_classes, np.int64)
        self.points = np.zeros(num_classes, np.int64)
        self._states = states
        self._counted: dict[int, NDArray[np.int64]] = {}  # query -> points of each class

    def update(self, query_ids: Iterable[int]) -> None:
        """Count some queries again."""
        for query_id in query_ids:
            old = self._counted.pop(query_id, None)
            if old is not None:
                self.points -= old
                self.voxels -= old > 0
            response = self._states.response(query_id)
            if response is not None and response.answer.kind is EventKind.ANSWER:
                labels = response.answer.labels
                classes = len(self.points)  # neither 255 nor, after a split, 254
                new = np.bincount(labels[labels < classes], minlength=classes)
                self._counted[query_id] = new
                self.points += new
                self.voxels += new > 0

    def pace(self, annotator: str) -> float | None:
        """Seconds per settled query, all corrections and second looks included; None without any.

        That of the annotator if there is enough to judge by, else that of everybody together.
        """
        seconds, settled = self._states.seconds, self._states.settled
        mine = len(settled.get(annotator, ()))
        if mine >= ENOUGH:
            return seconds[annotator] / mine
        everybody = len(self._states.settled_by_anyone)
        return sum(seconds.values()) / everybody if everybody else None
