"""Closing a round that nobody will finish: training goes on with what is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from annotator3d.ledger.events import append
from annotator3d.ledger.leases import Leases
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import Answer
from annotator3d.ledger.rounds import mark_closed
from annotator3d.ledger.schema import EventKind


@dataclass(frozen=True)
class CloseResult:
    """What closing a round found and did."""

    round: int
    asked: int  # queries that are spent now
    answered: int  # of these, answered or passed
    open: int  # of these, still without an answer
    released: int  # given back just now
    held: int = 0  # not given back, since somebody is at work on it, perhaps in a package


def close_rounds(
    ledger: LedgerReader, leases: Leases, rounds: Sequence[int], annotator: str, release: bool
) -> list[CloseResult]:
    """See `Ledger.close_rounds`."""
    with ledger.file.transaction():  # all of it, or nothing
        numbers = [entry.number for entry in ledger.rounds()]
        for round in rounds:
            if round not in numbers:
                there = f"rounds 1 to {numbers[-1]}" if numbers else "no round yet"
                raise ValueError(f"{ledger.path} has {there}, there is no round {round} to close")
        return [_close(ledger, leases, round, annotator, release) for round in rounds]


def _close(
    ledger: LedgerReader, leases: Leases, round: int, annotator: str, release: bool
) -> CloseResult:
    released = held = 0
    for query in ledger.open_queries(round) if release else ():
        lease = leases.of(query.id)
        if lease is not None and not lease.is_of_wrong_clock:
            held += 1
        elif not any(event.answer.kind.is_undoable for event in ledger.events(query.id)):
            append(ledger.file, query.id, Answer(EventKind.RELEASE, None, annotator), None)
            released += 1
    mark_closed(ledger.file, round, annotator)
    asked, waiting = ledger.spent(round), len(ledger.open_queries(round))
    return CloseResult(round, asked, asked - waiting, waiting, released, held)
