"""Closing a round that nobody will finish: training goes on with what is answered."""

from __future__ import annotations

from dataclasses import dataclass

from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.schema import RESPONSES

_KEPT = (*RESPONSES, "draft")  # kinds of event after which a query is not given back


@dataclass(frozen=True)
class Closed:
    """What closing a round found and did."""

    round: int
    asked: int  # queries that are spent now
    answered: int  # of these, answered or passed
    open: int  # of these, still without an answer
    released: int  # given back just now
    held: int = 0  # not given back, since somebody is at work on it, perhaps in a package


def is_closed(ledger: LedgerReader, round: int) -> bool:
    """Whether training need not wait for the open queries of a round."""
    return bool(ledger._rows("SELECT 1 FROM meta WHERE key = ?", _key(round)))


def close_round(ledger: Ledger, round: int, *, annotator: str, release: bool = False) -> Closed:
    """Let training go on with the answers that a round has.

    An open query stays open and spent: an answer that comes later counts from the next epoch on.
    Closing again is allowed. Nothing is lost if the process is killed on the way.

    Args:
        annotator: who closes it.
        release: give the open queries back unspent instead; their voxels may be asked about again.
            One that somebody has worked on (a draft, or an answer that was undone) or holds (on
            the screen, or in a work package) stays open.

    Raises:
        ValueError: there is no such round.
    """
    numbers = [entry.number for entry in ledger.rounds()]
    if round not in numbers:
        there = f"rounds 1 to {numbers[-1]}" if numbers else "no round yet"
        raise ValueError(f"{ledger.path} has {there}, there is no round {round} to close")
    released = held = 0
    for query in ledger.open_queries(round) if release else ():
        if ledger.holder(query.id) is not None:
            held += 1
        elif not any(event.answer.kind in _KEPT for event in ledger.events(query.id)):
            ledger.release(query.id, annotator=annotator)
            released += 1
    with ledger._transaction() as db:
        if not is_closed(ledger, round):
            db.execute(
                "INSERT INTO meta VALUES (?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') || ' ' || ?)",
                (_key(round), annotator),
            )
    asked, waiting = ledger.spent(round), len(ledger.open_queries(round))
    return Closed(round, asked, asked - waiting, waiting, released, held)


def _key(round: int) -> str:
    return f"round_{int(round)}_closed"
