"""What a query takes: seconds, without idle time above a limit, and clicks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.query_states import QueryStates

IDLE_LIMIT = 30.0  # seconds


class IdleClock:
    """Counts seconds between signs of life; of a pause, only the first `limit` seconds.

    Args:
        limit: longest pause, in seconds, that counts in full. A person who looks at the points
            gives no sign of life, one who went for coffee neither.
        now: monotonic time in seconds.

    Raises ValueError for a limit that is not positive.
    """

    def __init__(
        self, limit: float = IDLE_LIMIT, now: Callable[[], float] = time.monotonic
    ) -> None:
        if not limit > 0:
            raise ValueError(f"the idle limit must be positive, got {limit} s")
        self.limit, self._now = limit, now
        self._last, self._seconds = now(), 0.0

    def touch(self) -> None:
        """Note a sign of life: a key, a click, a move of the mouse."""
        now = self._now()
        self._seconds += min(max(now - self._last, 0.0), self.limit)
        self._last = now

    def take(self) -> float:
        """Seconds that count since the last call; itself a sign of life."""
        self.touch()
        seconds, self._seconds = self._seconds, 0.0
        return seconds


class EffortTracker:
    """Seconds and clicks of each query since it was last responded to, over several visits."""

    def __init__(self, clock: IdleClock) -> None:
        self.clock = clock
        self._current: int | None = None
        self._spent: dict[int, tuple[float, int]] = {}

    def show(self, query_id: int | None, at_least: tuple[float, int] = (0.0, 0)) -> None:
        """From now on the time goes to this query.

        `at_least` is what the ledger knows to have been spent on it, before a restart.
        """
        self._bank()
        self._current = query_id
        if query_id is not None:
            self._spent[query_id] = max(self._spent.get(query_id, (0.0, 0)), at_least)

    def click(self, query_id: int | None = None) -> None:
        """Count a key press, click or stroke, for the query on the screen or another one."""
        self._bank()
        query_id = self._current if query_id is None else query_id
        if query_id is not None:
            seconds, clicks = self._spent.get(query_id, (0.0, 0))
            self._spent[query_id] = (seconds, clicks + 1)

    def so_far(self, query_id: int) -> tuple[float, int]:
        """Seconds and clicks of a query up to now."""
        self._bank()
        return self._spent.get(query_id, (0.0, 0))

    def settle(self, query_id: int) -> None:
        """Begin at 0 again: what was spent is in the ledger."""
        self._bank()
        self._spent.pop(query_id, None)

    def _bank(self) -> None:
        seconds = self.clock.take()
        if self._current is not None:
            before, clicks = self._spent.get(self._current, (0.0, 0))
            self._spent[self._current] = (before + seconds, clicks)


@dataclass(frozen=True)
class Progress:
    """One line for the status bar; all queries of the ledger, whoever answers them."""

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


ENOUGH = 5


class Tally:
    """Counts what stands, kept up to date query by query.

    Args:
        num_classes: C.
        standing: is read whenever a query is counted anew.

    Attributes:
        voxels: [C] answered voxels in which a class occurs.
        points: [C] points of a class.
    """

    def __init__(self, num_classes: int, standing: QueryStates) -> None:
        self.voxels = np.zeros(num_classes, np.int64)
        self.points = np.zeros(num_classes, np.int64)
        self._standing = standing
        self._counted: dict[int, NDArray[np.int64]] = {}  # query -> points of each class

    def update(self, query_ids: Iterable[int]) -> None:
        """Count some queries anew."""
        for query_id in query_ids:
            old = self._counted.pop(query_id, None)
            if old is not None:
                self.points -= old
                self.voxels -= old > 0
            response = self._standing.response(query_id)
            if response is not None and response.answer.kind == "answer":
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
        seconds, settled = self._standing.seconds, self._standing.settled
        mine = len(settled.get(annotator, ()))
        if mine >= ENOUGH:
            return seconds[annotator] / mine
        everybody = len(self._standing.settled_by_anyone)
        return sum(seconds.values()) / everybody if everybody else None
