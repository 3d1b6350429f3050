"""Commands that are killed on the way, each in a process of its own that no thread has touched."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from killing import die, die_at
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


def _die_at_statement(statement: int, arguments: list[str]) -> int:
    die_at(statement)
    return _run(arguments)


def _die_in(place: str, arguments: list[str]) -> int:
    setattr(os, place, die)
    return _run(arguments)


def _run(arguments: list[str]) -> int:
    from annotator3d.cli.main import main

    return main(arguments)
