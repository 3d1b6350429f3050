"""The state of a labelling session: the query on the screen, and the states of all queries.

All parts of a session work on one `SessionState`. It reads; only `labeller`, `navigator` and
`holds` write to the ledger.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.effort import EffortTracker, IdleClock
from annotator3d.annotation.options import SessionOptions
from annotator3d.annotation.parts import VoxelParts
from annotator3d.annotation.progress import Progress, Tally
from annotator3d.annotation.query_states import QueryStates
from annotator3d.annotation.queue import Queue
from annotator3d.annotation.undo import UndoHistory
from annotator3d.annotation.views import QueryView, QueryViews
from annotator3d.errors import ConfigError
from annotator3d.ledger.actions import EventDraft
from annotator3d.ledger.ledger import Ledger, Query
from annotator3d.ledger.records import Answer, Lease


class SessionState:
    """What the parts of a session share.

    Args:
        ledger: open for writing.
        views: reads the scans of queries.
        annotator: who answers.
        clock: counts the time that a query takes.

    Attributes:
        states: the state of each query, for this person.
        queue: the order of the queries, and the filter that they pass.
        history: what can be undone and redone.
        tally: number of answers, by class.
        effort: seconds and clicks of each query.
        view: the query on the screen; None when there is nothing left to show.
        parts: the parts of its voxel.
        last: the query from which `next` goes on.
        set_aside: scan id -> why it cannot be shown.

    Raises ConfigError for an unknown order, or an annotator without a name.
    """

    def __init__(
        self,
        ledger: Ledger,
        views: QueryViews,
        annotator: str,
        options: SessionOptions,
        clock: IdleClock,
    ) -> None:
        if not annotator.strip():
            raise ConfigError("an annotator needs a name: it is stored with each answer")
        self.ledger, self.views = ledger, views
        self.annotator, self.options = annotator, options
        self.class_names = ledger.taxonomy_names
        self.states, self.history = QueryStates(annotator), UndoHistory(annotator)
        self.tally = Tally(len(self.class_names), self.states)
        self.queue = Queue(self.states, options.order)
        self.effort = EffortTracker(clock)
        self.view: QueryView | None = None
        self.parts = VoxelParts(np.zeros(0, np.uint8))
        self.last: int | None = None
        self.set_aside: dict[str, str] = {}

    def shown(self) -> QueryView:
        """The view on the screen. Raises ValueError if there is none."""
        if self.view is None:
            raise ValueError("there is no voxel on the screen; change the filter, or go to one")
        return self.view

    def query(self, query_id: int) -> Query:
        """A query by its number. Raises ValueError if there is none, or it was released."""
        try:
            return self.states.queries[query_id]
        except KeyError:
            raise ValueError(f"there is no query {query_id}, or it was released") from None

    def labels(self) -> NDArray[np.uint8]:
        """[n] train ids of the shown voxel's points: 255 = no class, 254 = not labelled yet."""
        return self.states.labels(self.shown().query.id)

    def in_scan(self, scan: str) -> list[Query]:
        """All queries of a scan, by number."""
        return [self.states.queries[query] for query in sorted(self.states.by_scan[scan])]

    def lease_of_another(self, query_id: int) -> Lease | None:
        """The hold that somebody else has on a query now."""
        lease = self.states.lease(query_id, time.time())
        return None if lease is None or lease.annotator == self.annotator else lease

    def held_by_others(self) -> dict[int, str]:
        """Query -> who else holds it now, in a session or in a work package."""
        leases = self.states.leases(time.time()).items()
        return {q: lease.annotator for q, lease in leases if lease.annotator != self.annotator}

    def entry(self, query: int, answer: Answer, supersedes: int | None = None) -> EventDraft:
        """A row with the effort so far, based on what the person saw of the query.

        `supersedes` is the event that the row is about; None: the one that an answer replaces.
        """
        seconds, clicks = self.effort.so_far(query)
        visible, parent = self.states.visible_and_parent(query)
        row = replace(answer, seconds=seconds, clicks=clicks)
        return EventDraft(query, row, visible, parent if supersedes is None else supersedes)

    def progress(self) -> Progress:
        """How far all queries of the ledger have come, no matter who answers them."""
        counts, total = self.queue.counts(), len(self.queue.ids)
        away = [query for scan in self.set_aside for query in self.states.by_scan[scan]]
        aside = sum(self.states.state(query) == "open" for query in away)
        pace = self.tally.pace(self.annotator)
        return Progress(
            total=total,
            settled=total - counts["open"],
            **counts,
            set_aside=aside,
            seconds_per_answer=pace,
            seconds_left=None if pace is None else pace * (counts["open"] - aside),
        )
