"""Writing what one action of a person does: its rows in one transaction, or none of them.

They are refused if they no longer fit what the person was shown, so that nobody answers over what
somebody else has just done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from annotator3d.ledger.events import append, checked_labels
from annotator3d.ledger.leases import Leases, is_released
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import IGNORE, UNASSIGNED, Answer
from annotator3d.ledger.resolution import outcome, visible_and_parent
from annotator3d.ledger.schema import EventKind

PREVIOUS = -1


class ConflictError(ValueError):
    """Somebody else came first: nothing was written. `queries` are those that have changed."""

    def __init__(self, message: str, queries: Sequence[int]) -> None:
        super().__init__(message)
        self.queries = tuple(queries)


@dataclass(frozen=True)
class EventDraft:
    """One row of an action, before it is written."""

    query: int
    answer: Answer  # of a kind that can be undone, a review, or undo
    seen: int | None  # the response or draft that the person saw on top, None if there was none
    supersedes: int | None  # the event that this one is about; `PREVIOUS`: the one before it


def write_action(
    ledger: LedgerReader, leases: Leases, drafts: Sequence[EventDraft], annotator: str
) -> list[int]:
    """See `Ledger.act`."""
    checked = [(draft, _checked(ledger, draft, annotator)) for draft in drafts]
    written: list[int] = []
    with ledger.file.transaction():
        for draft in drafts:
            _refuse_conflict(ledger, leases, draft, annotator)
        for draft, answer in checked:
            first = written[0] if written else None
            about = written[-1] if draft.supersedes == PREVIOUS else draft.supersedes
            written.append(append(ledger.file, draft.query, answer, about, first))
    return written


def _checked(ledger: LedgerReader, draft: EventDraft, annotator: str) -> Answer:
    query, answer = ledger.query(draft.query), replace(draft.answer, annotator=annotator)
    if not answer.kind.carries_labels:
        return answer
    besides = (IGNORE, UNASSIGNED) if answer.kind is EventKind.DRAFT else (IGNORE,)
    count = len(ledger.taxonomy_names)
    return replace(answer, labels=checked_labels(query, answer.labels, count, besides))


def _refuse_conflict(
    ledger: LedgerReader, leases: Leases, draft: EventDraft, annotator: str
) -> None:
    lease = leases.of(draft.query)
    if is_released(ledger.file, draft.query):
        why = "was released and takes no answer"
    elif lease is not None and lease.annotator != annotator:
        why = f"is {lease.description}"
    elif _visible(ledger, draft.query, annotator) != draft.seen:
        why = f"was changed by {_last_annotator(ledger, draft.query)} since it was shown"
    else:
        return
    raise ConflictError(f"query {draft.query} {why}; nothing was written", [draft.query])


def _visible(ledger: LedgerReader, query_id: int, annotator: str) -> int | None:
    events = ledger.history(query_id)
    return visible_and_parent(events, outcome(events), annotator)[0]


def _last_annotator(ledger: LedgerReader, query_id: int) -> str:
    ((who,),) = ledger.file.rows(
        f"SELECT annotator FROM events WHERE query = ? AND kind != '{EventKind.LEASE}'"
        " ORDER BY id DESC LIMIT 1",
        query_id,
    )
    return who
