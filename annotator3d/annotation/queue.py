"""The order in which a person sees the queries, and which of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.query_states import STATES, QueryStates
from annotator3d.errors import ConfigError, nearest
from annotator3d.ledger.records import IGNORE, Query

ORDERS: dict[str, Callable[[Query], Any]] = {
    "scan": lambda q: (q.scan, -q.score, q.id),  # as few changes of the picture as possible
    "score": lambda q: (-q.score, q.scan, q.id),  # the most useful first, if time may run out
    "round": lambda q: (q.round, q.scan, -q.score, q.id),
    "points": lambda q: (-q.num_labels, q.scan, q.id),  # most labels per answer first
    "random": lambda q: _hash(q),  # a fair sample at any moment
}
_CODES = {state: code for code, state in enumerate(STATES)}


@dataclass(frozen=True)
class Filter:
    """Which queries are gone through; None lets all pass.

    `states` are of `query_states.STATES`; `classes` are train ids of which the answer has at least
    one (255: no class), so that only answered queries pass. `match` is asked about a query whenever
    something has happened to it.

    Raises ConfigError for an unknown state.
    """

    states: tuple[str, ...] | None = ("open",)
    scans: Container[str] | None = None
    rounds: Container[int] | None = None
    classes: Collection[int] | None = None
    match: Callable[[int], bool] | None = None

    def __post_init__(self) -> None:
        for state in self.states or ():
            if state not in STATES:
                raise ConfigError(f"unknown state {state!r}: {nearest(state, STATES)}")


class Queue:
    """All queries in one order, gone through by a filter.

    Args:
        states: the queries and their states.
        order: a key of `ORDERS`.

    Raises ConfigError for an unknown order.
    """

    def __init__(self, states: QueryStates, order: str = "scan") -> None:
        self.filter, self._states = Filter(), states
        self.ids: list[int] = []
        self._place: dict[int, int] = {}
        self._codes = np.zeros(0, np.uint8)
        self._classes = np.zeros((0, IGNORE + 1), bool)  # that the answer has
        self._fixed = np.zeros(0, bool)
        self._matches = np.zeros(0, bool)
        self.set_order(order)

    def set_order(self, order: str) -> None:
        """Go through the queries in another order. Raises ConfigError for an unknown one."""
        if order not in ORDERS:
            raise ConfigError(f"unknown order {order!r}: {nearest(order, ORDERS)}")
        self.order = order
        self.build()

    def build(self) -> None:
        """Order again, after queries were added or released."""
        old, codes, classes = self._place, self._codes, self._classes
        queries = sorted(self._states.queries.values(), key=ORDERS[self.order])
        self.ids = [query.id for query in queries]
        self._place = {query_id: place for place, query_id in enumerate(self.ids)}
        self._codes = np.zeros(len(self.ids), np.uint8)
        self._classes = np.zeros((len(self.ids), IGNORE + 1), bool)
        self._fixed = np.ones(len(self.ids), bool)
        self._matches = np.ones(len(self.ids), bool)
        known = [query_id for query_id in self.ids if query_id in old]
        before, now = [old[i] for i in known], [self._place[i] for i in known]
        self._codes[now], self._classes[now] = codes[before], classes[before]
        self.update(query_id for query_id in self.ids if query_id not in old)
        self.set_filter(self.filter)

    def update(self, query_ids: Iterable[int]) -> None:
        """Read the states of some queries again."""
        match = self.filter.match
        for query_id in query_ids:
            place = self._place.get(query_id)
            if place is not None:
                self._matches[place] = match is None or match(query_id)
                self._codes[place] = _CODES[self._states.state(query_id)]
                self._classes[place] = False
                response = self._states.response(query_id)
                if response is not None and response.answer.kind.gives_classes:
                    labels = response.answer.labels
                    self._classes[place, IGNORE if labels is None else labels] = True

    def set_filter(self, filter: Filter) -> None:
        """Go through other queries from now on."""
        self.filter, queries = filter, self._states.queries
        for place, query_id in enumerate(self.ids):
            query = queries[query_id]
            self._fixed[place] = (filter.scans is None or query.scan in filter.scans) and (
                filter.rounds is None or query.round in filter.rounds
            )
            self._matches[place] = filter.match is None or filter.match(query_id)

    def matching(self) -> list[int]:
        """Ids of the queries that pass the filter, in order."""
        return [self.ids[place] for place in self._places()]

    def following(self, query_id: int | None, backwards: bool = False) -> Iterator[int]:
        """Matching ids in the order of a walk that starts after `query_id` and goes round once.

        `query_id` itself, if it matches, comes last. None starts at the beginning.
        """
        places = self._places()
        at = -1 if query_id is None else self._place.get(query_id, -1)
        if backwards:
            cut = int(np.searchsorted(places, at if at >= 0 else len(self.ids)))
            walk = np.concatenate([places[:cut][::-1], places[cut:][::-1]])
        else:
            cut = int(np.searchsorted(places, at, side="right"))
            walk = np.concatenate([places[cut:], places[:cut]])
        ids = self.ids  # as they are now, whatever comes meanwhile
        return (ids[place] for place in walk)

    def passes(self, query_id: int) -> bool:
        """Whether a query is there and passes the filter at this moment."""
        place = self._place.get(query_id)
        return place is not None and bool(self._keep(slice(place, place + 1))[0])

    def counts(self) -> dict[str, int]:
        """Queries of each state, whatever the filter."""
        found = np.bincount(self._codes, minlength=len(STATES))
        return {state: int(n) for state, n in zip(STATES, found, strict=True)}

    def position(self, query_id: int) -> tuple[int, int]:
        """(place from 1 among the queries that pass the filter, their number).

        The place of a query that does not pass is the one that it would have.
        """
        places = self._places()
        at = self._place.get(query_id, 0)
        return int(np.searchsorted(places, at)) + 1, len(places)

    def _places(self) -> NDArray[np.int64]:
        return np.flatnonzero(self._keep(slice(None)))

    def _keep(self, places: slice) -> NDArray[np.bool_]:
        keep = self._fixed[places] & self._matches[places]
        if self.filter.states is not None:
            allowed = np.array([state in self.filter.states for state in STATES])
            keep &= allowed[self._codes[places]]
        if self.filter.classes is not None:
            keep &= self._classes[places, list(self.filter.classes)].any(1)
        return keep


def _hash(query: Query) -> bytes:
    text = f"{query.scan}\0{query.cell}\0{query.round}"
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
