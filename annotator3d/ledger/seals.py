"""Seals: each row carries a checksum of all that was written in it.

A bit that a disk has flipped, and an edit by other software, change a row but not its seal. Rows
are inserted here only, so that each has one; those of other software and of ledgers of earlier
versions may have none (NULL).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from annotator3d.ledger.checksums import COLUMNS as TRAVELLING
from annotator3d.ledger.checksums import matches
from annotator3d.ledger.schema import NOW

COLUMNS: dict[str, tuple[str, ...]] = {
    "meta": ("key", "value"),
    "taxonomies": ("version", "digest", "classes", "mapping", "created_at"),
    "scans": ("id", "fingerprint", "num_points", "created_at"),
    "rounds": (
        "round", "strategy", "seed", "budget", "max_queries", "num_queries", "epoch", "source",
        "created_at",
    ),
    "queries": (
        "id", "round", "position", "scan", "x", "y", "z", "rank", "score", "num_points", "asked_at",
        "label_points",
    ),
    "events": (
        "id", "query", "kind", "labels", "taxonomy", "annotator", "seconds", "clicks",
        "proposal_accepted", "note", "supersedes", "created_at", "action", "ask", "uid",
    ),
}  # fmt: skip
"""The columns of each table but ``seal``, in their order; the seal is of these."""

# The last columns that a later version has added: where they are NULL, rows keep their first seal.
_ADDED = {"queries": 1}
_ROW_NAMES = {"meta": "key", "taxonomies": "version", "rounds": "round"}  # others: id
_WRITTEN_AT = {"scans": "created_at", "queries": "asked_at"}
_REAL = {"score", "seconds"}
_encode = json.JSONEncoder(default=bytes.hex).encode
_UID, _SEALED_BY_UID = (
    COLUMNS["events"].index("uid"),
    [COLUMNS["events"].index(name) for name in TRAVELLING],
)


def seal_of(table: str, values: Sequence[Any]) -> str:
    """The seal of a row: a checksum of its values, in the order of `COLUMNS`."""
    if (added := _ADDED.get(table)) and all(value is None for value in values[-added:]):
        values = values[:-added]
    # SQLite gives back floats to the last bit, and json writes them so that they can be read back
    return hashlib.blake2b(_encode(values).encode(), digest_size=8).hexdigest()


def insert(db: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int:
    """Insert a row with its seal in the transaction that is open; returns its rowid.

    Args:
        row: values by column; left out: the id (the next one), the time (now), NULL. A seal that is
            given must be the right one; None: the row was never sealed, and is not now.

    Raises:
        ValueError: the seal is of another row, or the row is not there afterwards.
        sqlite3.IntegrityError: a rule of the database forbids it.
    """
    row = dict(row)
    given = row.pop("seal", "")
    if "id" in COLUMNS[table] and row.get("id") is None:
        row["id"] = db.execute(f"SELECT COALESCE(MAX(id), 0) + 1 FROM {table}").fetchone()[0]
    written_at = _WRITTEN_AT.get(table, "created_at")
    if written_at in COLUMNS[table] and row.get(written_at) is None:
        (row[written_at],) = db.execute(f"SELECT {NOW}").fetchone()
    values = [plain(name, row.pop(name, None)) for name in COLUMNS[table]]
    if row:
        raise ValueError(f"{table} has no column {', '.join(row)}")
    seal = None if given is None else seal_of(table, values)
    marks = ", ".join("?" * (len(values) + 1))
    names = ", ".join((*COLUMNS[table], "seal"))
    cursor = db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", (*values, seal))
    if cursor.rowcount != 1:
        raise ValueError(
            f"the row was not kept, and no rule of a ledger forbids it: another trigger of {table} "
            "does; `annotator3d ledger verify` names it"
        )
    if given and given != seal:
        raise ValueError("it has changed since it was written: the checksum in its seal differs")
    return int(cursor.lastrowid or 0)


def changed_rows(db: sqlite3.Connection, tables: Sequence[str] = tuple(COLUMNS)) -> Iterator[str]:
    """Rows that are not as they were written, in words, one by one."""
    for table in tables:
        at = COLUMNS[table].index(_ROW_NAMES.get(table, "id"))
        columns = ", ".join((*COLUMNS[table], "seal"))
        # NOT INDEXED: what the table holds, and not what an index says that it holds
        for *values, seal in db.execute(f"SELECT {columns} FROM {table} NOT INDEXED"):
            if is_changed(table, values, seal):
                yield f"{_name(table, values[at], values)} has changed since it was written"


def is_changed(table: str, values: Sequence[Any], seal: str | None) -> bool:
    """Whether a row is not the one that was sealed; an event without a seal may have that of its
    uid."""
    if seal is not None:
        return seal != seal_of(table, values)
    return table == "events" and not matches(values[_UID], [values[i] for i in _SEALED_BY_UID])


def undecodable(db: sqlite3.Connection) -> Iterator[str]:
    """Texts that are no UTF-8 and where they are, in words, one by one."""
    plain, db.text_factory = db.text_factory, bytes
    try:
        for table, columns in COLUMNS.items():
            names = ", ".join(
                f"CASE typeof({name}) WHEN 'text' THEN {name} END" for name in columns
            )
            key = _ROW_NAMES.get(table, "id")
            for row, *texts in db.execute(f"SELECT {key}, {names} FROM {table} NOT INDEXED"):
                for column, text in zip(columns, texts, strict=True):
                    if text is not None and not _is_utf8(text):
                        where = row.decode(errors="replace") if isinstance(row, bytes) else row
                        yield f"{_name(table, where)}: {column} is no UTF-8 text: {text[:40]!r}"
    finally:
        db.text_factory = plain


def _name(table: str, row: object, values: Sequence[Any] = ()) -> str:
    if table == "events" and values:
        return f"event {row} of query {values[1]}"
    words = {"meta": "setting", "taxonomies": "class list", "queries": "query"}
    return f"{words.get(table, table.removesuffix('s'))} {row}"


def plain(name: str, value: Any) -> Any:
    """A value as SQLite will give it back."""
    if value is None or isinstance(value, bytes):
        return value
    if name in _REAL:
        return float(value) + 0.0  # SQLite does not keep the sign of -0.0
    if isinstance(value, str):
        return str(value)
    return int(value) if hasattr(value, "__index__") else value


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
