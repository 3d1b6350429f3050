"""Answering queries, and taking answers back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.mode import LabelMode
from annotator3d.annotation.navigator import Navigator
from annotator3d.annotation.neighbourhood import Neighbourhood
from annotator3d.annotation.query_states import QueryStates
from annotator3d.annotation.state import SessionState
from annotator3d.annotation.undo import UndoRow
from annotator3d.annotation.views import ScanUnavailableError
from annotator3d.errors import nearest
from annotator3d.ledger.actions import ConflictError, EventDraft
from annotator3d.ledger.records import IGNORE, UNASSIGNED, Answer
from annotator3d.ledger.schema import EventKind


@dataclass
class BulkResult:
    """What became of the queries of an action."""

    done: list[int] = field(default_factory=list)
    left_out: dict[int, str] = field(default_factory=dict)  # query -> why


class Labeller:
    """Writes a person's answers to the ledger and moves on; see `session.LabelSession`.

    Args:
        mode: decides which rows an answer writes.
        navigator: shows the next query.
        neighbourhood: has the proposals.
    """

    def __init__(
        self,
        state: SessionState,
        mode: LabelMode,
        navigator: Navigator,
        neighbourhood: Neighbourhood,
    ) -> None:
        self._state, self._mode = state, mode
        self._navigator, self._neighbourhood = navigator, neighbourhood
        self._offered: set[int] = set()  # queries that had a proposal
        self._last_class: int | None = None

    def assign(self, label: int) -> None:
        """Give a class to the current part, then go to the next part or query."""
        count, parts = len(self._state.class_names), self._state.parts
        if not (0 <= label < count or label == IGNORE):
            raise ValueError(f"label {label} is neither a class (0..{count - 1}) nor {IGNORE}")
        labels = self._mode.labels().copy()
        labels[parts.mask] = label
        self._label(labels, accepted=False)
        self._last_class = label
        if self._state.parts.is_last:
            self._navigator.next()
        else:
            self._state.parts.labelled()

    def repeat(self) -> None:
        """`assign` the class that was given last."""
        if self._last_class is None:
            raise ValueError("there is no class to repeat: none was assigned yet")
        self.assign(self._last_class)

    def accept(self, index: int) -> None:
        """Label the voxel as proposed, then go to the next query."""
        proposals = self._neighbourhood.proposals()
        if not 0 <= index < len(proposals):
            raise ValueError("nothing is proposed for this voxel")
        self._label(proposals[index].labels, accepted=True)
        self._navigator.next()

    def settle(self, kind: EventKind) -> None:
        """Answer with "skip" or "unsure", then go to the next query."""
        query = self._state.shown().query.id
        self._state.effort.click()
        self._write([self._state.entry(query, Answer(kind))])
        self._navigator.next()

    def note(self, text: str) -> None:
        """Add a note to the query."""
        if not text.strip():
            raise ValueError("a note needs some text")
        query = self._state.shown().query.id
        self._state.ledger.note(query, text, annotator=self._state.annotator)
        self._state.effort.click()
        self._navigator.sync()

    def bulk(self, kind: str, queries: Iterable[int], label: int | None) -> BulkResult:
        """Respond to many queries in one action."""
        responses = [response for response in EventKind if response.settles]
        if kind not in responses or (kind == EventKind.ANSWER) == (label is None):
            known = nearest(kind, responses)
            raise ValueError(f"bulk {kind!r} with label {label}: {known}; only answer has a label")
        if label == IGNORE:
            kind, label = EventKind.IGNORE, None
        wanted = [self._state.query(query) for query in dict.fromkeys(queries)]
        self._state.effort.click()
        entries = []
        for query in wanted:
            labels = None if label is None else np.full(query.num_labels, label, np.int64)
            entries.append(self._state.entry(query.id, Answer(kind, labels)))
        result = self._write_what_fits(entries)
        if self._state.view is not None:
            self._mode.reset_parts()
        self._navigator.stay_or_next()
        return result

    def undo(self) -> BulkResult:
        """Take back this person's last action that is still active."""
        return self._reverse(
            self._state.history.undoable, self._undo_entry, "there is nothing to undo"
        )

    def redo(self) -> BulkResult:
        """Repeat what the last `undo` took back."""
        return self._reverse(
            self._state.history.redoable, self._redo_entry, "there is nothing to redo"
        )

    def decide(self, entries: Sequence[EventDraft]) -> None:
        """Write a review, then stay or go on, as the filter requires. Raises ConflictError."""
        self._write(entries)
        if self._navigator.stay_or_next():
            self._mode.reset_parts()

    def _write(self, entries: Sequence[EventDraft]) -> None:
        """Write one action, all of it or, with the exception, nothing. Raises ConflictError."""
        try:
            self._state.ledger.act(entries, annotator=self._state.annotator)
        except ConflictError:
            self._navigator.sync()
            raise
        self._navigator.sync()
        for entry in entries:
            if entry.answer.kind.ends_lease:
                self._state.effort.settle(entry.query)
                self._offered.discard(entry.query)

    def _label(self, labels: NDArray[np.uint8], accepted: bool) -> None:
        query = self._state.shown().query.id
        if self._neighbourhood.proposals():
            self._offered.add(query)
        if (labels == UNASSIGNED).any():
            answer = Answer(EventKind.DRAFT, labels)
        else:
            void = bool((labels == IGNORE).all())
            answer = Answer(EventKind.IGNORE) if void else Answer(EventKind.ANSWER, labels)
            answer = replace(answer, proposal_accepted=accepted if query in self._offered else None)
        self._write(self._mode.rows(query, answer))

    def _reverse(
        self,
        find: Callable[[QueryStates], list[UndoRow]],
        entry: Callable[[UndoRow], EventDraft],
        none: str,
    ) -> BulkResult:
        self._navigator.sync()
        rows = find(self._state.states)
        if not rows:
            raise ValueError(none)
        self._state.effort.click(rows[0].query)
        result = self._write_what_fits([entry(row) for row in rows])
        if not result.done:
            raise ConflictError("; ".join(result.left_out.values()), list(result.left_out))
        try:
            self._navigator.show(self._state.query(result.done[0]))
        except ScanUnavailableError:
            self._navigator.stay_or_next()  # undone all the same; `set_aside` has the reason
        return result

    def _undo_entry(self, row: UndoRow) -> EventDraft:
        visible, _ = self._state.states.visible_and_parent(row.query)
        return EventDraft(row.query, Answer(EventKind.UNDO), visible, row.event)

    def _redo_entry(self, row: UndoRow) -> EventDraft:
        answer = row.answer
        if answer.labels is not None and UNASSIGNED in answer.labels:
            # one of its classes has been split since
            answer = replace(answer, kind=EventKind.DRAFT)
        return self._state.entry(row.query, answer, supersedes=row.event)

    def _write_what_fits(self, entries: Sequence[EventDraft]) -> BulkResult:
        """Write one action without the queries that somebody else has."""
        result = BulkResult()
        while entries:
            try:
                self._write(entries)
                result.done = [entry.query for entry in entries]
                break
            except ConflictError as error:
                result.left_out.update(dict.fromkeys(error.queries, str(error)))
                entries = [entry for entry in entries if entry.query not in error.queries]
        return result
