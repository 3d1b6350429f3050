"""How often a person's answers were changed later, by whom; those that took a proposal apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from annotator3d.ledger.lineage import (
    VOID,
    EventView,
    ancestors_of,
    judged_by,
    original_of,
    revoked_of,
    undone_of,
)
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import IGNORE, UNASSIGNED
from annotator3d.ledger.resolution import outcome
from annotator3d.ledger.schema import EventKind

Differ = Callable[[EventView, EventView], bool]
"""Whether the second of two responses with labels says otherwise than the first."""

HOW = ("accepted", "typed over", "typed")
"""A proposal was accepted; there was one, and something was typed; there was none."""
_HOW = {True: "accepted", False: "typed over", None: "typed"}


@dataclass
class CorrectionRecord:
    """What one person answered."""

    answers: Counter[str] = field(default_factory=Counter)  # by `HOW`, the undone ones left out
    corrected: Counter[str] = field(default_factory=Counter)  # of these, those changed later
    by: dict[str, Counter[str]] = field(default_factory=lambda: {how: Counter() for how in HOW})

    @property
    def accepted_share(self) -> float | None:
        """Of the answers for which something was proposed, the share that took it; None: none."""
        offered = self.answers["accepted"] + self.answers["typed over"]
        return self.answers["accepted"] / offered if offered else None


def correction_records(ledger: LedgerReader) -> dict[str, CorrectionRecord]:
    """What everybody answered, by name."""
    accepted = ledger.proposals_accepted()
    differ = in_original_classes(ledger)
    found: dict[str, CorrectionRecord] = defaultdict(CorrectionRecord)
    for _, events in ledger.histories():
        undone, changed = undone_of(events), changed_by(events, differ)
        for event in events:
            if event.labels is None or event.id in undone:
                continue
            record, how = found[event.annotator], _HOW[accepted[event.id]]
            record.answers[how] += 1
            if event.id in changed:
                record.corrected[how] += 1
                record.by[how][changed[event.id]] += 1
    return dict(sorted(found.items()))


def otherwise(before: bytes, after: bytes) -> bool:
    """Whether a point that has a class, or none by decision, was given another one.

    Points that have to be labelled again, since their class was split, do not count.
    """
    count = max(len(before), len(after))
    one, other = (
        np.frombuffer(labels or bytes([IGNORE]) * count, np.uint8) for labels in (before, after)
    )
    return bool(((one != other) & (one != UNASSIGNED) & (other != UNASSIGNED)).any())


def in_current_classes(before: EventView, after: EventView) -> bool:
    """Whether two responses differ in the current class list."""
    return otherwise(before.labels, after.labels)


def in_original_classes(ledger: LedgerReader) -> Differ:
    """Whether two responses differed in the class list of the later one.

    What was a correction stays one, and none comes of it when a class is split or merged later.
    """
    last = ledger.taxonomy_version
    if last == 1:
        return in_current_classes
    tables = {version: ledger.tables_to(version) for version in range(1, last + 1)}

    def differ(before: EventView, after: EventView) -> bool:
        written = [ledger.written_labels(event.id) for event in (before, after)]
        to = tables[max(version for _, version in written)]
        return otherwise(*((labels or VOID).translate(to[version]) for labels, version in written))

    return differ


def changed_by(
    events: Iterable[EventView], differ: Differ = in_current_classes
) -> Mapping[int, str]:
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
        if event.labels is not None:
            before = _replaced(event, by_id, undone)
            if before is not None and differ(before, event):
                found.setdefault(before.id, event.annotator)
        elif event.kind is EventKind.REJECT:
            found.setdefault(judged(event), event.annotator)
        elif event.kind is EventKind.APPROVE:
            for response in overruled(judged(event)):
                found.setdefault(response.id, event.annotator)
    return found


def _overruled(events: list[EventView], differ: Differ) -> Callable[[int], list[EventView]]:
    """A function from the id of an approved response to those beside it that say otherwise."""
    where, revoked = outcome(events), revoked_of(events)
    before, first = ancestors_of(events), original_of(events)
    # An answer that was undone and done again is approved under the id of the first time.
    standing = {first(e.id): e for e in events if e.labels is not None and e.id not in revoked}
    beside = [e for e in where.active_responses if e.labels is not None and e not in where.approved]

    def overruled(approved: int) -> list[EventView]:
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
    event: EventView, by_id: Mapping[int, EventView], undone: set[int | None]
) -> EventView | None:
    """The response with labels that this one was given in place of."""
    at = by_id.get(event.supersedes)
    while at is not None and (at.labels is None or at.id in undone):
        at = by_id.get(at.supersedes)
    return at
