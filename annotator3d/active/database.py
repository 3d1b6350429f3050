"""Connections to ledger files and packages: journal, durability, and what a kill left behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

from annotator3d.active import schema, storage

WAIT = 60.0  # seconds to wait for another writer
_IS_PACKAGE = "SELECT 1 FROM sqlite_master WHERE name = 'package'"


def connect(path: Path, read_only: bool, network: bool) -> sqlite3.Connection:
    db = open_reader(path, network) if read_only else _open(path, "rwc")
    try:
        if read_only:
            if network and db.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                raise ValueError(
                    f"{path} lies on a network file system and still has a WAL journal; open it "
                    "once for writing on this host (annotator3d does it) before reading it"
                )
            return db
        if db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            require_ledger(db, path)  # before anything is changed in somebody else's file
        # A package is mailed: nothing may lie beside it.
        alone = network or db.execute(_IS_PACKAGE).fetchone() is not None
        _set_journal(db, "DELETE" if alone else "WAL")
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "recursive_triggers = ON"):
            db.execute(f"PRAGMA {pragma}")
        return db
    except BaseException:
        db.close()
        raise


def open_reader(path: Path, network: bool) -> sqlite3.Connection:
    """For reading; what a process had half written when it was killed is undone first.

    That happens with a rollback journal: while the file is made, on network disks, in packages.
    """
    db = _open(path, "ro")
    try:
        db.execute("SELECT COUNT(*) FROM sqlite_master")
        return db
    except sqlite3.DatabaseError as error:
        db.close()
        if "readonly" not in str(error):
            raise
    lock = storage.HostLock(path) if network else None
    try:
        with closing(_open(path, "rw")) as writer:
            writer.execute("SELECT COUNT(*) FROM sqlite_master")
    except sqlite3.OperationalError as error:
        raise OSError(
            f"{path}: a process was killed while it wrote, and what it had half written cannot be "
            f"undone from here ({error}); open it once where its folder may be written to"
        ) from error
    finally:
        if lock is not None:
            lock.release()
    return _open(path, "ro")


def _open(path: Path, mode: str) -> sqlite3.Connection:
    # isolation_level=None: transactions are ours to begin, not the module's.
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=WAIT, isolation_level=None)


def _set_journal(db: sqlite3.Connection, mode: str) -> None:
    # SQLite does not wait here by itself when another process makes the same change.
    deadline = monotonic() + WAIT
    while True:
        try:
            db.execute(f"PRAGMA journal_mode = {mode}")
            return
        except sqlite3.OperationalError:
            if monotonic() >= deadline:
                raise
            sleep(0.01)


def require_ledger(db: sqlite3.Connection, path: Path) -> None:
    application = db.execute("PRAGMA application_id").fetchone()[0]
    if application != schema.APPLICATION_ID:
        raise ValueError(
            f"{path} is not a ledger of annotator3d (application id {application:#x}); give the "
            "ledger.sqlite of a work directory"
        )
