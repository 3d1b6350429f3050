"""Answering queries and taking answers back: the writing half of the labelling session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.navigator import Browser
from annotator3d.annotation.parts import VoxelParts
from annotator3d.annotation.query_states import QueryStates
from annotator3d.annotation.undo import UndoRow
from annotator3d.annotation.views import ScanUnavailableError
from annotator3d.errors import nearest
from annotator3d.ledger.actions import ConflictError, EventDraft
from annotator3d.ledger.records import IGNORE, UNASSIGNED, Answer
from annotator3d.ledger.schema import ENDING, RESPONSES


@dataclass
class BulkResult:
    """What became of the queries of an action."""

    done: list[int] = field(default_factory=list)
    left_out: dict[int, str] = field(default_factory=dict)  # query -> why


class Labeller(Browser):
    """The answering half of `session.LabelSession`."""

    _last_class: int | None = None

    def __init__(self, *arguments, **options) -> None:
        self._offered: set[int] = set()  # queries for which something could have been accepted
        super().__init__(*arguments, **options)

    def assign(self, label: int) -> None:
        """Give a class to the current part of the voxel, then go to the next part or query.

        While other points have no label yet, a draft is written and the query stays open.

        Args:
            label: train id, 255 = no class fits.

        Raises ValueError for a label that is no class, ConflictError.
        """
        count = len(self.class_names)
        if not (0 <= label < count or label == IGNORE):
            raise ValueError(f"label {label} is neither a class (0..{count - 1}) nor {IGNORE}")
        labels = self.labels.copy()
        labels[self.parts.mask] = label
        self._label(labels, accepted=False)
        self._last_class = label
        if self.parts.is_last:
            self.next()
        else:
            self.parts.labelled()

    def ignore(self) -> None:
        """Say that no class fits the current part of the voxel."""
        self.assign(IGNORE)

    def repeat(self) -> None:
        """`assign` the class that was given last. Raises ValueError if none was yet."""
        if self._last_class is None:
            raise ValueError("no class was given yet that could be repeated")
        self.assign(self._last_class)

    def accept(self, index: int = 0) -> None:
        """Label the voxel as proposed, then go to the next query.

        Raises ValueError if there is no such proposal, ConflictError.
        """
        proposals = self.proposals
        if not 0 <= index < len(proposals):
            raise ValueError("nothing is proposed for this voxel")
        self._label(proposals[index].labels, accepted=True)
        self.next()

    def skip(self) -> None:
        """Pass the query by: it gives no labels and does not come again. Raises ConflictError."""
        self._settle("skip")

    def unsure(self) -> None:
        """Say that the class cannot be told: as `skip`, with the reason. Raises ConflictError."""
        self._settle("unsure")

    def note(self, text: str) -> None:
        """Leave a remark on the query. It is not undone; a later one can say otherwise."""
        if not text.strip():
            raise ValueError("a note needs some text")
        self.ledger.note(self._shown().query.id, text, annotator=self.annotator)
        self._effort.click()
        self.sync()

    def bulk(self, kind: str, queries: Iterable[int], label: int | None = None) -> BulkResult:
        """Respond to many queries in one action, which is one step of `undo`.

        Queries that somebody else holds or has changed meanwhile are left out.

        Args:
            kind: "answer" (all points get the class `label`), "skip", "unsure" or "ignore".
            queries: their numbers.

        Raises ValueError for an unknown kind, query or label.
        """
        if kind not in RESPONSES or (kind == "answer") == (label is None):
            known = nearest(kind, RESPONSES)
            raise ValueError(f"bulk {kind!r} with label {label}: {known}; only answer has a label")
        if label == IGNORE:
            kind, label = "ignore", None
        wanted = [self.query(query) for query in dict.fromkeys(queries)]
        self._effort.click()
        entries = []
        for query in wanted:
            labels = None if label is None else np.full(query.num_points, label, np.int64)
            entries.append(self._entry(query.id, Answer(kind, labels)))
        result = self._write_what_fits(entries)
        if self.view is not None:
            self.parts = VoxelParts(self.labels)
        self._stay_or_next()
        return result

    def undo(self) -> BulkResult:
        """Take back this person's last action that still stands, and show its (first) query.

        Raises ValueError if there is nothing to undo, ConflictError if somebody else has the query.
        """
        return self._reverse(self._history.undoable, self._undo, "there is nothing to undo")

    def redo(self) -> BulkResult:
        """Do again what the last `undo` took back; as `undo`."""
        return self._reverse(self._history.redoable, self._redo, "there is nothing to redo")

    def _label(self, labels: NDArray[np.uint8], accepted: bool) -> None:
        query = self._shown().query.id
        if self.proposals:
            self._offered.add(query)
        if (labels == UNASSIGNED).any():
            answer = Answer("draft", labels)
        else:
            void = bool((labels == IGNORE).all())
            answer = Answer("ignore") if void else Answer("answer", labels)
            answer = replace(answer, proposal_accepted=accepted if query in self._offered else None)
        self._effort.click()
        self._write([self._entry(query, answer)])

    def _settle(self, kind: str) -> None:
        query = self._shown().query.id
        self._effort.click()
        self._write([self._entry(query, Answer(kind))])
        self.next()

    def _reverse(
        self,
        find: Callable[[QueryStates], list[UndoRow]],
        entry: Callable[[UndoRow], EventDraft],
        none: str,
    ) -> BulkResult:
        self.sync()
        rows = find(self._standing)
        if not rows:
            raise ValueError(none)
        self._effort.click(rows[0].query)
        result = self._write_what_fits([entry(row) for row in rows])
        if not result.done:
            raise ConflictError("; ".join(result.left_out.values()), list(result.left_out))
        try:
            self._show(self.query(result.done[0]))
        except ScanUnavailableError:
            self._stay_or_next()  # taken back all the same; `set_aside` says why it is not shown
        return result

    def _undo(self, row: UndoRow) -> EventDraft:
        return EventDraft(
            row.query, Answer("undo"), self._standing.visible_and_parent(row.query)[0], row.event
        )

    def _redo(self, row: UndoRow) -> EventDraft:
        answer = row.answer
        if answer.labels is not None and UNASSIGNED in answer.labels:
            answer = replace(answer, kind="draft")  # a class that it had was split since
        return replace(self._entry(row.query, answer), supersedes=row.event)

    def _entry(self, query: int, answer: Answer) -> EventDraft:
        """A row with what it took, on top of what stood when the person looked at the query."""
        seconds, clicks = self._effort.so_far(query)
        seen, supersedes = self._standing.visible_and_parent(query)
        return EventDraft(query, replace(answer, seconds=seconds, clicks=clicks), seen, supersedes)

    def _write(self, entries: Sequence[EventDraft]) -> None:
        """Append one action, all of it or, with the exception, nothing."""
        try:
            self.ledger.act(entries, annotator=self.annotator)
        except ConflictError:
            self.sync()
            raise
        self.sync()
        for entry in entries:
            if entry.answer.kind in ENDING:
                self._effort.settle(entry.query)
                self._offered.discard(entry.query)

    def _write_what_fits(self, entries: Sequence[EventDraft]) -> BulkResult:
        """Append one action without the queries that somebody else has."""
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
