"""What every person has spent on every query: seconds and clicks, from the events of a ledger."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import IGNORE, UNASSIGNED, Answer, Query
from annotator3d.ledger.schema import EventKind


@dataclass
class Effort:
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


def effort_by_query(ledger: LedgerReader) -> list[Effort]:
    """All work, in the order in which it was begun; that of an unfinished draft too."""
    queries = {query.id: query for query in ledger.queries()}
    found: dict[tuple[int, str], Effort] = {}
    drafts: dict[int, Answer] = {}  # what a query's draft took is in its next response again
    events = sorted(ledger.events(), key=lambda e: (e.created_at, e.uid))
    undone = {event.supersedes for event in events if event.answer.kind is EventKind.UNDO}

    def work(query: int, annotator: str) -> Effort:
        return found.setdefault((query, annotator), Effort(queries[query], annotator))

    for event in events:
        answer, kind = event.answer, event.answer.kind
        if event.query not in queries:
            continue
        if kind is EventKind.DRAFT:
            drafts[event.query] = answer
        elif kind.settles:
            drafts.pop(event.query, None)
            each = work(event.query, answer.annotator)
            each.add(answer)
            each.given += event.id not in undone
            if answer.seconds is not None:
                each.answering = (each.answering or 0.0) + answer.seconds
            each.answered, each.proposal = True, answer.proposal_accepted
            each.classes = _classes(answer)
        elif kind.is_review:
            work(event.query, answer.annotator).add(answer)
    for query, answer in drafts.items():
        work(query, answer.annotator).add(answer)
    return list(found.values())


def _classes(answer: Answer) -> int:
    if answer.labels is None:
        return 1
    return max(1, len(set(answer.labels.tobytes()) - {IGNORE, UNASSIGNED}))


@dataclass(frozen=True)
class RoundCost:
    """The cost of one round, or of all up to it."""

    round: int
    voxels: int  # asked and not released
    points: int  # that were asked about, in these voxels
    answered: int  # voxels with labels
    labelled_points: int  # points with a class, in answered voxels
    void_voxels: int  # answered, and no point has a class
    classes_per_voxel: float  # mean over the answered voxels that are not void; 0 if none
    seconds: float  # all that was recorded: taken-back answers, drafts and reviews too
    clicks: int


def round_costs(ledger: LedgerReader, cumulative: bool = False) -> list[RoundCost]:
    """One meter per round, of that round alone or of all rounds up to it; from the ledger only."""
    parts: dict[int, list[tuple[Query, Answer | None]]] = defaultdict(list)
    for query, answer in ledger.responses():
        parts[query.round].append((query, answer))
    effort = _effort(ledger)
    meters, numbers = [], []
    for entry in ledger.rounds():
        numbers = [*numbers, entry.number] if cumulative else [entry.number]
        part = [item for number in numbers for item in parts[number]]
        seconds = sum(effort[number][0] for number in numbers)
        clicks = sum(effort[number][1] for number in numbers)
        meters.append(_meter(entry.number, part, float(seconds), int(clicks)))
    return meters


def round_cost(ledger: LedgerReader, round: int, cumulative: bool = False) -> RoundCost:
    """The meter of one round. Raises ValueError if there is no such round."""
    meters = round_costs(ledger, cumulative)
    if not 1 <= round <= len(meters):
        raise ValueError(f"{ledger.path} has rounds 1 to {len(meters)}, there is no round {round}")
    return meters[round - 1]


def _meter(
    round: int, part: list[tuple[Query, Answer | None]], seconds: float, clicks: int
) -> RoundCost:
    given = [_labels(query, answer) for query, answer in part]
    answers = [labels[labels != IGNORE] for labels in given if labels is not None]
    distinct = [len(set(labels.tobytes())) for labels in answers if len(labels)]
    return RoundCost(
        round=round,
        voxels=len(part),
        points=sum(query.num_labels for query, _ in part),
        answered=len(answers),
        labelled_points=sum(len(labels) for labels in answers),
        void_voxels=len(answers) - len(distinct),
        classes_per_voxel=float(np.mean(distinct)) if distinct else 0.0,
        seconds=seconds,
        clicks=clicks,
    )


def _labels(query: Query, answer: Answer | None) -> np.ndarray | None:
    """[n] with 255 also where a class was split; None without an answer that says anything."""
    if answer is not None and answer.kind is EventKind.IGNORE:
        return np.full(query.num_labels, IGNORE, np.uint8)
    if answer is None or answer.labels is None or (answer.labels == UNASSIGNED).all():
        return None
    return np.where(answer.labels == UNASSIGNED, np.uint8(IGNORE), answer.labels)


def _effort(ledger: LedgerReader) -> dict[int, tuple[float, int]]:
    """Seconds and clicks of all work, by round."""
    found: dict[int, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for work in effort_by_query(ledger):
        seconds, clicks = found[work.query.round]
        found[work.query.round] = (seconds + (work.seconds or 0.0), clicks + work.clicks)
    return found
