"""What every person has spent on every query: seconds and clicks, from the events of a ledger."""

from __future__ import annotations

from dataclasses import dataclass

from annotator3d.active.reading import LedgerReader
from annotator3d.active.records import IGNORE, UNASSIGNED, Answer, Query
from annotator3d.active.schema import RESPONSES, REVIEWS


@dataclass
class Work:
    """All that one person did about one query: first answer, second looks, drafts, reviews."""

    query: Query
    annotator: str
    answered: bool = False  # else only a draft or a review
    seconds: float | None = None  # None: nothing was timed, as by an automatic oracle
    clicks: int = 0
    given: int = 0  # answers, each correction one of its own; the undone ones left out
    answering: float | None = None  # of `seconds` those of answers, the undone ones too
    classes: int = 1  # in their last answer
    proposal: bool | None = None  # accepted (true), typed over (false), none (null)

    def add(self, answer: Answer) -> None:
        """Count what an event took."""
        if answer.seconds is not None:
            self.seconds = (self.seconds or 0.0) + answer.seconds
        self.clicks += answer.clicks or 0


def work_of(ledger: LedgerReader) -> list[Work]:
    """All work, in the order in which it was begun; that of an unfinished draft too."""
    queries = {query.id: query for query in ledger.queries()}
    found: dict[tuple[int, str], Work] = {}
    drafts: dict[int, Answer] = {}  # what a query's draft took is in its next response again
    events = sorted(ledger.events(), key=lambda e: (e.created_at, e.uid))
    undone = {event.supersedes for event in events if event.answer.kind == "undo"}

    def work(query: int, annotator: str) -> Work:
        return found.setdefault((query, annotator), Work(queries[query], annotator))

    for event in events:
        answer, kind = event.answer, event.answer.kind
        if event.query not in queries:
            continue
        if kind == "draft":
            drafts[event.query] = answer
        elif kind in RESPONSES:
            drafts.pop(event.query, None)
            each = work(event.query, answer.annotator)
            each.add(answer)
            each.given += event.id not in undone
            if answer.seconds is not None:
                each.answering = (each.answering or 0.0) + answer.seconds
            each.answered, each.proposal = True, answer.proposal_accepted
            each.classes = _classes(answer)
        elif kind in REVIEWS:
            work(event.query, answer.annotator).add(answer)
    for query, answer in drafts.items():
        work(query, answer.annotator).add(answer)
    return list(found.values())


def _classes(answer: Answer) -> int:
    if answer.labels is None:
        return 1
    return max(1, len(set(answer.labels.tobytes()) - {IGNORE, UNASSIGNED}))
