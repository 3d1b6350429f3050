"""Copies of a ledger that people are working on."""

from __future__ import annotations

import os
import re
import sqlite3
from datetime import datetime, timezone
from pathlib import Path

from annotator3d.active import storage
from annotator3d.active.ledger import Ledger
from annotator3d.errors import ConfigError

_DATED = re.compile(r"ledger-\d{8}-\d{6}-\d{6}\.sqlite")


def back_up(path: Path, out: Path, keep: int | None = None) -> Path:
    """Copy a ledger as it stands at one moment, whole or not at all; gives the copy.

    Writers need not stop. The copy is read back before it gets its name.

    Args:
        path: the ledger.
        out: a file that there is not yet; or a folder, which gets a file named by date and time.
        keep: in a folder, only the newest `keep` of such files stay.

    Raises:
        ConfigError: `keep` without a folder, or less than 1.
        ValueError: `out` is a file already, the ledger is none, or the copy came out damaged.
        FileNotFoundError: the folder of `out` does not exist.
    """
    in_folder = out.is_dir()
    if keep is not None and (keep < 1 or not in_folder):
        raise ConfigError("--keep: a number of 1 or more, for a folder that exists")
    if out.exists() and not in_folder:
        raise ValueError(f"{out} exists; name another file, or a folder")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent}; create it first")
    Ledger.read(path).close()  # in words, if it is none
    now = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S-%f")
    copy = out / f"ledger-{now}.sqlite" if in_folder else out
    storage.back_up(path, copy, check=_check)
    if keep is not None:
        dated = sorted(p for p in out.iterdir() if _DATED.fullmatch(p.name))
        for old in dated[:-keep]:
            os.unlink(old)
    return copy


def _check(copy: Path) -> None:
    db = sqlite3.connect(copy)
    try:
        (found,) = db.execute("PRAGMA integrity_check").fetchone()
    finally:
        db.close()
    if found != "ok":
        raise ValueError(f"the copy came out damaged ({found}); check the disk, then try again")
