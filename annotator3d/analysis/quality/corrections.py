"""How often a person's answers were changed later, by whom; those that took a proposal apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from annotator3d.ledger.database import tables_to_last
from annotator3d.ledger.lineage import (
    VOID,
    Happened,
    before_of,
    first_done,
    judged_by,
    revoked_of,
    undone_of,
)
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import IGNORE, UNASSIGNED
from annotator3d.ledger.resolution import outcome

Differ = Callable[[Happened, Happened], bool]
"""Whether the second of two responses with labels says otherwise than the first."""

HOW = ("accepted", "typed over", "typed")
"""A proposal was accepted; there was one, and something was typed; there was none."""
_HOW = {1: "accepted", 0: "typed over", None: "typed"}


@dataclass
class Record:
    """What one person answered."""

    answers: Counter[str] = field(default_factory=Counter)  # by `HOW`, the undone ones left out
    corrected: Counter[str] = field(default_factory=Counter)  # of these, those changed later
    by: dict[str, Counter[str]] = field(default_factory=lambda: {how: Counter() for how in HOW})

    @property
    def accepted_share(self) -> float | None:
        """Of the answers for which something was proposed, the share that took it; None: none."""
        offered = self.answers["accepted"] + self.answers["typed over"]
        return self.answers["accepted"] / offered if offered else None


def records(ledger: LedgerReader) -> dict[str, Record]:
    """What everybody answered, by name."""
    accepted = dict(ledger._rows("SELECT id, proposal_accepted FROM events"))
    differ = as_it_was_then(ledger)
    found: dict[str, Record] = defaultdict(Record)
    for _, events in ledger.histories():
        undone, changed = undone_of(events), changed_by(events, differ)
        for event in events:
            if event.said is None or event.id in undone:
                continue
            record, how = found[event.annotator], _HOW[accepted[event.id]]
            record.answers[how] += 1
            if event.id in changed:
                record.corrected[how] += 1
                record.by[how][changed[event.id]] += 1
    return dict(sorted(found.items()))


def otherwise(before: bytes, after: bytes) -> bool:
    """Whether a point that has a class, or none by decision, was given another one.

    Points that wait to be labelled anew, since their class was split, say nothing.
    """
    count = max(len(before), len(after))
    one, other = (
        np.frombuffer(said or bytes([IGNORE]) * count, np.uint8) for said in (before, after)
    )
    return bool(((one != other) & (one != UNASSIGNED) & (other != UNASSIGNED)).any())


def as_today(before: Happened, after: Happened) -> bool:
    """Whether two responses differ in the class list of today."""
    return otherwise(before.said, after.said)


def as_it_was_then(ledger: LedgerReader) -> Differ:
    """Whether two responses differed in the class list of the later one.

    What was a correction stays one, and none comes of it when a class is split or merged later.
    """
    mappings = [m for (m,) in ledger._rows("SELECT mapping FROM taxonomies ORDER BY version")]
    last = len(mappings)
    if last == 1:
        return as_today
    tables = {version: tables_to_last(mappings[:version]) for version in range(1, last + 1)}

    def row(event: Happened) -> tuple[bytes, int]:
        sql = "SELECT labels, taxonomy FROM events WHERE id = ?"
        ((labels, version),) = ledger._rows(sql, event.id)
        return labels or VOID, version

    def differ(before: Happened, after: Happened) -> bool:
        rows = row(before), row(after)
        to = tables[max(version for _, version in rows)]
        return otherwise(*(labels.translate(to[version]) for labels, version in rows))

    return differ


def changed_by(events: Iterable[Happened], differ: Differ = as_today) -> Mapping[int, str]:
    """Id of a response with labels -> who changed it first.

    By other labels in its place, by rejecting it, or by approving another one that says otherwise,
    whatever became of that one: who corrects what was approved does not take the decision back.
    """
    events = sorted(events, key=lambda e: (e.created_at, e.uid))
    undone, judged, found = undone_of(events), judged_by(events), {}
    by_id = {e.id: e for e in events}
    overruled = _overruled(events, differ)
    for event in events:
        if event.id in undone:
            continue
        if event.said is not None:
            before = _replaced(event, by_id, undone)
            if before is not None and differ(before, event):
                found.setdefault(before.id, event.annotator)
        elif event.kind == "reject":
            found.setdefault(judged(event), event.annotator)
        elif event.kind == "approve":
            for response in overruled(judged(event)):
                found.setdefault(response.id, event.annotator)
    return found


def _overruled(events: list[Happened], differ: Differ) -> Callable[[int], list[Happened]]:
    """A function from the id of an approved response to those beside it that say otherwise."""
    where, revoked = outcome(events), revoked_of(events)
    before, first = before_of(events), first_done(events)
    # An answer that was undone and done again is approved under the id of the first time.
    standing = {first(e.id): e for e in events if e.said is not None and e.id not in revoked}
    beside = [e for e in where.current if e.said is not None and e not in where.approved]

    def overruled(approved: int) -> list[Happened]:
        act = first(approved)
        if act not in standing:
            return []
        return [
            e
            for e in beside
            if act not in {first(at) for at in before(e) | {e.id}} and differ(e, standing[act])
        ]

    return overruled


def _replaced(
    event: Happened, by_id: Mapping[int, Happened], undone: set[int | None]
) -> Happened | None:
    """The response with labels that this one was given in place of."""
    at = by_id.get(event.supersedes)
    while at is not None and (at.said is None or at.id in undone):
        at = by_id.get(at.supersedes)
    return at
