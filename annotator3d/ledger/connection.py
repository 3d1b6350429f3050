"""The open ledger file: what it is, and one transaction at a time."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

import numpy as np

from annotator3d.ledger import network_disk, schema
from annotator3d.ledger.class_lists import register
from annotator3d.ledger.database import WAIT, connect, require_ledger
from annotator3d.ledger.network_disk import HostLock


class ClassListChangedError(ValueError):
    """The classes are not those that the ledger was opened or asked with."""


class LedgerFile:
    """An open ledger file: its connection, its transactions, and what it says of itself.

    Args:
        mode: see `database.connect`.

    Attributes:
        taxonomy_names, taxonomy_digest, taxonomy_version: the current class list; as long as
            `identify` was not called: (), "" and 0.
        to_current: version of a class list -> [256] current train id by that of this version.
        voxel_size: metres.
    """

    def __init__(self, path: Path, mode: str) -> None:
        self.path, self.read_only = path, mode == "ro"
        self.taxonomy_names: tuple[str, ...] = ()
        self.taxonomy_digest = ""
        self.taxonomy_version = 0
        self.to_current: dict[int, bytes] = {}
        self.voxel_size = 0.0
        self._pid = os.getpid()
        self._lock: HostLock | None = None
        network = network_disk.on_network(path.parent)
        if network and not self.read_only:
            self._lock = HostLock(path)
        try:
            with self.plain_errors():
                self._connection = connect(path, mode, network)
        except BaseException:
            self._unlock()
            raise

    @property
    def db(self) -> sqlite3.Connection:
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"{self.path} was opened by process {self._pid} and cannot be used in its fork "
                f"{os.getpid()}: SQLite would corrupt the file; open the ledger again there"
            )
        return self._connection

    @contextmanager
    def plain_errors(self) -> Iterator[None]:
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
        except sqlite3.ProgrammingError as error:  # it was closed
            raise ValueError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path} is not a ledger: {error}") from error

    @contextmanager
    def transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """All or nothing. IMMEDIATE for writing; DEFERRED for several reads of one state."""
        db = self.db
        if mode == "IMMEDIATE" and self.read_only:
            raise ValueError(f"{self.path} was opened for reading only; use Ledger.open to write")
        with self.plain_errors():
            db.execute(f"BEGIN {mode}")
            try:
                self._require_current_classes(db)
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *values: object) -> list[tuple]:
        """All rows of a query with these parameters."""
        # SQLite would take a numpy integer for a blob and find nothing
        plain = [value.item() if isinstance(value, np.generic) else value for value in values]
        with self.plain_errors():
            return self.db.execute(sql, plain).fetchall()

    def _require_current_classes(self, db: sqlite3.Connection) -> None:
        if not self.taxonomy_version:  # not known yet
            return
        (last,) = db.execute("SELECT MAX(version) FROM taxonomies").fetchone()
        if last != self.taxonomy_version:
            raise ClassListChangedError(
                f"the class list of {self.path} was changed while it was open; nothing was "
                "written just now and nothing is lost: close it and open it again"
            )

    def identify(self) -> None:
        """Read what the file says of itself; ValueError if it is not a ledger of this version."""
        with self.plain_errors():
            require_ledger(self.db, self.path)
            found = self.db.execute("PRAGMA user_version").fetchone()[0]
            if found == 1 and self.read_only:  # seen as if it had been upgraded
                self.db.execute(
                    "CREATE TEMP VIEW events AS SELECT *, NULL AS action, NULL AS ask,"
                    " 'event ' || id AS uid FROM main.events"
                )
                found = schema.SCHEMA_VERSION
            if found != schema.SCHEMA_VERSION:
                raise ValueError(
                    f"{self.path} has schema version {found}, this annotator3d reads version "
                    f"{schema.SCHEMA_VERSION}; install the version that wrote it"
                )
            digest, classes = self.db.execute(
                "SELECT digest, classes FROM taxonomies ORDER BY version DESC LIMIT 1"
            ).fetchone()
            size = self.db.execute("SELECT value FROM meta WHERE key = 'voxel_size'").fetchone()
            maps = self.db.execute("SELECT mapping FROM taxonomies ORDER BY version").fetchall()
        self.taxonomy_names, self.taxonomy_digest = tuple(json.loads(classes)), digest
        self.taxonomy_version = len(maps)
        self.voxel_size = float(size[0])
        self.to_current = register(self.db, [mapping for (mapping,) in maps])

    def expect(self, names: Sequence[str], digest: str, voxel_size: float) -> None:
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
        self.db.close()
        self._unlock()
