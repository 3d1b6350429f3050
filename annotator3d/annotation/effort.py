"""The seconds, without long pauses, and the clicks that each query takes."""

from __future__ import annotations

import time
from collections.abc import Callable

IDLE_LIMIT = 30.0  # seconds


class IdleClock:
    """Counts seconds between signs of life; of a pause, only the first `limit` seconds.

    Args:
        limit: longest pause, in seconds, that counts in full. A person who looks at the points
            gives no sign of life; neither does one who went for coffee.
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
