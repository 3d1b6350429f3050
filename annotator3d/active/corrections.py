"""How often a person's answers were changed later, by whom; those that took a proposal apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from annotator3d.active.lineage import Happened, judged_by, plain, undone_of
from annotator3d.active.reading import LedgerReader
from annotator3d.active.resolution import outcome

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
    found: dict[str, Record] = defaultdict(Record)
    for _, events in ledger.histories():
        undone, changed = undone_of(events), changed_by(events)
        for event in events:
            if event.said is None or event.id in undone:
                continue
            record, how = found[event.annotator], _HOW[accepted[event.id]]
            record.answers[how] += 1
            if event.id in changed:
                record.corrected[how] += 1
                record.by[how][changed[event.id]] += 1
    return dict(sorted(found.items()))


def changed_by(events: Iterable[Happened]) -> Mapping[int, str]:
    """Id of a response with labels -> who changed it first.

    By other labels in its place, by rejecting it, or by approving another one that says otherwise.
    """
    events = sorted(events, key=lambda e: (e.created_at, e.uid))
    undone, judged, found = undone_of(events), judged_by(events), {}
    by_id = {e.id: e for e in events}
    where = outcome(events)
    decided = where.in_force.said if where.in_force in where.approved else None
    lost = [e for e in where.current if e.said is not None and plain(e.said) != plain(decided)]
    for event in events:
        if event.id in undone:
            continue
        if event.said is not None:
            before = _replaced(event, by_id, undone)
            if before is not None and plain(before.said) != plain(event.said):
                found.setdefault(before.id, event.annotator)
        elif event.kind == "reject":
            found.setdefault(judged(event), event.annotator)
        elif event.kind == "approve" and decided is not None:
            for response in lost:
                found.setdefault(response.id, event.annotator)
    return found


def _replaced(
    event: Happened, by_id: Mapping[int, Happened], undone: set[int | None]
) -> Happened | None:
    """The response with labels that this one was given in place of."""
    at = by_id.get(event.supersedes)
    while at is not None and (at.said is None or at.id in undone):
        at = by_id.get(at.supersedes)
    return at
