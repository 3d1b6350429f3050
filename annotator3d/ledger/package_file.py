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

from annotator3d.data.plain_json import parse_json
from annotator3d.ledger import definitions, schema, seals
from annotator3d.ledger.database import open_reader, told
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import Cell, Query
from annotator3d.ledger.schema import EventKind

_HAS_IMAGES = "SELECT 1 FROM sqlite_master WHERE name = 'package_images'"
_SEAL = "seal"  # a key of the table `package`
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
        for statement in (*definitions.statements(), *schema.PACKAGE_TABLES):
            db.execute(statement)
        rows = [(key, json.dumps(value)) for key, value in manifest.items()]
        db.executemany("INSERT INTO package VALUES (?, ?)", rows)
        yield PackageWriter(db)
        db.execute("INSERT INTO package VALUES (?, ?)", (_SEAL, json.dumps(_seal(db))))
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
                for row in _rows(home, table, "ORDER BY 1"):
                    if (
                        (table == "meta" and row[0].startswith("round_"))  # closed at home
                        or (table == "scans" and row[0] not in scans)
                        or (table == "queries" and row[0] not in ids)
                    ):
                        continue
                    seals.insert(self._db, table, dict(zip(seals.COLUMNS[table], row, strict=True)))
            for query in queries:
                kinds = _REQUESTS if query.id in blind else _NO_LEASES
                where = f"WHERE query = ? AND {kinds} ORDER BY id"
                for row in _rows(home, "events", where, query.id):
                    event = dict(zip(seals.COLUMNS["events"], row, strict=True))
                    # a bulk action may be about queries that stay at home
                    seals.insert(self._db, "events", {**event, "action": None})

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
        self._db.execute(schema.PACKAGE_IMAGES_TABLE)
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
                found = {key: parse_json(value) for key, value in rows}
            found.pop(_SEAL, None)
            return found
        except (sqlite3.Error, ValueError) as error:
            raise ValueError(
                f"{self.path} is not a work package, or is damaged: {told(error)}; `annotator3d "
                "package export` makes one"
            ) from error

    def require_sealed(self) -> None:
        """Raise ValueError unless manifest, names and poses are those that were written.

        Of the contents, each has a digest, which is compared when it is read.
        """
        try:
            with closing(open_reader(self.path)) as db:
                rows = db.execute("SELECT value FROM package WHERE key = ?", (_SEAL,)).fetchall()
                is_whole = all(parse_json(value) == _seal(db) for (value,) in rows)
        except (sqlite3.Error, ValueError) as error:
            raise ValueError(f"{self.path} cannot be read: {told(error)}") from error
        if not is_whole:  # earlier versions wrote no seal
            raise ValueError(
                f"{self.path} is damaged: what it says of itself or its scans has changed since it "
                "was written; ask for it again"
            )

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
        try:
            self.require_sealed()
        except ValueError as error:
            return [told(error)]
        try:
            with closing(open_reader(self.path)) as db:
                return [
                    f"row {row} of {table} has changed since it was written"
                    for table in _tables(db)
                    for row, content, digest in db.execute(
                        f"SELECT rowid, content, digest FROM {table}"
                    )
                    if _digest(content) != digest
                ]
        except sqlite3.Error as error:
            return [told(error)]

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
            raise ValueError(f"{self.path} cannot be read: {told(error)}") from error


def _tables(db: sqlite3.Connection) -> dict[str, str]:
    """The tables with contents -> their columns besides."""
    has_images = db.execute(_HAS_IMAGES).fetchone()
    return {
        "package_scans": "scan, digest, pose, world",
        "package_predictions": "scan, round, digest",
        "package_files": "name, digest",
        **({"package_images": "scan, x, y, z, digest"} if has_images else {}),
    }


def _seal(db: sqlite3.Connection) -> str:
    """A checksum of all rows of a package but the contents, which have a digest each."""
    rows = [db.execute("SELECT key, value FROM package WHERE key != ? ORDER BY key", (_SEAL,))]
    rows += [
        db.execute(f"SELECT {columns} FROM {table} ORDER BY {columns}")
        for table, columns in _tables(db).items()
    ]
    text = json.dumps([cursor.fetchall() for cursor in rows], default=bytes.hex)
    return hashlib.sha256(text.encode()).hexdigest()


def _rows(db: sqlite3.Connection, table: str, where: str, *values: object) -> list[tuple]:
    columns = ", ".join(seals.COLUMNS[table])
    return db.execute(f"SELECT {columns} FROM {table} {where}", values).fetchall()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
