"""Ledgers with one bit that a disk has flipped, and what is kept of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def flip_bit(path: Path, table: str, column: str, where: str = "1", place: int = -1) -> None:
    """Flip the lowest bit of one value: of a text or blob of the byte at `place`."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        triggers = triggers.fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        sql = f"SELECT rowid, {column} FROM {table} WHERE {where} AND {column} IS NOT NULL"
        row, value = db.execute(f"{sql} ORDER BY rowid LIMIT 1").fetchone()
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute(
            f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (_flipped(value, place), row)
        )
        for _, sql in triggers:
            db.execute(sql)


def _flipped(value: object, place: int) -> object:
    if isinstance(value, int):
        return value ^ 1
    if isinstance(value, float):
        return value + 0.5
    raw = bytearray(value.encode() if isinstance(value, str) else value)
    raw[place] ^= 1
    return raw.decode() if isinstance(value, str) else bytes(raw)


def break_text(path: Path, text: bytes, broken: bytes) -> None:
    """Replace bytes of the file itself, as a disk does; of the same length."""
    assert len(text) == len(broken)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    assert text in content
    path.write_bytes(content.replace(text, broken))
