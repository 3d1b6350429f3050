"""Reviewing: a session that goes through answers, shows who said what, and decides.

On top of `session.LabelSession`: `opinions`, `opinion` (which of them `labels` shows), `differing`,
`to_review`; `step_opinion`, `approve`, `reject`. A class that is given is an answer of one's own,
approved at once. Each action is a row or some rows of the ledger, and one step of `undo`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.parts import VoxelParts
from annotator3d.annotation.queue import Filter
from annotator3d.annotation.session import LabelSession
from annotator3d.ledger.actions import PREVIOUS, EventDraft
from annotator3d.ledger.ledger import Event, Query
from annotator3d.ledger.lineage import EventView
from annotator3d.ledger.records import IGNORE, UNASSIGNED, Answer
from annotator3d.ledger.resolution import Outcome

REVIEWED = ("answered", "disputed")
"""States of the queries that can be reviewed."""


@dataclass(frozen=True)
class Criteria:
    """Which answers are reviewed; None lets all pass. What has been decided does not come again.

    One response must fit `classes`, `people`, the dates and `responses` together.
    """

    classes: Collection[int] | None = None  # train ids, 255 = no class
    people: Collection[str] | None = None
    rounds: Collection[int] | None = None
    since: str = ""  # ISO 8601, UTC, as `Event.created_at`; this moment or later
    until: str = "~"  # before this moment
    disputed: bool = False  # only those
    responses: Collection[int] | None = None  # ids of their events

    def match(self, where: Outcome) -> bool:
        """Whether a query is still to be reviewed."""
        if (where.approved and not where.disputed) or (self.disputed and not where.disputed):
            return False
        return any(map(self._fits, where.active_responses))

    def _fits(self, response: EventView) -> bool:
        if response.labels is None or not self.since <= response.created_at < self.until:
            return False
        if self.people is not None and response.annotator not in self.people:
            return False
        if self.responses is not None and response.id not in self.responses:
            return False
        said = set(response.labels) or {IGNORE}
        return self.classes is None or not said.isdisjoint(self.classes)


class ReviewSession(LabelSession):
    """See the top of this module.

    Args:
        criteria: what is gone through.
    """

    def __init__(self, *arguments, criteria: Criteria | None = None, **options) -> None:
        self.criteria, self.opinion = criteria or Criteria(), 0
        self._seen: list[int] = []  # ids of the opinions when they were shown
        super().__init__(*arguments, **options)

    @property
    def opinions(self) -> list[Event]:
        """The current responses to the query on the screen, by time.

        None while the person is asked for an opinion that does not know them.
        """
        query = self._shown().query.id
        if self._standing.state(query) not in REVIEWED:
            return []
        current = self._standing.outcome(query).active_responses
        return [self._standing.event(query, e.id) for e in current]

    @property
    def approved(self) -> list[int]:
        """Of `opinions`, those that a reviewer has approved: their places."""
        kept = {e.id for e in self._standing.outcome(self._shown().query.id).approved}
        return [place for place, event in enumerate(self.opinions) if event.id in kept]

    @property
    def labels(self) -> NDArray[np.uint8]:
        """[n] the labels of the opinion that is shown; of an answer of one's own, once begun."""
        opinions = self.opinions
        top = self._standing.top(self._shown().query.id)
        if not opinions or (top is not None and top.answer.kind == "draft"):
            return super().labels
        return self._said(opinions[self.opinion % len(opinions)])

    @property
    def differing(self) -> NDArray[np.bool_]:
        """[n] points of the voxel that were labelled differently."""
        said = [self._said(e) for e in self.opinions if e.answer.kind in ("answer", "ignore")]
        if not said:
            return np.zeros(self._shown().query.num_points, bool)
        return (np.stack(said) != said[0]).any(0)

    @property
    def to_review(self) -> int:
        """Queries that are still to be reviewed."""
        return len(self.matching())

    @property
    def to_answer_first(self) -> int:
        """Queries that fit the criteria and are not gone through: they wait for an answer again."""
        rounds = self.criteria.rounds
        return sum(
            self._standing.state(query.id) not in REVIEWED
            and (rounds is None or query.round in rounds)
            and self._match(query.id)
            for query in self._standing.queries.values()
        )

    def step_opinion(self, by: int = 1) -> None:
        """Show what another person said, `by` places later."""
        if not self.opinions:
            raise ValueError("nobody has answered this voxel, or it waits for your own opinion")
        self._effort.click()
        self.opinion = (self.opinion + by) % len(self.opinions)
        self.parts = VoxelParts(self.labels)

    def approve(self) -> None:
        """Let the opinion that is shown count before the others, then go on.

        What was approved before and says otherwise is rejected. Raises ValueError if there is none.
        """
        chosen = self._chosen()
        entries = [self._verdict("approve", chosen.id), *self._overruled(self._said(chosen))]
        self._effort.click()
        self._write(entries)
        self._go_on()

    def reject(self) -> None:
        """Take away the opinion that is shown; with none left, the query is asked again.

        Raises ValueError if there is none.
        """
        entry = self._verdict("reject", self._chosen().id)
        self._effort.click()
        self._write([entry])
        self._go_on()

    def _chosen(self) -> Event:
        opinions = self.opinions
        if not opinions:
            raise ValueError("nobody has answered this voxel, or it waits for your own opinion")
        return opinions[self.opinion % len(opinions)]

    def _label(self, labels: NDArray[np.uint8], accepted: bool) -> None:
        """An answer of the reviewer decides."""
        query = self._shown().query.id
        if self._standing.state(query) not in REVIEWED or (labels == UNASSIGNED).any():
            return super()._label(labels, accepted)
        void = bool((labels == IGNORE).all())
        entry = self._entry(query, Answer("ignore") if void else Answer("answer", labels))
        approve = replace(self._verdict("approve", PREVIOUS), answer=Answer("approve"))
        self._effort.click()
        replaced = self._standing.outcome(query).corrected_by(self.annotator)
        self._write([entry, approve, *self._overruled(labels, replaced)])

    def _overruled(
        self, labels: NDArray[np.uint8], replaced: EventView | None = None
    ) -> list[EventDraft]:
        """Rejections of what was approved and says otherwise, but for what is replaced."""
        opinions = self.opinions
        others = [opinions[place] for place in self.approved]
        return [
            replace(self._verdict("reject", e.id), answer=Answer("reject"))
            for e in others
            if (replaced is None or e.id != replaced.id)
            and not np.array_equal(self._said(e), labels)
        ]

    def _verdict(self, kind: str, response: int) -> EventDraft:
        return replace(self._entry(self._shown().query.id, Answer(kind)), supersedes=response)

    def _said(self, event: Event) -> NDArray[np.uint8]:
        if event.answer.labels is not None:
            return event.answer.labels
        fill = IGNORE if event.answer.kind == "ignore" else UNASSIGNED
        return np.full(self._shown().query.num_points, fill, np.uint8)

    def _go_on(self) -> None:
        if self.view is not None and self._queue.passes(self.view.query.id):
            self.parts = VoxelParts(self.labels)
        else:
            self.next()

    def _show(self, query: Query) -> None:
        super()._show(query)
        self._first_opinion()
        self.parts = VoxelParts(self.labels)

    def _look_again(self, before: int | None, mine: set[int]) -> None:
        super()._look_again(before, mine)
        if self.view is not None and [e.id for e in self.opinions] != self._seen:
            self._first_opinion()
            if not mine:
                self.parts = VoxelParts(self.labels)

    def _first_opinion(self) -> None:
        """Show what was approved, else what was said first."""
        self._seen, self.opinion = [e.id for e in self.opinions], next(iter(self.approved), 0)

    def _beginning(self) -> Filter:
        return Filter(states=REVIEWED, rounds=self.criteria.rounds, match=self._match)

    def _match(self, query_id: int) -> bool:
        return self.criteria.match(self._standing.outcome(query_id))

    def _wants(self, query_id: int) -> bool:
        return super()._wants(query_id) or self._queue.passes(query_id)

    def _calls(self) -> dict[str, Callable[[], Any]]:
        return {
            **super()._calls(),
            "approve": self.approve,
            "reject": self.reject,
            "next opinion": self.step_opinion,
        }
