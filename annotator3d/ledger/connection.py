"""The open ledger file: what it is, and one transaction at a time."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

import numpy as np

from annotator3d.data.plain_json import parse_json
from annotator3d.ledger import network_disk, schema, seals, soundness
from annotator3d.ledger.class_lists import register
from annotator3d.ledger.database import WAIT, advised, connect, is_busy, require_ledger, told
from annotator3d.ledger.definitions import definition_problems
from annotator3d.ledger.network_disk import HostLock
from annotator3d.ledger.soundness import present_as_current, presented_as_current

_MOST_WORDS = 200  # characters of what is wrong in a message
_RULES = ("trigger ", "index ")  # what matters for writing only
# What this process has found whole: file -> what it looked like then.
_whole: dict[Path, tuple] = {}
CHECKED_AGAIN = 600.0  # seconds after which a file that stays open is looked at again
_RECENT = 50_000_000  # ns; a clock of files may not tell two changes within such a time apart


class ClassListChangedError(ValueError):
    """The classes are not those that the ledger was opened or asked with."""


class DamagedLedgerError(ValueError):
    """A row is not the one that was written; nothing is read from such a ledger."""

    def __init__(self, path: Path, problem: str) -> None:
        self.problem = problem[:_MOST_WORDS]
        super().__init__(
            f"{path} is damaged: {self.problem}. `annotator3d ledger verify` lists all that is "
            "wrong; to go on, put a backup in its place (docs/ledger.md)"
        )


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
        self._place = path.absolute()
        self.taxonomy_names: tuple[str, ...] = ()
        self.taxonomy_digest = ""
        self.taxonomy_version = 0
        self.to_current: dict[int, bytes] = {}
        self.voxel_size = 0.0
        self._pid, self._found_whole = os.getpid(), 0.0
        self._lock: HostLock | None = None
        network = network_disk.on_network(path.parent)
        if network and not self.read_only:
            self._lock = HostLock(path)
        try:
            with self.plain_errors():
                self._connection = connect(path, mode, network)
            self._inode = _inode(self._place)
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
            if is_busy(error):
                raise TimeoutError(
                    f"{self.path}: another process has been writing for over {WAIT:.0f} s; "
                    "end it, then run this again"
                ) from error
            if "UTF-8" in str(error):
                raise self._damaged(self._first_undecodable() or str(error)) from error
            raise OSError(f"{self.path}: {advised(error, self.path)}") from error
        except sqlite3.ProgrammingError as error:  # it was closed
            raise ValueError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path} is not a ledger: {told(error)}") from error

    @contextmanager
    def transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """All or nothing. IMMEDIATE for writing; DEFERRED for several reads of one state."""
        db = self.db
        if mode == "IMMEDIATE" and self.read_only:
            raise ValueError(f"{self.path} was opened for reading only; use Ledger.open to write")
        self._require_in_place()
        with self.plain_errors():
            db.execute(f"BEGIN {mode}")
            try:
                self._require_current_classes(db)
                yield db
                self._require_in_place()
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *values: object) -> list[tuple]:
        """All rows of a query with these parameters."""
        # SQLite would take a numpy integer for a blob and find nothing
        plain = [value.item() if isinstance(value, np.generic) else value for value in values]
        self._require_in_place()
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

    def _require_in_place(self) -> None:
        """Nobody will ever see what is written into a file that was deleted meanwhile."""
        if _inode(self._place) != self._inode:
            raise OSError(
                f"{self.path} was deleted, moved or replaced while it was open here; nothing was "
                "written just now. Put it back, or start this again to use the file that is there"
            )

    def identify(self) -> None:
        """Read what the file says of itself.

        Raises ValueError if it is not a ledger of this version, or is damaged.
        """
        with self.plain_errors():
            require_ledger(self.db, self.path)
            found = self.db.execute("PRAGMA user_version").fetchone()[0]
            readable = found in schema.EARLIER_VERSIONS and self.read_only
            if found != schema.SCHEMA_VERSION and not readable:
                raise ValueError(
                    f"{self.path} has schema version {found}, this annotator3d reads version "
                    f"{schema.SCHEMA_VERSION}; install the version that wrote it"
                )
            self._require_definitions(found)
            present_as_current(self.db, found)
            self.require_whole()
            row = self.db.execute(
                "SELECT digest, classes FROM taxonomies ORDER BY version DESC LIMIT 1"
            ).fetchone()
            digest, classes = row or ("", None)
            size = self.db.execute("SELECT value FROM meta WHERE key = 'voxel_size'").fetchone()
            maps = self.db.execute("SELECT mapping FROM taxonomies ORDER BY version").fetchall()
            try:
                names, self.voxel_size = tuple(map(str, parse_json(classes))), float(size[0])
            except (TypeError, ValueError) as error:
                raise self._damaged(f"its classes or voxel size cannot be read: {error}") from error
        self.taxonomy_names, self.taxonomy_digest = names, digest
        self.taxonomy_version = len(maps)
        self.to_current = register(self.db, [mapping for (mapping,) in maps])

    def _require_definitions(self, version: int) -> None:
        found = definition_problems(self.db, version) if version > 1 else []
        if self.read_only:
            found = [problem for problem in found if not problem.startswith(_RULES)]
        if found:
            raise self._damaged(found[0])

    def require_whole(self, version: int = schema.SCHEMA_VERSION) -> None:
        """Raise DamagedLedgerError unless all rows are as they were written.

        A file that has not changed since this process has looked at it is not looked at again.

        Args:
            version: of a file that is about to be upgraded.
        """
        now, moment = _look_of(self._place), time.time_ns()
        if _whole.get(self._place) == now:
            self._found_whole = time.monotonic()
            return
        with self.plain_errors():
            with presented_as_current(self.db, version):
                problem = next(soundness.damages(self.db), None)
        if problem is not None:
            raise self._damaged(problem)
        self._found_whole = time.monotonic()
        if max(now, default=0) < moment - _RECENT:
            _whole[self._place] = now

    def require_still_whole(self) -> None:
        """`require_whole` of a file that has been open for long."""
        if time.monotonic() >= self._found_whole + CHECKED_AGAIN:
            self.require_whole()

    def _damaged(self, problem: str) -> DamagedLedgerError:
        return DamagedLedgerError(self.path, problem)

    def _first_undecodable(self) -> str | None:
        try:
            return next(seals.undecodable(self._connection), None)
        except sqlite3.Error:
            return None

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


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _look_of(path: Path) -> tuple:
    """What changes whenever somebody writes: numbers of the file and of its WAL, times in ns."""
    found: list[int] = []
    for name in (path, path.with_name(f"{path.name}-wal")):
        try:
            now = os.stat(name)
        except OSError:
            continue
        found += [now.st_ino, now.st_size, now.st_mtime_ns]
    return tuple(found)
