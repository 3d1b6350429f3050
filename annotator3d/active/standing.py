"""Where every query stands: the fold of the ledger's events that a labelling session lives on.

A session never keeps a label of its own: it appends to the ledger, reads what came after the last
event that it knows (its own and other people's) and feeds it to `Standing`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.records import IGNORE, UNASSIGNED, Event, Query
from annotator3d.active.schema import RESPONSES

STATES = ("open", "answered", "skipped", "unsure")
"""A query is answered when its points have labels, "no class fits" included."""
_STATE = {"answer": "answered", "ignore": "answered", "skip": "skipped", "unsure": "unsure"}


@dataclass(frozen=True)
class Lease:
    """Who answers a query at the moment."""

    annotator: str
    until: float  # seconds since the epoch


class Standing:
    """What stands for each query; `feed` it all events in the order of their ids.

    Attributes:
        queries: id -> query, the released ones left out.
        by_scan: scan id -> ids of its queries.
        last_event: id of the newest event that was fed.
        seconds: annotator -> the time of all responses.
        settled: annotator -> the queries responded to; settled_by_anyone: their union.
    """

    def __init__(self) -> None:
        self.queries: dict[int, Query] = {}
        self.by_scan: dict[str, set[int]] = defaultdict(set)
        self.last_event = 0
        self.seconds: dict[str, float] = defaultdict(float)
        self.settled: dict[str, set[int]] = defaultdict(set)
        self.settled_by_anyone: set[int] = set()
        self._stack: dict[int, list[Event]] = defaultdict(list)  # not undone, oldest first
        self._response: dict[int, Event] = {}  # the newest one of the stack
        self._notes: dict[int, list[Event]] = defaultdict(list)
        self._leases: dict[int, Lease] = {}
        self._effort: dict[int, tuple[float, int]] = {}

    def add(self, queries: Iterable[Query]) -> None:
        """Make queries known."""
        for query in queries:
            self.queries[query.id] = query
            self.by_scan[query.scan].add(query.id)

    def feed(self, events: Sequence[Event]) -> set[int]:
        """Take in events; returns the queries that they are about."""
        for event in events:
            self._feed(event)
        return {event.query for event in events}

    def _feed(self, event: Event) -> None:
        query, answer, kind = event.query, event.answer, event.answer.kind
        self.last_event = event.id
        if kind in RESPONSES:
            self._stack[query].append(event)
            self._response[query] = event
            self.seconds[answer.annotator] += answer.seconds or 0.0
            self.settled[answer.annotator].add(query)
            self.settled_by_anyone.add(query)
            self._effort.pop(query, None)
            if (lease := self._leases.get(query)) and lease.annotator == answer.annotator:
                del self._leases[query]
        elif kind == "draft":
            self._stack[query].append(event)
            self._effort[query] = (answer.seconds or 0.0, answer.clicks or 0)
        elif kind == "undo":
            stack = [e for e in self._stack[query] if e.id != event.supersedes]
            self._stack[query] = stack
            self._response.pop(query, None)
            self._response.update((query, e) for e in stack if e.answer.kind in RESPONSES)
        elif kind == "note":
            self._notes[query].append(event)
        elif kind == "lease":
            until = _seconds(event.created_at) + (answer.seconds or 0.0)
            self._leases[query] = Lease(answer.annotator, until)
        elif kind == "release":
            released = self.queries.pop(query, None)
            if released is not None:
                self.by_scan[released.scan].discard(query)

    def top(self, query_id: int) -> Event | None:
        """The newest response or draft that is not undone."""
        stack = self._stack.get(query_id)
        return stack[-1] if stack else None

    def response(self, query_id: int) -> Event | None:
        """The response in force, as `Ledger.current`; a draft does not settle a query."""
        return self._response.get(query_id)

    def state(self, query_id: int) -> str:
        """One of `STATES`."""
        response = self._response.get(query_id)
        return "open" if response is None else _STATE[response.answer.kind]

    def labels(self, query_id: int) -> NDArray[np.uint8]:
        """[n] what each point is labelled at the moment, draft included; 254 = not yet."""
        top = self.top(query_id)
        fill = IGNORE if top is not None and top.answer.kind == "ignore" else UNASSIGNED
        if top is None or top.answer.labels is None:
            return np.full(self.queries[query_id].num_points, fill, np.uint8)
        return top.answer.labels

    def notes(self, query_id: int) -> list[Event]:
        """Remarks on a query, oldest first."""
        return list(self._notes.get(query_id, ()))

    def lease(self, query_id: int, now: float) -> Lease | None:
        """Who holds a query at a moment (seconds since the epoch)."""
        lease = self._leases.get(query_id)
        return lease if lease is not None and lease.until > now else None

    def effort(self, query_id: int) -> tuple[float, int]:
        """Seconds and clicks that drafts of a query have taken since its last response."""
        return self._effort.get(query_id, (0.0, 0))


def _seconds(created_at: str) -> float:
    return datetime.fromisoformat(created_at.replace("Z", "+00:00")).timestamp()
