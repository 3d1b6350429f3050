"""Going through the queries: choosing the next one, holding it, reading what others have done."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from annotator3d.annotation.holds import MOST, QueryHolds
from annotator3d.annotation.mode import LabelMode
from annotator3d.annotation.neighbourhood import Neighbourhood
from annotator3d.annotation.queue import Filter
from annotator3d.annotation.second_opinions import RepeatScheduler, request_overlap
from annotator3d.annotation.state import SessionState
from annotator3d.annotation.views import ScanUnavailableError
from annotator3d.ledger.connection import ClassListChangedError
from annotator3d.ledger.ledger import Event, Query
from annotator3d.ledger.schema import EventKind

_READ_AHEAD = 2  # scans


class Navigator:
    """Puts queries on the screen, and keeps the state up to date with the ledger.

    Args:
        mode: which queries the session is for.
    """

    def __init__(self, state: SessionState, mode: LabelMode, neighbourhood: Neighbourhood) -> None:
        self._state, self._mode, self._neighbourhood = state, mode, neighbourhood
        self._holds = QueryHolds(state, mode.wants)
        self._newest = 0  # id of the newest query that was read
        self._repeats = RepeatScheduler(
            state.ledger, state.states.queries, state.annotator, state.options.repeat
        )

    def start(self) -> None:
        """Read the ledger and show the first query."""
        self._state.queue.set_filter(self._mode.first_filter())
        self.sync()
        self.next()
        if self._state.view is not None:
            self._neighbourhood.answered(self._state.view.query)  # builds its index now

    def next(self, backwards: bool = False) -> bool:
        """Show the next query that passes the filter; False, and nothing shown, if none is left.

        Skips scans that cannot be shown, and wanted queries that somebody else holds.
        """
        state = self._state
        self.sync()
        for query_id in state.queue.following(state.last, backwards):
            if not state.queue.passes(query_id):
                continue  # no longer: others have answered while this loop was running
            query = state.states.queries[query_id]
            if query.scan in state.set_aside:
                continue
            if self._mode.wants(query_id) and not self._take(query):
                continue
            try:
                self.show(query)
            except ScanUnavailableError:
                continue
            return True
        self._leave()
        return False

    def show(self, query: Query) -> None:
        """Show a query. Raises ScanUnavailableError."""
        state = self._state
        try:
            view = state.views.view(query)
        except ScanUnavailableError as error:
            state.set_aside[error.scan] = error.why
            raise
        if self._mode.wants(query.id):
            self._hold(query)
        self._give_back(self._holds.ids - state.states.by_scan[query.scan])
        state.view, state.last = view, query.id
        state.effort.show(query.id, state.states.effort(query.id))
        self._mode.show()
        self._read_ahead()

    def go_to(self, query_id: int) -> None:
        """Show a query by its number. Raises ValueError if there is none, ScanUnavailableError."""
        self.sync()
        self.show(self._state.query(query_id))

    def stay_or_next(self) -> bool:
        """Stay if the shown query passes the filter, else `next`."""
        view = self._state.view
        if view is not None and self._state.queue.passes(view.query.id):
            return True
        return self.next()

    def set_filter(self, filter: Filter) -> bool:
        """Change which queries are shown; see `stay_or_next`."""
        self._state.queue.set_filter(filter)
        return self.stay_or_next()

    def set_order(self, order: str) -> bool:
        """Change the order of the queries. Raises ConfigError for an unknown one."""
        self._state.queue.set_order(order)
        return self.stay_or_next()

    def retry_set_aside(self) -> bool:
        """Read again the files that could not be shown."""
        self._state.set_aside.clear()
        self._state.views.forget()
        return self.stay_or_next()

    def touch(self) -> None:
        """Note that the person is there: count the time, renew the hold. No `sync`."""
        view = self._state.view
        self._state.effort.clock.touch()
        if view is not None and self._mode.wants(view.query.id):
            self._holds.hold(view.query)

    def sync(self) -> bool:
        """Read the new events of the ledger; True if there are any.

        Then requests the second opinions and repeats that are due.
        """
        state, before = self._state, self._newest
        changed = self._read_ledger()
        asked = []
        if self._newest > before and state.options.overlap:
            overlap = state.options.overlap
            asked += request_overlap(state.ledger, overlap, annotator=state.annotator)
        if changed:
            asked += self._repeats.request(at_end=not state.queue.counts()["open"])
        if asked:
            self._read_ledger()
        return changed

    def close(self) -> None:
        """Show nothing and give back what is held."""
        try:
            self._give_back(self._holds.ids)
        except ClassListChangedError:
            pass  # the holds expire by themselves
        finally:
            self._state.view, self._holds.ids = None, set()

    def _read_ledger(self) -> bool:
        state = self._state
        new, events = state.ledger.changes_since(self._newest, state.states.last_event)
        self._newest = max([self._newest, *(query.id for query in new)])
        state.states.add(new)
        view, seen = state.view, None
        if view is not None:
            seen, _ = state.states.visible_and_parent(view.query.id)
        touched = state.states.feed(events)
        state.history.feed(events)
        self._repeats.feed(events)
        if new or any(event.answer.kind is EventKind.RELEASE for event in events):
            state.queue.build()
            self._neighbourhood.forget()
        state.queue.update(touched)
        state.tally.update(touched)
        if view is not None and view.query.id in touched:
            self._refresh(view.query, seen, events)
        return bool(new or events)

    def _refresh(self, query: Query, seen: int | None, events: Iterable[Event]) -> None:
        if query.id not in self._state.states.queries:  # it was released
            self._leave()
            return
        annotator = self._state.annotator
        self._mode.refresh(seen, {e.id for e in events if e.answer.annotator == annotator})

    def _leave(self) -> None:
        self._state.view = None
        self._state.effort.show(None)
        self._give_back(self._holds.ids)

    def _take(self, query: Query) -> bool:
        """Hold a query; True if that worked and it is still wanted."""
        if self._state.lease_of_another(query.id) is not None or not self._hold(query):
            return False
        return self._mode.wants(query.id)

    def _hold(self, query: Query) -> bool:
        held = self._holds.hold(query)
        self.sync()
        return held

    def _give_back(self, query_ids: set[int]) -> None:
        if self._holds.give_back(query_ids):
            self.sync()

    def _read_ahead(self) -> None:
        """Begin to read the next scans, and what is drawn with the next query."""
        state = self._state
        found: dict[tuple[str, int], Query] = {}
        following = list(islice(state.queue.following(state.last), 4 * MOST))
        for query in (state.states.queries[query_id] for query_id in following):
            if query.scan not in state.set_aside and query.scan != state.shown().query.scan:
                found.setdefault((query.scan, query.round), query)
            if len(found) == _READ_AHEAD:
                break
        state.views.prefetch(found.values())
        if following:
            near = self._neighbourhood.drawn_with(state.states.queries[following[0]])
            state.views.prefetch(query for query in near if not state.views.is_read(query))
