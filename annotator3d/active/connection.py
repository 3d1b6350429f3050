"""Opening the ledger file: journal, durability, identity, and one transaction at a time."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import TypeVar

from annotator3d.active import schema, storage
from annotator3d.active.functions import register

_IS_PACKAGE = "SELECT 1 FROM sqlite_master WHERE name = 'package'"
_WAIT = 60.0  # seconds to wait for another writer
_Self = TypeVar("_Self", bound="LedgerFile")


class ClassListChanged(ValueError):  # noqa: N818 - reads as what happened
    """The classes are not those that the ledger was opened or asked with."""


class LedgerFile:
    """An open ledger file. Use `Ledger.open` or `Ledger.read`."""

    def __init__(self, path: Path, read_only: bool) -> None:
        self.path, self.read_only = path, read_only
        self.taxonomy_names: tuple[str, ...] = ()
        self.taxonomy_digest = ""
        self.taxonomy_version = 0  # of the class list that labels are read in and written in
        self.to_today: dict[int, bytes] = {}  # version -> [256] today's train id by that of then
        self.voxel_size = 0.0
        self._pid = os.getpid()
        self._lock: storage.HostLock | None = None
        network = storage.on_network(path.parent)
        if network and not read_only:
            self._lock = storage.HostLock(path)
        try:
            with self._words():
                self._connection = _connect(path, read_only, network)
        except BaseException:
            self._unlock()
            raise

    @property
    def _db(self) -> sqlite3.Connection:
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"{self.path} was opened by process {self._pid} and cannot be used in its fork "
                f"{os.getpid()}: SQLite would corrupt the file; open the ledger again there"
            )
        return self._connection

    @contextmanager
    def _words(self) -> Iterator[None]:
        """SQLite errors as errors that a user can act on."""
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise ValueError(f"{self.path}: refused: {error}") from error
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise TimeoutError(
                    f"{self.path}: another process has been writing for over {_WAIT:.0f} s; "
                    "end it, then run this again"
                ) from error
            raise OSError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path} is not a ledger: {error}") from error

    @contextmanager
    def _transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """All or nothing. IMMEDIATE for writing; DEFERRED for several reads of one state."""
        db = self._db
        if mode == "IMMEDIATE" and self.read_only:
            raise ValueError(f"{self.path} was opened for reading only; use Ledger.open to write")
        with self._words():
            db.execute(f"BEGIN {mode}")
            try:
                self._require_todays_classes(db)
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _require_todays_classes(self, db: sqlite3.Connection) -> None:
        if not self.taxonomy_version:  # not known yet
            return
        (last,) = db.execute("SELECT MAX(version) FROM taxonomies").fetchone()
        if last != self.taxonomy_version:
            raise ClassListChanged(
                f"the class list of {self.path} was changed while it was open; nothing was "
                "written just now and nothing is lost: close it and open it again"
            )

    def _create_if_empty(self, names: Sequence[str], digest: str, voxel_size: float) -> None:
        with self._transaction() as db:
            if db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                return
            for statement in schema.statements():
                db.execute(statement)
            made_by = {
                "voxel_size": repr(float(voxel_size)),
                "created_by": _created_by(),
                "ledger_id": uuid.uuid4().hex,
            }
            db.executemany("INSERT INTO meta VALUES (?, ?)", made_by.items())
            db.execute(
                "INSERT INTO taxonomies (version, digest, classes) VALUES (1, ?, ?)",
                (digest, json.dumps(list(names))),
            )

    def _upgrade(self) -> None:
        """Bring the file of an earlier version up to this one; no row is changed.

        A copy of the file as it was stays beside it, as ``ledger.sqlite.version-1``.
        """
        db = self._db
        with self._words():
            if db.execute("PRAGMA user_version").fetchone()[0] != 1:
                return
            db.execute("PRAGMA foreign_keys = OFF")  # has no effect inside a transaction
        with self._transaction():
            if db.execute("PRAGMA user_version").fetchone()[0] == 1:  # nobody was faster
                storage.back_up(self.path, self.path.with_name(f"{self.path.name}.version-1"))
                rows = db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
                drop = [f"DROP TRIGGER {name}" for (name,) in rows.fetchall()]
                for statement in (*drop, *schema.upgrade_statements()):
                    db.execute(statement)
        db.execute("PRAGMA foreign_keys = ON")

    def _identify(self) -> None:
        """Read what the file says of itself; ValueError if it is not a ledger of this version."""
        with self._words():
            _require_ledger(self._db, self.path)
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found == 1 and self.read_only:  # seen as if it had been upgraded
                self._db.execute(
                    "CREATE TEMP VIEW events AS SELECT *, NULL AS action, NULL AS ask,"
                    " 'event ' || id AS uid FROM main.events"
                )
                found = schema.SCHEMA_VERSION
            if found != schema.SCHEMA_VERSION:
                raise ValueError(
                    f"{self.path} has schema version {found}, this annotator3d reads version "
                    f"{schema.SCHEMA_VERSION}; install the version that wrote it"
                )
            digest, classes = self._db.execute(
                "SELECT digest, classes FROM taxonomies ORDER BY version DESC LIMIT 1"
            ).fetchone()
            size = self._db.execute("SELECT value FROM meta WHERE key = 'voxel_size'").fetchone()
            maps = self._db.execute("SELECT mapping FROM taxonomies ORDER BY version").fetchall()
        self.taxonomy_names, self.taxonomy_digest = tuple(json.loads(classes)), digest
        self.taxonomy_version = len(maps)
        self.voxel_size = float(size[0])
        self.to_today = register(self._db, [mapping for (mapping,) in maps])

    def _expect(self, names: Sequence[str], digest: str, voxel_size: float) -> None:
        advice = "use the settings that the ledger was made with, or a new work directory"
        if self.voxel_size != float(voxel_size):
            raise ValueError(
                f"{self.path} has voxels of {self.voxel_size} m, this run has {voxel_size} m; "
                + advice
            )
        there, here = self.taxonomy_names, tuple(names)
        if there != here:
            pairs = enumerate(zip_longest(there, here, fillvalue="(none)"))
            index, (old, new) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
            raise ValueError(
                f"{self.path} has {len(there)} classes, this run has {len(here)}; class {index} "
                f"is {old!r} there and {new!r} here; {advice}"
            )
        if self.taxonomy_digest != digest:
            raise ValueError(
                f"{self.path} was made with taxonomy digest {self.taxonomy_digest}, this run has "
                f"{digest}: the class names agree, the map of raw ids or the colours do not; "
                + advice
            )

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self._db.close()
        self._unlock()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _created_by() -> str:
    try:
        return f"annotator3d {version('annotator3d')}"
    except PackageNotFoundError:  # run from a checkout
        return "annotator3d"


def _connect(path: Path, read_only: bool, network: bool) -> sqlite3.Connection:
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
            _require_ledger(db, path)  # before anything is changed in somebody else's file
        # A package is mailed: nothing may lie beside it.
        alone = network or db.execute(_IS_PACKAGE).fetchone() is not None
        _set_journal(db, "DELETE" if alone else "WAL")
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "recursive_triggers = ON"):
            db.execute(f"PRAGMA {pragma}")
        return db
    except BaseException:
        db.close()
        raise


def _open(path: Path, mode: str) -> sqlite3.Connection:
    # isolation_level=None: transactions are ours to begin, not the module's.
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_WAIT, isolation_level=None)


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


def _set_journal(db: sqlite3.Connection, mode: str) -> None:
    # SQLite does not wait here by itself when another process makes the same change.
    deadline = monotonic() + _WAIT
    while True:
        try:
            db.execute(f"PRAGMA journal_mode = {mode}")
            return
        except sqlite3.OperationalError:
            if monotonic() >= deadline:
                raise
            sleep(0.01)


def _require_ledger(db: sqlite3.Connection, path: Path) -> None:
    application = db.execute("PRAGMA application_id").fetchone()[0]
    if application != schema.APPLICATION_ID:
        raise ValueError(
            f"{path} is not a ledger of annotator3d (application id {application:#x}); give the "
            "ledger.sqlite of a work directory"
        )
