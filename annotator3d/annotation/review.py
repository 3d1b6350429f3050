"""Reviewing: which answers come up, what each person answered, and what a decision writes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.mode import LabelMode
from annotator3d.annotation.queue import Filter
from annotator3d.annotation.state import SessionState
from annotator3d.ledger.actions import PREVIOUS, EventDraft
from annotator3d.ledger.ledger import Event
from annotator3d.ledger.lineage import EventView
from annotator3d.ledger.records import IGNORE, UNASSIGNED, Answer
from annotator3d.ledger.resolution import Outcome
from annotator3d.ledger.schema import EventKind

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
        classes = set(response.labels) or {IGNORE}
        return self.classes is None or not classes.isdisjoint(self.classes)


class ReviewMode(LabelMode):
    """Goes through answers and shows one person's at a time; an answer of the reviewer decides.

    Attributes:
        place: which of `opinions` is shown.
    """

    def __init__(self, state: SessionState, criteria: Criteria) -> None:
        super().__init__(state)
        self.criteria, self.place = criteria, 0
        self._seen: list[int] = []  # ids of the opinions when they were shown

    def first_filter(self) -> Filter:
        return Filter(states=REVIEWED, rounds=self.criteria.rounds, match=self._match)

    def wants(self, query_id: int) -> bool:
        return super().wants(query_id) or self.state.queue.passes(query_id)

    def opinions(self) -> list[Event]:
        """The current responses to the shown query, by time.

        There are none while the reviewer is asked for an independent opinion.
        """
        query, states = self.state.shown().query.id, self.state.states
        if states.state(query) not in REVIEWED:
            return []
        return [states.event(query, e.id) for e in states.outcome(query).active_responses]

    def approved(self) -> list[int]:
        """Places of those of `opinions` that a reviewer has approved."""
        kept = {e.id for e in self._outcome().approved}
        return [place for place, event in enumerate(self.opinions()) if event.id in kept]

    def labels(self) -> NDArray[np.uint8]:
        """[n] the labels of the shown opinion; of the reviewer's own answer, once begun."""
        opinions = self.opinions()
        top = self.state.states.top(self.state.shown().query.id)
        if not opinions or (top is not None and top.answer.kind is EventKind.DRAFT):
            return super().labels()
        return self._labels_of(opinions[self.place % len(opinions)].answer)

    def differing(self) -> NDArray[np.bool_]:
        """[n] points of the voxel that were labelled differently."""
        given = [self._labels_of(e.answer) for e in self.opinions() if e.answer.kind.gives_classes]
        if not given:
            return np.zeros(self.state.shown().query.num_labels, bool)
        return (np.stack(given) != given[0]).any(0)

    def to_answer_first(self) -> int:
        """Queries that fit the criteria, but wait for another answer before a review."""
        rounds, states = self.criteria.rounds, self.state.states
        return sum(
            states.state(query.id) not in REVIEWED
            and (rounds is None or query.round in rounds)
            and self._match(query.id)
            for query in states.queries.values()
        )

    def step(self, by: int) -> None:
        """Show another person's opinion. Raises ValueError if there is none."""
        self.chosen()
        self.state.effort.click()
        self.place = (self.place + by) % len(self.opinions())
        self.reset_parts()

    def chosen(self) -> Event:
        """The opinion that is shown. Raises ValueError if there is none."""
        opinions = self.opinions()
        if not opinions:
            raise ValueError("nobody has answered this voxel, or it waits for your own opinion")
        return opinions[self.place % len(opinions)]

    def approval(self) -> list[EventDraft]:
        """The rows that approve the shown opinion, and reject what was approved and differs."""
        chosen = self.chosen()
        rows = [
            self._verdict(EventKind.APPROVE, chosen.id),
            *self._overruled(self._labels_of(chosen.answer)),
        ]
        self.state.effort.click()
        return rows

    def rejection(self) -> list[EventDraft]:
        """The row that rejects the shown opinion."""
        rows = [self._verdict(EventKind.REJECT, self.chosen().id)]
        self.state.effort.click()
        return rows

    def rows(self, query: int, answer: Answer) -> list[EventDraft]:
        if self.state.states.state(query) not in REVIEWED or answer.kind is EventKind.DRAFT:
            return super().rows(query, answer)
        entry = self.state.entry(query, replace(answer, proposal_accepted=None))
        approve = replace(
            self._verdict(EventKind.APPROVE, PREVIOUS), answer=Answer(EventKind.APPROVE)
        )
        self.state.effort.click()
        labels = self._labels_of(answer)
        replaced = self._outcome().corrected_by(self.state.annotator)
        return [entry, approve, *self._overruled(labels, replaced)]

    def show(self) -> None:
        self._first_opinion()
        self.reset_parts()

    def refresh(self, before: int | None, mine: set[int]) -> None:
        super().refresh(before, mine)
        if [e.id for e in self.opinions()] != self._seen:
            self._first_opinion()
            if not mine:
                self.reset_parts()

    def _first_opinion(self) -> None:
        """Show what was approved, else the first answer."""
        self._seen = [e.id for e in self.opinions()]
        self.place = next(iter(self.approved()), 0)

    def _overruled(
        self, labels: NDArray[np.uint8], replaced: EventView | None = None
    ) -> list[EventDraft]:
        """Rejections of what was approved and differs from `labels`, except what is replaced."""
        opinions = self.opinions()
        others = [opinions[place] for place in self.approved()]
        return [
            replace(self._verdict(EventKind.REJECT, e.id), answer=Answer(EventKind.REJECT))
            for e in others
            if (replaced is None or e.id != replaced.id)
            and not np.array_equal(self._labels_of(e.answer), labels)
        ]

    def _verdict(self, kind: EventKind, response: int) -> EventDraft:
        return self.state.entry(self.state.shown().query.id, Answer(kind), supersedes=response)

    def _labels_of(self, answer: Answer) -> NDArray[np.uint8]:
        if answer.labels is not None:
            return answer.labels
        fill = IGNORE if answer.kind is EventKind.IGNORE else UNASSIGNED
        return np.full(self.state.shown().query.num_labels, fill, np.uint8)

    def _outcome(self) -> Outcome:
        return self.state.states.outcome(self.state.shown().query.id)

    def _match(self, query_id: int) -> bool:
        return self.criteria.match(self.state.states.outcome(query_id))
