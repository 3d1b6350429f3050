"""Copies of a ledger that people are working on."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
from datetime import datetime, timezone
from pathlib import Path

from annotator3d.errors import ConfigError
from annotator3d.ledger import database
from annotator3d.ledger.connection import DamagedLedgerError
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.maintenance.verify import verify

_MOST_WORDS = 200  # characters of what is wrong in a message
_DATED = re.compile(r"ledger-\d{8}-\d{6}-\d{6}\.sqlite")


def back_up(path: Path, out: Path, keep: int | None = None) -> Path:
    """Copy a ledger as it stands at one moment, whole or not at all; gives the copy.

    Writers need not stop. The copy is verified, as `verify` does, before it gets its name.

    Args:
        path: the ledger.
        out: a file that does not exist yet; or a folder, which gets a file named by date and time.
        keep: in a folder, only this copy and the newest ones besides stay, `keep` in all. "Newest"
            is by the time in their names; this copy stays, whatever the clock says.

    Raises:
        ConfigError: `keep` without a folder, or less than 1.
        ValueError: `out` is a file already, the ledger is none or is damaged, or the copy came out
            damaged. Older copies stay.
        FileNotFoundError: the folder of `out` does not exist.
    """
    in_folder = out.is_dir()
    if keep is not None and (keep < 1 or not in_folder):
        raise ConfigError("--keep: a number of 1 or more, for a folder that exists")
    if os.path.lexists(out) and not in_folder:
        raise ValueError(f"{out} exists; name another file, or a folder")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent}; create it first")
    _refuse_damaged(path)
    now = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S-%f")
    copy = out / f"ledger-{now}.sqlite" if in_folder else out
    database.back_up(path, copy, check=lambda part: _check(part, path))
    if keep is not None:
        others = (p for p in out.iterdir() if _DATED.fullmatch(p.name) and p != copy)
        for old in sorted(others, reverse=True)[keep - 1 :]:
            os.unlink(old)
    return copy


def _refuse_damaged(path: Path) -> None:
    """Raise ValueError or FileNotFoundError, in words, unless this is a ledger and is whole."""
    try:
        Ledger.read(path).close()
    except DamagedLedgerError as error:
        raise _damaged(path, error.problem) from error
    except ValueError as error:
        if isinstance(error.__cause__, sqlite3.DatabaseError) and _is_database(path):
            raise _damaged(path, str(error.__cause__)) from error
        raise


def _check(copy: Path, path: Path) -> None:
    """Raise ValueError unless the copy is whole, saying which of the two is damaged."""
    if (found := _damage(copy)) is None:
        return
    if _damage(path) is not None:
        raise _damaged(path, found)
    raise ValueError(f"the copy came out damaged ({found}); check the disk, then try again")


def _damage(path: Path) -> str | None:
    """The first thing that is wrong with a ledger; None if nothing is."""
    return next(iter(verify(path).problems), None)


def _damaged(path: Path, found: str) -> ValueError:
    return ValueError(
        f"{path} is damaged ({found[:_MOST_WORDS]}): no copy was made, and older ones stay. "
        f"`annotator3d ledger verify {shlex.quote(str(path))}` says what is wrong; to go back, put "
        "an older backup in its place (docs/ledger.md)"
    )


def _is_database(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(16) == b"SQLite format 3\0"
