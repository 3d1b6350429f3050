"""The state of every query, computed from the ledger's events.

A session keeps no labels of its own: it appends to the ledger, reads the events after the last one
that it knows (its own and other people's) and feeds them to `QueryStates`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from annotator3d.ledger.bounds import moment_of
from annotator3d.ledger.lineage import EventView, undone_of, view_of
from annotator3d.ledger.records import IGNORE, UNASSIGNED, Event, Lease, Query
from annotator3d.ledger.resolution import Outcome, outcome, visible_and_parent
from annotator3d.ledger.schema import EventKind

STATES = ("open", "answered", "skipped", "unsure", "disputed")
"""Answered: its points have labels, or no class fits. Disputed: people have labelled it
differently, and nobody has decided."""
_STATE_OF_KIND = {
    EventKind.ANSWER: "answered",
    EventKind.IGNORE: "answered",
    EventKind.SKIP: "skipped",
    EventKind.UNSURE: "unsure",
}


class _Computed(NamedTuple):
    outcome: Outcome
    visible: int | None  # both: see `resolution.visible_and_parent`
    parent: int | None


class QueryStates:
    """The state of each query as one person sees it; `feed` it all events, by id.

    Args:
        annotator: the person. To somebody who is asked for an independent opinion a query is open,
            and other people's answers to it are hidden.

    Attributes:
        queries: id -> query, the released ones left out.
        by_scan: scan id -> ids of its queries.
        last_event: id of the newest event that was fed.
        seconds: annotator -> the time of all responses.
        settled: annotator -> the queries responded to; settled_by_anyone: their union.
    """

    def __init__(self, annotator: str = "") -> None:
        self.annotator = annotator
        self.queries: dict[int, Query] = {}
        self.by_scan: dict[str, set[int]] = defaultdict(set)
        self.last_event = 0
        self.seconds: dict[str, float] = defaultdict(float)
        self.settled: dict[str, set[int]] = defaultdict(set)
        self.settled_by_anyone: set[int] = set()
        self._events: dict[int, dict[int, Event]] = defaultdict(dict)  # query -> id -> event
        self._history: dict[int, list[EventView]] = defaultdict(list)
        self._computed: dict[int, _Computed] = {}  # computed since the query last changed
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
        if kind.decides:
            self._events[query][event.id] = event
            self._history[query].append(view_of(event))
            self._computed.pop(query, None)
        if kind.settles:
            self.seconds[answer.annotator] += answer.seconds or 0.0
            self.settled[answer.annotator].add(query)
            self.settled_by_anyone.add(query)
            self._effort.pop(query, None)
        if kind.ends_lease:
            lease = self._leases.get(query)
            if lease is not None and lease.annotator == answer.annotator:
                del self._leases[query]
        elif kind is EventKind.DRAFT:
            self._effort[query] = (answer.seconds or 0.0, answer.clicks or 0)
        elif kind is EventKind.NOTE:
            self._notes[query].append(event)
        elif kind is EventKind.LEASE:
            since = moment_of(event.created_at)
            until = since + (answer.seconds or 0.0)
            self._leases[query] = Lease(answer.annotator, until, answer.note, since)
        elif kind is EventKind.RELEASE:
            released = self.queries.pop(query, None)
            if released is not None:
                self.by_scan[released.scan].discard(query)

    def outcome(self, query_id: int) -> Outcome:
        """The outcome of a query for everybody."""
        return self._state(query_id).outcome

    def event(self, query_id: int, event_id: int) -> Event:
        """An event that takes part in the outcome of a query."""
        return self._events[query_id][event_id]

    def top(self, query_id: int) -> Event | None:
        """The newest response or draft that is not undone, of those that the annotator sees."""
        newest = self._state(query_id).visible
        return None if newest is None else self._events[query_id][newest]

    def visible_and_parent(self, query_id: int) -> tuple[int | None, int | None]:
        """(id of `top`, what the annotator's next response supersedes)."""
        state = self._state(query_id)
        return state.visible, state.parent

    def response(self, query_id: int) -> Event | None:
        """The effective response, as `Ledger.current`; a draft does not settle a query.

        None while the annotator is asked for an independent opinion.
        """
        effective = self.outcome(query_id).effective
        if effective is None or self.is_blind(query_id):
            return None
        return self._events[query_id][effective.id]

    def is_review_active(self, query_id: int, event_id: int) -> bool:
        """Whether a review was not undone, and what it approves not replaced since."""
        if event_id in undone_of(self._history[query_id]):
            return False
        is_reject = self._events[query_id][event_id].answer.kind is EventKind.REJECT
        return is_reject or bool(self.outcome(query_id).approved)

    def is_blind(self, query_id: int) -> bool:
        """Whether the annotator is asked for an independent opinion."""
        asked = self.outcome(query_id).asks(self.annotator)
        return asked is not None and asked.ask.is_independent

    def state(self, query_id: int) -> str:
        """One of `STATES`."""
        outcome = self.outcome(query_id)
        if outcome.is_open_for(self.annotator):
            return "open"
        return "disputed" if outcome.effective is None else _STATE_OF_KIND[outcome.effective.kind]

    def labels(self, query_id: int) -> NDArray[np.uint8]:
        """[n] the current label of each point that is asked about; 254 = not labelled yet.

        Drafts are included. A person who has skipped a query sees the answer of somebody else.
        """
        top = self.top(query_id)
        if top is not None and top.answer.kind in (EventKind.SKIP, EventKind.UNSURE):
            top = self.response(query_id)
        fill = IGNORE if top is not None and top.answer.kind is EventKind.IGNORE else UNASSIGNED
        if top is None or top.answer.labels is None:
            return np.full(self.queries[query_id].num_labels, fill, np.uint8)
        return top.answer.labels

    def _state(self, query_id: int) -> _Computed:
        found = self._computed.get(query_id)
        if found is None:
            history = self._history.get(query_id, ())
            result = outcome(history)
            found = _Computed(result, *visible_and_parent(history, result, self.annotator))
            self._computed[query_id] = found
        return found

    def notes(self, query_id: int) -> list[Event]:
        """Notes on a query, oldest first."""
        return list(self._notes.get(query_id, ()))

    def lease(self, query_id: int, now: float) -> Lease | None:
        """Who holds a query at a moment (seconds since the epoch)."""
        lease = self._leases.get(query_id)
        return lease if lease is not None and lease.until > now else None

    def leases(self, now: float) -> dict[int, Lease]:
        """Query -> the hold on it at a moment."""
        held = ((query, lease) for query, lease in self._leases.items() if lease.until > now)
        return {query: lease for query, lease in held if query in self.queries}

    def effort(self, query_id: int) -> tuple[float, int]:
        """Seconds and clicks that drafts of a query have taken since its last response."""
        return self._effort.get(query_id, (0.0, 0))
