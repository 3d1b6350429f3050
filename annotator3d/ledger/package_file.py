"""The tables that make a ledger file a work package: what it is, and what it carries of the scans.

Contents are bytes with a SHA-256 digest each; what they mean is up to `annotation.packages`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from annotator3d.ledger import creation
from annotator3d.ledger.database import open_reader
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import Cell, Query
from annotator3d.ledger.schema import EventKind

_TABLES = (
    "CREATE TABLE package (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)",
    "CREATE TABLE package_scans (scan TEXT PRIMARY KEY NOT NULL, content BLOB NOT NULL,"
    " digest TEXT NOT NULL, pose BLOB, world TEXT)",
    "CREATE TABLE package_predictions (scan TEXT NOT NULL, round INTEGER NOT NULL,"
    " content BLOB NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (scan, round))",
    "CREATE TABLE package_files (name TEXT PRIMARY KEY NOT NULL, content BLOB NOT NULL,"
    " digest TEXT NOT NULL)",
)
_IMAGES = (  # of packages with camera images only
    "CREATE TABLE package_images (scan TEXT NOT NULL, x INTEGER NOT NULL, y INTEGER NOT NULL,"
    " z INTEGER NOT NULL, content BLOB NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (scan, x, y, z))"
)
_HAS_IMAGES = "SELECT 1 FROM sqlite_master WHERE name = 'package_images'"
# All columns but `action`: a bulk action may be about queries that stay at home.
_EVENT = (
    "id, query, kind, labels, taxonomy, annotator, seconds, clicks, proposal_accepted, note,"
    " supersedes, created_at, ask, uid"
)
_REQUESTS, _NO_LEASES = f"kind = '{EventKind.REQUEST}'", f"kind != '{EventKind.LEASE}'"


@contextmanager
def new_package(path: Path, manifest: Mapping[str, Any]) -> Iterator[PackageWriter]:
    """Make a package file: what is written in the block reaches the disk whole, or not at all.

    Args:
        path: a file that does not exist yet.
        manifest: what the package says of itself; values as JSON can have.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("BEGIN")
        for statement in (*creation.statements(), *_TABLES):
            db.execute(statement)
        rows = [(key, json.dumps(value)) for key, value in manifest.items()]
        db.executemany("INSERT INTO package VALUES (?, ?)", rows)
        yield PackageWriter(db)
        db.execute("COMMIT")
    with open(path, "rb") as file:
        os.fsync(file.fileno())


class PackageWriter:
    """Writes into a package in the making; see `new_package`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def copy_rows(
        self, ledger: LedgerReader, queries: Sequence[Query], blind: Collection[int]
    ) -> None:
        """Copy the rows of a ledger that are about these queries, as they are, without leases.

        Args:
            blind: ids of queries of which only the requests come along, no answers.
        """
        ids = {query.id for query in queries}
        scans = {query.scan for query in queries}
        with ledger.file.transaction("DEFERRED") as home:
            for table in ("meta", "taxonomies", "scans", "rounds", "queries"):
                for row in home.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall():
                    if (
                        (table == "meta" and row[0].startswith("round_"))  # closed at home
                        or (table == "scans" and row[0] not in scans)
                        or (table == "queries" and row[0] not in ids)
                    ):
                        continue
                    self._insert(table, row)
            for query in queries:
                kinds = _REQUESTS if query.id in blind else _NO_LEASES
                sql = f"SELECT {_EVENT} FROM events WHERE query = ? AND {kinds} ORDER BY id"
                for row in home.execute(sql, (query.id,)).fetchall():
                    self._insert(f"events ({_EVENT})", row)

    def add_file(self, name: str, content: bytes) -> None:
        self._insert("package_files", (name, content, _digest(content)))

    def add_scan(self, scan_id: str, content: bytes, pose: bytes | None, world: str | None) -> None:
        """Add the points of a scan.

        Args:
            pose: [4, 4] float64 as bytes; `world`: the name of its frame.
        """
        self._insert("package_scans", (scan_id, content, _digest(content), pose, world))

    def add_prediction(self, scan_id: str, round: int, content: bytes) -> None:
        self._insert("package_predictions", (scan_id, round, content, _digest(content)))

    def add_images(self, images: Iterable[tuple[str, Cell, bytes]]) -> int:
        """Add camera images by scan id and cell; returns how many there are.

        A voxel that was asked about again after a release keeps one image.
        """
        self._db.execute(_IMAGES)
        count = 0
        for scan_id, cell, content in images:
            row = (scan_id, *cell, content, _digest(content))
            self._db.execute("INSERT OR IGNORE INTO package_images VALUES (?, ?, ?, ?, ?, ?)", row)
            count += 1
        return count

    def _insert(self, table: str, row: Sequence[Any]) -> None:
        marks = ", ".join("?" * len(row))
        self._db.execute(f"INSERT INTO {table} VALUES ({marks})", row)


class PackageFile:
    """Reads what a package carries. Each call opens a connection of its own, in any thread.

    Every method may raise ValueError for a file that is no package, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def manifest(self) -> dict[str, Any]:
        """What the package says of itself."""
        try:
            with closing(open_reader(self.path)) as db:
                rows = db.execute("SELECT key, value FROM package").fetchall()
            return {key: json.loads(value) for key, value in rows}
        except (sqlite3.Error, ValueError) as error:
            raise ValueError(
                f"{self.path} is not a work package, or is damaged: {error}; `annotator3d package "
                "export` makes one"
            ) from error

    def poses(self) -> list[tuple[str, bytes, str]]:
        """(scan id, pose [4, 4] float64 as bytes, name of its frame) of scans that have one."""
        return self._rows("SELECT scan, pose, world FROM package_scans WHERE pose IS NOT NULL")

    def has_images(self) -> bool:
        return bool(self._rows(_HAS_IMAGES))

    def scan(self, scan_id: str) -> bytes | None:
        return self._content("package_scans", "scan = ?", scan_id)

    def prediction(self, scan_id: str, round: int) -> bytes | None:
        return self._content("package_predictions", "scan = ? AND round = ?", scan_id, round)

    def image(self, scan_id: str, cell: Sequence[int]) -> bytes | None:
        where = "scan = ? AND x = ? AND y = ? AND z = ?"
        return self._content("package_images", where, scan_id, *cell)

    def file(self, name: str) -> bytes | None:
        return self._content("package_files", "name = ?", name)

    def damage(self) -> list[str]:
        """What has changed since it was written, one line each."""
        tables = ["package_scans", "package_predictions", "package_files"]
        try:
            with closing(open_reader(self.path)) as db:
                tables += ["package_images"] if db.execute(_HAS_IMAGES).fetchone() else []
                return [
                    f"row {row} of {table} has changed since it was written"
                    for table in tables
                    for row, content, digest in db.execute(
                        f"SELECT rowid, content, digest FROM {table}"
                    )
                    if _digest(content) != digest
                ]
        except sqlite3.Error as error:
            return [str(error)]

    def _content(self, table: str, where: str, *values: object) -> bytes | None:
        rows = self._rows(f"SELECT content, digest FROM {table} WHERE {where}", *values)
        for content, digest in rows:
            if _digest(content) != digest:
                raise ValueError(
                    f"{self.path} is damaged: {table} of {values[0]}; ask for it again"
                )
            return content
        return None

    def _rows(self, sql: str, *values: object) -> list[tuple]:
        try:
            with closing(open_reader(self.path)) as db:
                return db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise ValueError(f"{self.path} cannot be read: {error}") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
