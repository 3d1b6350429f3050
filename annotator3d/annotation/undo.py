"""Undo and redo of one person, without limit, from the rows of the ledger alone.

An action is what one key press wrote: one row, all rows of a bulk action, or a review. Undoing it
appends an undo for each of its rows; redoing appends the rows again, each superseding its undo. So
both stacks come back after a restart, on any machine that has the ledger. A new action ends
what could be redone. What somebody else has changed since is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from annotator3d.annotation.query_states import QueryStates
from annotator3d.ledger.records import Answer, Event
from annotator3d.ledger.schema import EventKind


@dataclass(frozen=True)
class UndoRow:
    """One query's part of an action."""

    query: int
    answer: Answer
    event: int  # what was written; on the stack of undone actions, the undo
    about: int | None = None  # of a review, the response that it judges


@dataclass
class UndoStep:
    """The rows that were written by one key press, and are all done or all undone."""

    key: int  # first event of the ledger's bulk action
    rows: list[UndoRow] = field(default_factory=list)


class UndoHistory:
    """The actions of one annotator; `feed` it all events in the order of their ids."""

    def __init__(self, annotator: str) -> None:
        self.annotator = annotator
        self._done: list[UndoStep] = []
        self._undone: list[UndoStep] = []

    def feed(self, events: Sequence[Event]) -> None:
        """Take in events; other people's are ignored."""
        for event in events:
            if event.answer.annotator != self.annotator:
                continue
            if event.answer.kind is EventKind.UNDO:
                _move_row(event, self._done, self._undone)
            elif (event.answer.kind.is_undoable or event.answer.kind.is_review) and not _move_row(
                event, self._undone, self._done
            ):
                about = event.supersedes if event.answer.kind.is_review else None
                _push_row(self._done, event, event.answer, about)
                self._undone.clear()

    def undoable(self, states: QueryStates) -> list[UndoRow]:
        """Rows that an undo would take back: those of the last action that are still active."""

        def is_active(row: UndoRow) -> bool:
            if row.about is not None:
                return states.is_review_active(row.query, row.event)
            top = states.top(row.query)
            return top is not None and top.id == row.event

        return _last_fitting_rows(self._done, is_active, states)

    def redoable(self, states: QueryStates) -> list[UndoRow]:
        """Rows that a redo would write again: nobody has answered their queries since the undo."""

        def is_free(row: UndoRow) -> bool:
            if row.about is not None:
                return row.about in [e.id for e in states.outcome(row.query).active_responses]
            top = states.top(row.query)
            return top is None or top.id < row.event or top.answer.annotator == self.annotator

        return _last_fitting_rows(self._undone, is_free, states)


def _last_fitting_rows(
    stack: list[UndoStep], fits: Callable[[UndoRow], bool], states: QueryStates
) -> list[UndoRow]:
    """The fitting rows of the last action that has any.

    Where somebody answered and approved that in one action, the answer decides for both.
    """
    for action in reversed(stack):
        answers = {row.query: row for row in action.rows if row.about is None}
        rows = [
            row
            for row in action.rows
            if row.query in states.queries and fits(answers.get(row.query, row))
        ]
        if rows:
            return rows
    return []


def _move_row(event: Event, source: list[UndoStep], target: list[UndoStep]) -> bool:
    """Take the row that an undo or redo is about from one stack to the other."""
    for index in reversed(range(len(source))):  # nearly always the last one
        rows = source[index].rows
        for row in rows:
            if row.event == event.supersedes:
                rows.remove(row)
                if not rows:
                    del source[index]
                _push_row(target, event, row.answer, row.about)
                return True
    return False


def _push_row(stack: list[UndoStep], event: Event, answer: Answer, about: int | None) -> None:
    """Onto the action that the event belongs to, which is the last one, or as a new one."""
    if event.action is None or not stack or stack[-1].key != event.action:
        stack.append(UndoStep(event.action or event.id))
    stack[-1].rows.append(UndoRow(event.query, answer, event.id, about))
