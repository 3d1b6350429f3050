"""Processes that are killed in the middle of what they write to a ledger."""

from __future__ import annotations

import os
import signal
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path


def die(*_: object) -> None:
    """What a power cut does to this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed(work: Callable[[], object]) -> bool:
    """Run `work` in a fork of this process; whether SIGKILL ended it. Fails if `work` does."""
    with warnings.catch_warnings():  # from 3.12 on, that this process has threads
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert status == 0, "the work failed before it was killed"
    return False


def killed_at(statement: int, work: Callable[[], object]) -> bool:
    """As `killed`, before the SQL statement of that number, from 0, of all its connections."""

    def dying() -> None:
        die_at(statement)
        work()

    return killed(dying)


def die_at(statement: int) -> None:
    """Have this process die before that SQL statement, from 0, of connections made from now on."""
    left, plain = [statement], sqlite3.connect

    def tick(_: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            die()

    def connect(*arguments, **options) -> sqlite3.Connection:
        db = plain(*arguments, **options)
        db.set_trace_callback(tick)
        return db

    sqlite3.connect = connect


def killed_while_writing(path: Path) -> None:
    """A process dies after a part of what it writes has reached the disk, before it is whole."""

    def write() -> None:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA cache_size = 1")  # so that pages reach the disk before the commit
        db.execute("BEGIN IMMEDIATE")
        sql = "INSERT INTO events (query, kind, annotator, note) VALUES (1, 'note', 'ann', ?)"
        db.executemany(sql, [("x" * 3000,)] * 100)
        die()

    assert killed(write)
    left = [path.with_name(f"{path.name}-{name}") for name in ("journal", "wal")]
    assert any(file.is_file() and file.stat().st_size for file in left)
