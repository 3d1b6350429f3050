"""Going through the queries: which one comes next, holding it, and what others have done."""

from __future__ import annotations

import time
from itertools import islice

from annotator3d.annotation.parts import VoxelParts
from annotator3d.annotation.queue import Filter
from annotator3d.annotation.second_opinions import RepeatScheduler, request_overlap
from annotator3d.annotation.state import Overview
from annotator3d.annotation.views import ScanUnavailableError
from annotator3d.ledger.connection import ClassListChangedError
from annotator3d.ledger.ledger import Event, Query

_HELD = 20  # open queries of one scan that are held at once, so that two people share no scan
_READ_AHEAD = 2  # scans


class Browser(Overview):
    """The walking half of `session.LabelSession`."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self._held: set[int] = set()
        self._newest = 0  # query
        self._queue.set_filter(self._beginning())
        self._repeats = RepeatScheduler(
            self.ledger, self._standing.queries, self.annotator, self._shares.repeat
        )
        self.sync()
        self.next()
        if self.view is not None:
            self.nearby()  # so that what it gathers is ready

    def next(self) -> bool:
        """Show the next query that passes the filter; from the last on to the first.

        Queries of scans that cannot be shown, and open ones that somebody else holds, are passed
        over. Returns False, and shows nothing, when none is left.
        """
        return self._walk(backwards=False)

    def previous(self) -> bool:
        """As `next`, backwards."""
        return self._walk(backwards=True)

    def go_to(self, query_id: int) -> None:
        """Show one query, whether it passes the filter or not.

        Raises ValueError if there is no such query, ScanUnavailableError for its scan.
        """
        self.sync()
        self._show(self.query(query_id))

    def set_filter(self, filter: Filter) -> bool:
        """Go through other queries; stay where one is, if that passes, else `next`."""
        self._queue.set_filter(filter)
        return self._stay_or_next()

    def set_order(self, order: str) -> bool:
        """Go through the queries in another order, a key of `queue.ORDERS`."""
        self._queue.set_order(order)
        return self._stay_or_next()

    def retry_set_aside(self) -> bool:
        """Read the files again that could not be shown, after somebody has repaired them."""
        self.set_aside.clear()
        self._views.forget()
        return self._stay_or_next()

    def touch(self) -> None:
        """A sign of life, from any key or move of the mouse: time goes on, the lease is renewed.

        What others have done is not taken in: an action is about what the person has seen.
        """
        self._effort.clock.touch()
        if self.view is not None and self._wants(self.view.query.id):
            self._lease(self.view.query)

    def sync(self) -> bool:
        """Take in what has happened in the ledger; True if anything has, by whomever.

        What is due to be asked again, is asked.
        """
        before = self._newest
        changed = self._take_in()
        asked = []
        if self._newest > before and self._shares.overlap:
            asked += request_overlap(self.ledger, self._shares.overlap, annotator=self.annotator)
        if changed:
            asked += self._repeats.request(at_end=not self._queue.counts()["open"])
        if asked:
            self._take_in()
        return changed

    def _take_in(self) -> bool:
        new, events = self.ledger.changes_since(self._newest, self._standing.last_event)
        self._newest = max([self._newest, *(query.id for query in new)])
        self._standing.add(new)
        seen = (
            None if self.view is None else self._standing.visible_and_parent(self.view.query.id)[0]
        )
        touched = self._standing.feed(events)
        self._history.feed(events)
        self._repeats.feed(events)
        if new or any(event.answer.kind == "release" for event in events):
            self._queue.build()
            self._places = None
        self._queue.update(touched)
        self._tally.update(touched)
        if self.view is not None and self.view.query.id in touched:
            self._look_again(seen, {e.id for e in events if self._is_mine(e)})
        return bool(new or events)

    def close(self) -> None:
        """Give back what is held and close the ledger; closing twice is allowed."""
        try:
            if self._held:
                self._give_back(self._held)
        except ClassListChangedError:
            pass  # what is held runs out by itself
        finally:
            self.view, self._held = None, set()
            self._views.close()
            self.ledger.close()

    def _look_again(self, before: int | None, mine: set[int]) -> None:
        """The query on the screen was released, or what is seen of it changed by somebody else."""
        query = self.view.query.id
        seen, _ = self._standing.visible_and_parent(query)
        if query not in self._standing.queries:
            self._leave()
        elif seen != before and seen not in mine:
            self.parts = VoxelParts(self.labels)

    def _is_mine(self, event: Event) -> bool:
        return event.answer.annotator == self.annotator

    def _beginning(self) -> Filter:
        """Which queries a session goes through at first."""
        return Filter()

    def _wants(self, query_id: int) -> bool:
        """Whether the person is to do something about a query, so that nobody else should."""
        return self._standing.state(query_id) == "open"

    def _walk(self, backwards: bool) -> bool:
        self.sync()
        for query_id in self._queue.following(self._last, backwards):
            if not self._queue.passes(query_id):
                continue  # no longer: what others did came in while walking
            query = self._standing.queries[query_id]
            if query.scan in self.set_aside:
                continue
            if self._wants(query_id) and not self._take(query):
                continue
            try:
                self._show(query)
            except ScanUnavailableError:
                continue
            return True
        self._leave()
        return False

    def _stay_or_next(self) -> bool:
        if self.view is not None and self._queue.passes(self.view.query.id):
            return True
        return self.next()

    def _show(self, query: Query) -> None:
        try:
            view = self._views.view(query)
        except ScanUnavailableError as trouble:
            self.set_aside[trouble.scan] = trouble.why
            raise
        if self._wants(query.id):
            self._hold(query)
        self._give_back(self._held - self._standing.by_scan[query.scan])
        self.view, self._last = view, query.id
        self._effort.show(query.id, self._standing.effort(query.id))
        self.parts = VoxelParts(self.labels)
        self._read_ahead()

    def _leave(self) -> None:
        self.view = None
        self._effort.show(None)
        self._give_back(self._held)

    def _hold(self, query: Query) -> bool:
        """Hold a query as `_lease`, and take in what others have done."""
        held = self._lease(query)
        self.sync()
        return held

    def _lease(self, query: Query) -> bool:
        """Hold a query and the next wanted ones of its scan; False if somebody else has it."""
        if query.id in self._held and self._left(query.id) > self.options.lease_seconds / 2:
            return True
        wanted = [query.id]
        for other in islice(self._queue.following(query.id), _HELD):
            same = self._standing.queries[other].scan == query.scan
            if same and other != query.id and self._wants(other):
                wanted.append(other)
        held = self.ledger.leases.hold(
            wanted, annotator=self.annotator, seconds=self.options.lease_seconds
        )
        self._held |= held
        return query.id in held

    def _take(self, query: Query) -> bool:
        """Hold a query that is still wanted when it is held."""
        if self._holder(query.id) or not self._hold(query):
            return False
        return self._wants(query.id)

    def _left(self, query_id: int) -> float:
        lease = self._standing.lease(query_id, time.time())
        mine = lease is not None and lease.annotator == self.annotator
        return lease.until - time.time() if mine else 0.0

    def _give_back(self, query_ids: set[int]) -> None:
        given = [query for query in query_ids if query in self._standing.queries]
        self._held -= set(query_ids)
        # A longer hold is not of a session: the query is out in a package of the same person.
        ours = self.options.lease_seconds
        still_held = [query for query in given if 0 < self._left(query) <= ours]
        if still_held:
            self.ledger.leases.give_back(still_held, annotator=self.annotator)
            self.sync()

    def _read_ahead(self) -> None:
        found: dict[tuple[str, int], Query] = {}
        for query_id in islice(self._queue.following(self._last), 4 * _HELD):
            query = self._standing.queries[query_id]
            if query.scan not in self.set_aside and query.scan != self.view.query.scan:
                found.setdefault((query.scan, query.round), query)
            if len(found) == _READ_AHEAD:
                break
        self._views.prefetch(found.values())
        following = next(self._queue.following(self._last), None)
        if following is not None:  # what is drawn with it
            near = self._near_enough(self._standing.queries[following])
            self._views.prefetch(query for query in near if not self._views.is_read(query))
