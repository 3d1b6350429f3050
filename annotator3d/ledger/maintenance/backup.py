"""Copies of a ledger that people are working on."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from annotator3d.errors import ConfigError
from annotator3d.ledger import database
from annotator3d.ledger.ledger import Ledger

_DATED = re.compile(r"ledger-\d{8}-\d{6}-\d{6}\.sqlite")


def back_up(path: Path, out: Path, keep: int | None = None) -> Path:
    """Copy a ledger as it stands at one moment, whole or not at all; gives the copy.

    Writers need not stop. The copy is read back before it gets its name.

    Args:
        path: the ledger.
        out: a file that does not exist yet; or a folder, which gets a file named by date and time.
        keep: in a folder, only the newest `keep` of such files stay.

    Raises:
        ConfigError: `keep` without a folder, or less than 1.
        ValueError: `out` is a file already, the ledger is none or is damaged, or the copy came out
            damaged. Older copies stay.
        FileNotFoundError: the folder of `out` does not exist.
    """
    in_folder = out.is_dir()
    if keep is not None and (keep < 1 or not in_folder):
        raise ConfigError("--keep: a number of 1 or more, for a folder that exists")
    if out.exists() and not in_folder:
        raise ValueError(f"{out} exists; name another file, or a folder")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent}; create it first")
    _read(path)
    now = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S-%f")
    copy = out / f"ledger-{now}.sqlite" if in_folder else out
    database.back_up(path, copy, check=lambda part: _check(part, path))
    if keep is not None:
        dated = sorted(p for p in out.iterdir() if _DATED.fullmatch(p.name))
        for old in dated[:-keep]:
            os.unlink(old)
    return copy


def _read(path: Path) -> None:
    """Raise ValueError or FileNotFoundError, in words, unless this is a ledger."""
    try:
        Ledger.read(path).close()
    except ValueError as error:
        if isinstance(error.__cause__, sqlite3.DatabaseError) and _is_database(path):
            raise _damaged(path, str(error.__cause__)) from error
        raise


def _check(copy: Path, path: Path) -> None:
    """Raise ValueError unless the copy is whole, saying which of the two is damaged."""
    found = _damage(copy)
    if found is None:
        return
    if _damage(path) is not None:
        raise _damaged(path, found)
    raise ValueError(f"the copy came out damaged ({found}); check the disk, then try again")


def _damaged(path: Path, found: str) -> ValueError:
    return ValueError(
        f"{path} is damaged ({found}): no copy was made, and older ones stay. `annotator3d "
        f"ledger verify {shlex.quote(str(path))}` says what is wrong; to go back, put an older "
        "backup in its place (docs/ledger.md)"
    )


def _is_database(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _damage(path: Path) -> str | None:
    """The first thing that is wrong with a database file; None if nothing is."""
    try:
        with closing(database.open_reader(path)) as db:
            (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        found = str(error)
    return None if found == "ok" else " ".join(found.split())
