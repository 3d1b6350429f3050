"""Commands that are killed on the way, each in a process of its own that no thread has touched."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from processes import ended, start


def killed_at(statement: int, arguments: Sequence[str], log: Path) -> bool:
    """Run a command; whether SIGKILL ended it before the SQL statement of that number, from 0.

    Fails if the command does.
    """
    return _was_killed(start(_die_at_statement, statement, list(arguments), env={}, log=log))


def killed_in(place: str, arguments: Sequence[str], log: Path) -> bool:
    """As `killed_at`, at the first call of a function of `os`, such as "fsync"."""
    return _was_killed(start(_die_in, place, list(arguments), env={}, log=log))


def _was_killed(process) -> bool:
    code = ended(process)
    assert code in (0, -signal.SIGKILL), process.log.read_text()
    return code != 0


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at_statement(statement: int, arguments: list[str]) -> int:
    left, plain = [statement], sqlite3.connect

    def tick(_: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            _die()

    def connect(*values, **options) -> sqlite3.Connection:
        db = plain(*values, **options)
        db.set_trace_callback(tick)
        return db

    sqlite3.connect = connect
    return _run(arguments)


def _die_in(place: str, arguments: list[str]) -> int:
    setattr(os, place, _die)
    return _run(arguments)


def _run(arguments: list[str]) -> int:
    from annotator3d.cli.main import main

    return main(arguments)
