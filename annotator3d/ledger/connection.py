"""The open ledger file: what it is, and one transaction at a time."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from annotator3d.ledger import database as storage
from annotator3d.ledger import schema
from annotator3d.ledger.database import WAIT, connect, register, require_ledger

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
                self._connection = connect(path, read_only, network)
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
                    f"{self.path}: another process has been writing for over {WAIT:.0f} s; "
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
            require_ledger(self._db, self.path)
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
