"""The queries that a session holds, so that nobody else is asked about them meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice

from annotator3d.annotation.state import SessionState
from annotator3d.ledger.ledger import Query

MOST = 20  # open queries of one scan that are held at once, so that two people share no scan


class QueryHolds:
    """Holds queries in the ledger and gives them back.

    Args:
        wants: whether the person has something to do for a query.

    Attributes:
        ids: the queries that are held.
    """

    def __init__(self, state: SessionState, wants: Callable[[int], bool]) -> None:
        self._state, self._wants = state, wants
        self.ids: set[int] = set()

    def hold(self, query: Query) -> bool:
        """Hold a query and the next wanted ones of its scan; False if somebody else has it."""
        state, seconds = self._state, self._state.options.lease_seconds
        if query.id in self.ids and self._left(query.id) > seconds / 2:
            return True
        wanted = [query.id]
        for other in islice(state.queue.following(query.id), MOST):
            same = state.states.queries[other].scan == query.scan
            if same and other != query.id and self._wants(other):
                wanted.append(other)
        held = state.ledger.leases.hold(wanted, annotator=state.annotator, seconds=seconds)
        self.ids |= held
        return query.id in held

    def give_back(self, query_ids: Iterable[int]) -> bool:
        """End the holds of some queries; returns whether the ledger has changed."""
        given, state = set(query_ids), self._state
        self.ids -= given
        # A longer hold is not a session's: the query is out in a package for the same person.
        ours = state.options.lease_seconds
        still_held = [
            query for query in given & state.states.queries.keys() if 0 < self._left(query) <= ours
        ]
        if still_held:
            state.ledger.leases.give_back(still_held, annotator=state.annotator)
        return bool(still_held)

    def _left(self, query_id: int) -> float:
        now = time.time()
        lease = self._state.states.lease(query_id, now)
        mine = lease is not None and lease.annotator == self._state.annotator
        return lease.until - now if mine else 0.0
