"""Connections to a ledger's file: opening for reading and writing, and copying it whole."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

from annotator3d.data.files import clear_parts, written_whole
from annotator3d.ledger import network_disk, schema
from annotator3d.ledger.network_disk import HostLock
from annotator3d.system_errors import in_words

WAIT = 60.0  # seconds to wait for another writer
SUFFIX = ".a3dpack"  # of the name of a work package
_IS_PACKAGE = "SELECT 1 FROM sqlite_master WHERE name = 'package'"


def has_tables(db: sqlite3.Connection) -> bool:
    """Whether anything was ever made in a database; its first statement reads the definitions."""
    try:
        return db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] > 0
    except UnicodeDecodeError as error:  # of the words that SQLite complains with
        raise sqlite3.DatabaseError(error.object.decode(errors="replace")) from error


def told(error: Exception) -> str:
    """What SQLite says, on one line of at most 200 characters."""
    words = " ".join(in_words(error).split())
    return words if len(words) <= 200 else f"{words[:197]}..."


def advised(error: sqlite3.Error, path: Path) -> str:
    """What to do about it where SQLite could not open or write a file; else its own words."""
    words = told(error)
    if "full" in words:
        return f"{words}; nothing was written just now: free some space, then run this again"
    if not re.search("open|readonly|read-only|I/O|access", words):
        return words
    if not os.access(path.parent, os.W_OK):
        return "its folder may not be written to; what only reads works there"
    if path.is_file() and not os.access(path, os.W_OK):
        return "the file may not be written to; what only reads works there"
    return f"the disk refuses it ({words}); check the disk and your rights in {path.parent}"


def is_blank(path: Path) -> bool:
    """Whether a file is empty, or a database without any table, as a killed start may leave it.

    It holds no ledger, and the next start makes one in it.
    """
    if not path.is_file():
        return False
    if path.stat().st_size == 0:
        return True
    try:
        with closing(open_reader(path)) as db:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            return application == 0 and not has_tables(db)
    except (sqlite3.Error, OSError):
        return False  # opening it says what is wrong


def holds_ledger(path: Path) -> bool:
    """Whether there is a file that is not blank; it may be damaged."""
    return path.is_file() and not is_blank(path)


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
        if mode == "rw" or has_tables(db):
            require_ledger(db, path)
        # A package is mailed: nothing may lie beside it.
        alone = network or db.execute(_IS_PACKAGE).fetchone() is not None
        set_journal(db, "DELETE" if alone else "WAL")
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "recursive_triggers = ON"):
            db.execute(f"PRAGMA {pragma}")
        return db
    except BaseException:
        db.close()
        raise


def open_reader(path: Path) -> sqlite3.Connection:
    """Connect to any SQLite file for reading.

    What a process had half written when it was killed is undone first. That happens with a
    rollback journal: while the file is made, on network disks, in packages. Where nothing may be
    written, the file is read as it is, or a copy of it with its journal.
    """
    db = _open(path, "ro")
    try:
        has_tables(db)
        return db
    except sqlite3.DatabaseError as error:
        db.close()
        words = str(error)
        if not os.access(path.parent, os.W_OK) and ("open" in words or "readonly" in words):
            return _open_unwritable(path)
        if "readonly" not in words:
            raise
    lock = HostLock(path) if network_disk.on_network(path.parent) else None
    try:
        with closing(_open(path, "rw")) as writer:
            has_tables(writer)
    except sqlite3.OperationalError as error:
        raise OSError(
            f"{path}: a process was killed while it wrote, and what it had half written cannot be "
            f"undone from here ({error}); open it once where its folder may be written to"
        ) from error
    finally:
        if lock is not None:
            lock.release()
    return _open(path, "ro")


class _Copy(sqlite3.Connection):
    """A connection to a copy, which goes with it."""

    folder: tempfile.TemporaryDirectory | None = None

    def close(self) -> None:
        super().close()
        if self.folder is not None:
            self.folder.cleanup()


def _open_unwritable(path: Path) -> sqlite3.Connection:
    """Connect where SQLite can make none of the files that it needs beside a ledger."""
    journals = [path.with_name(f"{path.name}-{end}") for end in ("wal", "journal")]
    journals = [journal for journal in journals if _size(journal)]
    if not journals:
        return _open(path, "ro", "&immutable=1")
    # the last transactions are in the journal alone
    folder = tempfile.TemporaryDirectory(prefix="annotator3d-")
    try:
        for file in (*journals, path):
            shutil.copyfile(file, Path(folder.name) / file.name)
        db = _open(Path(folder.name) / path.name, "rw", factory=_Copy)
        db.folder = folder
        db.execute("PRAGMA query_only = ON")
        has_tables(db)
        return db
    except BaseException:
        folder.cleanup()
        raise


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _open(
    path: Path, mode: str, more: str = "", factory: type = sqlite3.Connection
) -> sqlite3.Connection:
    # isolation_level=None: transactions are ours to begin, not the module's.
    uri = f"{path.resolve().as_uri()}?mode={mode}{more}"
    return sqlite3.connect(uri, uri=True, timeout=WAIT, isolation_level=None, factory=factory)


def set_journal(db: sqlite3.Connection, mode: str) -> None:
    """Set the mode of the journal; waits for other processes, and for nothing else."""
    # SQLite does not wait here by itself when another process makes the same change.
    deadline = monotonic() + WAIT
    while True:
        try:
            db.execute(f"PRAGMA journal_mode = {mode}")
            return
        except sqlite3.OperationalError as error:
            if not is_busy(error) or monotonic() >= deadline:
                raise
            sleep(0.01)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process is in the way, so that waiting helps."""
    return "locked" in str(error) or "busy" in str(error)


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
        _copy(path, part, copy)
        if check is not None:
            check(part)


def _copy(path: Path, part: Path, copy: Path) -> None:
    """Copy into `part`, which messages call `copy`."""
    source, target = open_reader(path), None
    try:
        target = sqlite3.connect(part)
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
    except sqlite3.OperationalError as error:
        if is_busy(error):
            raise
        raise OSError(
            f"{copy} cannot be written: {advised(error, copy)}; choose another"
        ) from error
    finally:
        source.close()
        if target is not None:
            target.close()
