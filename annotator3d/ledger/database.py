"""Connections to a ledger's file: opening for reading and writing, and copying it whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

from annotator3d.data.files import clear_parts, written_whole
from annotator3d.ledger import network_disk, schema
from annotator3d.ledger.network_disk import HostLock

WAIT = 60.0  # seconds to wait for another writer
SUFFIX = ".a3dpack"  # of the name of a work package
_IS_PACKAGE = "SELECT 1 FROM sqlite_master WHERE name = 'package'"


def is_package(path: Path) -> bool:
    """Whether a file is a work package, of any format, whole or not."""
    if not path.is_file():
        return False
    try:
        with closing(open_reader(path)) as db:
            return db.execute(_IS_PACKAGE).fetchone() is not None
    except sqlite3.Error:
        return path.suffix == SUFFIX


def connect(path: Path, mode: str, network: bool) -> sqlite3.Connection:
    """Connect to a ledger, for writing with its journal and pragmas set.

    Args:
        mode: "ro", "rw", or "rwc": create the file if there is none.
        network: whether the file lies on a network disk.

    Raises ValueError for a file that is not a ledger, before anything in it is changed.
    """
    db = open_reader(path) if mode == "ro" else _open(path, mode)
    try:
        if mode == "ro":
            if network and db.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                raise ValueError(
                    f"{path} lies on a network file system and still has a WAL journal; open it "
                    "once for writing on this host (annotator3d does it) before reading it"
                )
            return db
        if mode == "rw" or db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            require_ledger(db, path)
        # A package is mailed: nothing may lie beside it.
        alone = network or db.execute(_IS_PACKAGE).fetchone() is not None
        _set_journal(db, "DELETE" if alone else "WAL")
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "recursive_triggers = ON"):
            db.execute(f"PRAGMA {pragma}")
        return db
    except BaseException:
        db.close()
        raise


def open_reader(path: Path) -> sqlite3.Connection:
    """Connect to any SQLite file for reading.

    What a process had half written when it was killed is undone first. That happens with a
    rollback journal: while the file is made, on network disks, in packages.
    """
    db = _open(path, "ro")
    try:
        db.execute("SELECT COUNT(*) FROM sqlite_master")
        return db
    except sqlite3.DatabaseError as error:
        db.close()
        if "readonly" not in str(error):
            raise
    lock = HostLock(path) if network_disk.on_network(path.parent) else None
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
    """Raise ValueError unless the file says that it is a ledger."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    if application != schema.APPLICATION_ID:
        raise ValueError(
            f"{path} is not a ledger of annotator3d (application id {application:#x}); give the "
            f"{schema.LEDGER_FILE} of a work directory"
        )


def back_up(path: Path, copy: Path, check: Callable[[Path], None] | None = None) -> None:
    """Copy a database file as it is on disk, journal included, whole or not at all.

    `check` looks at the copy, under a name of its own, before it gets its place.
    """
    clear_parts(copy.parent)
    with written_whole(copy) as part:
        _copy(path, part)
        if check is not None:
            check(part)


def _copy(path: Path, part: Path) -> None:
    source, target = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True), None
    try:
        target = sqlite3.connect(part)
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
    finally:
        source.close()
        if target is not None:
            target.close()
