"""What the events of a query go back to, through `supersedes`, in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from annotator3d.ledger.records import IGNORE, Event
from annotator3d.ledger.schema import Ask, EventKind

VOID = b""
"""Labels of an event of kind IGNORE: no point has a class."""
_NO_CLASS = bytes([IGNORE])


class EventView(NamedTuple):
    """The parts of an event that decide the outcome of its query."""

    id: int
    kind: EventKind
    annotator: str
    supersedes: int | None
    labels: bytes | None  # labels in the current classes, `VOID` for IGNORE; None for other kinds
    ask: Ask | None  # of a request
    created_at: str
    uid: str


def view_of(event: Event) -> EventView:
    """The view of an event of the ledger."""
    answer, labels = event.answer, None
    if answer.kind is EventKind.ANSWER:
        labels = answer.labels.tobytes()
    elif answer.kind is EventKind.IGNORE:
        labels = VOID
    return EventView(
        event.id,
        answer.kind,
        answer.annotator,
        event.supersedes,
        labels,
        event.ask,
        event.created_at,
        event.uid,
    )


def undone_of(events: Iterable[EventView]) -> set[int | None]:
    """Ids of what was taken back."""
    return {e.supersedes for e in events if e.kind is EventKind.UNDO}


def judged_by(events: Iterable[EventView]) -> Callable[[EventView], int]:
    """A function from a review to the id of the response that it judges.

    A review that was done again, after an undo, goes back to the undo.
    """
    by_id = {e.id: e for e in events}

    def judged(review: EventView) -> int:
        at = by_id.get(review.supersedes)
        while at is not None and at.kind is EventKind.UNDO and at.supersedes in by_id:
            undone = by_id[at.supersedes]
            if not undone.kind.is_review:
                break
            review, at = undone, by_id.get(undone.supersedes)
        return review.supersedes

    return judged


def revoked_of(events: Sequence[EventView]) -> set[int | None]:
    """Ids of what was taken back, or rejected by a reviewer."""
    undone, judged = undone_of(events), judged_by(events)
    return undone | {judged(e) for e in events if e.kind is EventKind.REJECT and e.id not in undone}


def ancestors_of(events: Iterable[EventView]) -> Callable[[EventView], set[int]]:
    """A function from an event to the ids of all that it goes back to."""
    link = {e.id: e.supersedes for e in events}

    def before(event: EventView) -> set[int]:
        found: set[int] = set()
        at = event.supersedes
        while at is not None and at not in found:
            found.add(at)
            at = link.get(at)
        return found

    return before


def independence_of(event: EventView, by_id: Mapping[int, EventView]) -> tuple[bool, int | None]:
    """(whether it knew of nobody else's, the request for an opinion that it meets, if any).

    It did not if it goes back, through responses and drafts of the same person only, to nothing or
    to such a request.
    """
    at = by_id.get(event.supersedes)
    while at is not None:
        if at.kind is EventKind.REQUEST:
            return at.ask.is_independent, at.id
        if at.kind.is_undoable and at.annotator != event.annotator:
            return False, None
        at = by_id.get(at.supersedes)
    return True, None


def original_of(events: Iterable[EventView]) -> Callable[[int], int]:
    """A function from the id of what was done again, after an undo, to that of the first time.

    Both are the same act: what went back to the one goes back to the other.
    """
    undone = {e.id: e.supersedes for e in events if e.kind is EventKind.UNDO}
    again = {e.id: undone[e.supersedes] for e in events if e.supersedes in undone}

    def first(id_: int) -> int:
        while id_ in again:
            id_ = again[id_]
        return id_

    return first


def superseded_by(events: Iterable[EventView], valid: Iterable[EventView]) -> set[int]:
    """Ids (`original_of`) of all that valid responses go back to, except for the same act."""
    link, first = {e.id: e.supersedes for e in events}, original_of(events)
    replaced: set[int] = set()
    known: set[int] = set()  # all that is above them is in `replaced` already
    for event in valid:
        at = event.supersedes
        while at is not None and at not in known:
            if first(at) != first(event.id):
                replaced.add(first(at))
                known.add(at)
            at = link.get(at)
    return replaced


def plain(labels: bytes | None) -> bytes | None:
    """Labels in their one normal form: all 255 and IGNORE mean the same."""
    return VOID if labels is not None and not labels.strip(_NO_CLASS) else labels
