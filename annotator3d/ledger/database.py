"""SQL functions of a ledger's connection: labels as they read in today's class list."""

from __future__ import annotations

import itertools
import os
import socket
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

from annotator3d.data.files import clear_parts, is_alive, written_whole
from annotator3d.ledger import schema
from annotator3d.ledger.lineage import VOID

SUFFIX = ".a3dpack"


def is_package(path: Path) -> bool:
    """Whether a file is a package, of any format, whole or not."""
    if not path.is_file():
        return False
    try:
        with closing(_connect(path)) as db:
            sql = "SELECT 1 FROM sqlite_master WHERE name = 'package'"
            return db.execute(sql).fetchone() is not None
    except sqlite3.Error:
        return path.suffix == SUFFIX


def _connect(path: Path) -> sqlite3.Connection:
    return open_reader(path, on_network(path.parent))


def register(db: sqlite3.Connection, mappings: Sequence[bytes | None]) -> dict[int, bytes]:
    """Make two functions known to a connection; gives for each version its table to today's ids.

    ``today(labels, version)``: labels of a taxonomy version in train ids of the last one.
    ``said(kind, labels, version)``: see `resolution.Happened`.

    Args:
        mappings: for each taxonomy version [256] the train ids of the next one's classes by those
            of the version before; None for the first version.
    """
    tables = tables_to_last(mappings)
    last = len(mappings)

    def today(labels: bytes | None, version: int) -> bytes | None:
        return labels if labels is None or version == last else labels.translate(tables[version])

    def said(kind: str, labels: bytes | None, version: int) -> bytes | None:
        if kind == "answer":
            return today(labels, version)
        return VOID if kind == "ignore" else None

    db.create_function("today", 2, today, deterministic=True)
    db.create_function("said", 3, said, deterministic=True)
    return tables


def tables_to_last(mappings: Sequence[bytes | None]) -> dict[int, bytes]:
    """For each version, the table from its train ids to those of the last version.

    Args:
        mappings: as `register`.
    """
    tables, table = {}, bytes(range(256))
    for version in range(len(mappings), 0, -1):
        tables[version] = table
        if version > 1:
            # first the step to the version after, then on from there
            table = mappings[version - 1].translate(table)
    return tables


_NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "gluster")
_NETWORK += ("virtiofs", "vboxsf", "ocfs2", "gfs2", "pvfs", "orangefs", "sshfs", "rclone", "s3fs")
_count = itertools.count()  # a process may open one ledger twice


def file_system(path: Path, mounts: str = "/proc/self/mounts") -> str:
    """Type of the file system that holds `path` ("ext4", "nfs4"); "" where it cannot be told."""
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""  # not Linux
    place, best, found = path.resolve(), -1, ""
    for line in lines:
        _, mount, kind, *_ = line.split(" ")
        folder = Path(mount.encode().decode("unicode_escape"))  # a space is written \040
        # the later of two mounts on one folder is the one that is seen
        if place.is_relative_to(folder) and len(folder.parts) >= best:
            best, found = len(folder.parts), kind
    return found


def on_network(path: Path) -> bool:
    """Whether `path` lies on a network file system (Linux; elsewhere: False)."""
    return file_system(path).removeprefix("fuse.").startswith(_NETWORK)


def back_up(path: Path, copy: Path, check: Callable[[Path], None] | None = None) -> None:
    """Copy a database file as it stands on disk, journal included, whole or not at all.

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


class HostLock:
    """A note beside the ledger saying that a process of this host has it open for writing.

    Each writer leaves its own note and then looks for others, so of two hosts that come at the
    same time at least one sees the other.

    Raises:
        ValueError: another host holds the ledger.
    """

    def __init__(self, path: Path) -> None:
        self._host = socket.gethostname()
        mine = f"{self._host}.{os.getpid()}.{next(_count)}"
        self._note = path.with_name(f"{path.name}.{mine}.open")
        self._note.touch()
        for note in sorted(path.parent.glob(f"{path.name}.*.open")):
            host, pid, _ = note.name[len(path.name) + 1 :].removesuffix(".open").rsplit(".", 2)
            if host == self._host:
                if not is_alive(int(pid)):
                    note.unlink(missing_ok=True)
                continue
            self.release()
            raise ValueError(
                f"{path} lies on a network file system and host {host} has it open (this is "
                f"{self._host}); work on one host at a time, or delete {note} if nothing runs there"
            )

    def release(self) -> None:
        self._note.unlink(missing_ok=True)


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
    lock = HostLock(path) if network else None
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
