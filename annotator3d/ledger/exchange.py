"""Events of one ledger in another one: what a merge of a work package reads and writes.

Events are told apart by their uid; ids are those of each file. The rules of the database hold for
what is inserted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from annotator3d.ledger import seals
from annotator3d.ledger.bounds import beyond
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.schema import EventKind

_COLUMNS = (
    "query, kind, labels, taxonomy, annotator, seconds, clicks, proposal_accepted, note,"
    " created_at, ask, uid"
)
_COMPARED = {
    "query": (
        "queries",
        "id, round, position, scan, x, y, z, rank, score, num_points, label_points",
    ),
    "scan": ("scans", "id, fingerprint, num_points"),
}


class StoredEvent(NamedTuple):
    """A row of `events` as it is stored."""

    id: int
    supersedes: int | None
    action: int | None
    values: tuple  # of `_COLUMNS`

    @property
    def query(self) -> int:
        return self.values[0]

    @property
    def kind(self) -> EventKind:
        return EventKind(self.values[1])

    @property
    def annotator(self) -> str:
        return self.values[4]

    @property
    def uid(self) -> str:
        return self.values[-1]


def stored_events(ledger: LedgerReader) -> list[StoredEvent]:
    """All events but leases, by id."""
    rows = ledger.file.rows(
        f"SELECT id, supersedes, action, {_COLUMNS} FROM events WHERE kind != '{EventKind.LEASE}'"
        " ORDER BY id"
    )
    return [StoredEvent(*row[:3], row[3:]) for row in rows]


def insert_stored(
    ledger: LedgerReader, event: StoredEvent, supersedes: int | None, action: int | None
) -> int:
    """Insert an event of another ledger in the transaction that is open; returns its id here.

    Args:
        supersedes, action: ids here of what the event points to.

    Raises ValueError, saying why, if a rule of the database forbids it.
    """
    row = dict(zip(_COLUMNS.split(", "), event.values, strict=True))
    if (problem := beyond("events", row)) is not None:
        raise ValueError(problem)
    try:
        row |= {"supersedes": supersedes, "action": action}
        return seals.insert(ledger.file.db, "events", row)
    except sqlite3.IntegrityError as error:
        raise ValueError(str(error)) from error


def ids_by_uid(ledger: LedgerReader) -> dict[str, int]:
    """uid -> id of every event."""
    return dict(ledger.file.rows("SELECT uid, id FROM events"))


def released_queries(ledger: LedgerReader) -> set[int]:
    """Ids of the queries that were given back."""
    return {
        query
        for (query,) in ledger.file.rows(
            f"SELECT query FROM events WHERE kind = '{EventKind.RELEASE}'"
        )
    }


def undo_by_event(ledger: LedgerReader) -> dict[int, int]:
    """Id of what was taken back -> id of the undo."""
    return dict(
        ledger.file.rows(f"SELECT supersedes, id FROM events WHERE kind = '{EventKind.UNDO}'")
    )


def class_lists(ledger: LedgerReader) -> list[tuple]:
    """Every class list that the ledger ever had, as stored, in order; to be compared."""
    return ledger.file.rows(
        "SELECT version, digest, classes, mapping FROM taxonomies ORDER BY version"
    )


def differing_rows(home: LedgerReader, away: LedgerReader) -> Iterator[tuple[str, object, bool]]:
    """("query" or "scan", its id, whether home has that id) where home lacks a row or differs."""
    for what, (table, columns) in _COMPARED.items():
        for row in away.file.rows(f"SELECT {columns} FROM {table}"):
            here = home.file.rows(f"SELECT {columns} FROM {table} WHERE id = ?", row[0])
            if here != [row]:
                yield what, row[0], bool(here)
