"""Making a work package: its rows, and what is held at home."""

from __future__ import annotations

import getpass
import os
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from annotator3d.active import schema
from annotator3d.active.carrying import put_images, put_scans
from annotator3d.active.choosing import Choice, choose
from annotator3d.active.ledger import Ledger, Query
from annotator3d.active.lineage import INDEPENDENT
from annotator3d.active.packages import (
    TABLES,
    TAXONOMY_FILE,
    Manifest,
    digest_of,
)
from annotator3d.active.scans import ScanSource
from annotator3d.active.views import Predictions
from annotator3d.data.files import fsync_folder, part_file
from annotator3d.errors import ConfigError

_DAY = 86400.0
# All columns but `action`: a bulk action may be about queries that stay at home.
_EVENT = (
    "id, query, kind, labels, taxonomy, annotator, seconds, clicks, proposal_accepted, note,"
    " supersedes, created_at, ask, uid"
)


@dataclass(frozen=True)
class Packed:
    """What a package holds."""

    manifest: Manifest
    queries: int
    scans: int
    images: int
    left_out: int  # chosen queries that somebody else holds
    bytes: int


def export(
    ledger: Ledger,
    out: Path,
    source: ScanSource,
    taxonomy: bytes,
    *,
    to: str,
    choice: Choice | None = None,
    days: float = 14.0,
    crop: float | None = None,
    images: bool = False,
    predictions: Predictions | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Packed:
    """Write a package and hold its open queries at home for `to`.

    The file gets its name when it is whole. Killed on the way, the queries are held already: the
    same call for the same person goes on.

    Args:
        out: a file that there is not yet.
        taxonomy: the class list as YAML.
        crop: keep the points within so many metres of a query, and whole voxels; None: all.
        images: take along what the camera saw around each query, where there is an image.
        predictions: what rounds have stored.

    Raises:
        ConfigError: a choice or number that makes no sense.
        ValueError: `out` exists, nothing is left to pack, or a scan is not the one asked about.
        FileNotFoundError: the folder of `out` does not exist.
    """
    _check(out, days, crop, to)
    chosen = choose(ledger, choice or Choice(), to)
    is_open = {query.id for query in ledger.open_queries()}
    wanted = [query.id for query in chosen if query.id in is_open]
    before = {number for number in wanted if ledger.holder(number) == to}
    held = ledger.lease(wanted, annotator=to, seconds=days * _DAY)
    taken = [query for query in chosen if query.id in held or query.id not in is_open]
    if not taken:
        raise ValueError(f"{ledger.path}: no query of this choice is free; see `round status`")
    manifest = Manifest(
        id=uuid.uuid4().hex,
        ledger_id=_ledger_id(ledger),
        to=to,
        made_by=getpass.getuser(),
        made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        days=days,
        crop=crop,
    )
    part = part_file(out)
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as db:
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("BEGIN")
            for statement in (*schema.statements(), *TABLES):
                db.execute(statement)
            db.executemany("INSERT INTO package VALUES (?, ?)", manifest.rows())
            db.execute(
                "INSERT INTO package_files VALUES (?, ?, ?)",
                (TAXONOMY_FILE, taxonomy, digest_of(taxonomy)),
            )
            _copy_rows(ledger, db, taken, to)
            scans = put_scans(ledger, db, taken, source, crop, predictions, progress)
            pictures = put_images(ledger, db, taken, source) if images else 0
            db.execute("COMMIT")
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, out)
    except BaseException:
        part.unlink(missing_ok=True)
        # What they held before may be out in another package.
        ledger.lease(sorted(held - before), annotator=to, seconds=0)
        raise
    fsync_folder(out.parent)
    left_out = len(chosen) - len(taken)
    return Packed(manifest, len(taken), scans, pictures, left_out, out.stat().st_size)


def _check(out: Path, days: float, crop: float | None, to: str) -> None:
    if out.exists():
        raise ValueError(f"{out} exists; name another file")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent}; create it first")
    if not days > 0 or (crop is not None and not crop > 0):
        raise ConfigError(f"days and crop must be positive, got {days} and {crop}")
    if not to.strip():
        raise ConfigError("--to: a package needs the name of the person who will label")


def _copy_rows(ledger: Ledger, db: sqlite3.Connection, queries: Sequence[Query], to: str) -> None:
    """The rows of the ledger that speak of the queries, as they are."""
    ids = {query.id for query in queries}
    scans = {query.scan for query in queries}
    with ledger._transaction("DEFERRED") as home:
        for table in ("meta", "taxonomies", "scans", "rounds", "queries"):
            for row in home.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall():
                if table == "meta" and row[0].startswith("round_"):
                    continue  # what was closed, at home
                if (table == "scans" and row[0] not in scans) or (
                    table == "queries" and row[0] not in ids
                ):
                    continue
                _put(db, table, row)
        for query in queries:
            blind = _is_blind(ledger, query, to)
            for values in home.execute(
                f"SELECT {_EVENT} FROM events WHERE query = ? AND kind != 'lease' ORDER BY id",
                (query.id,),
            ).fetchall():
                if not blind or values[2] == "request":
                    _put(db, f"events ({_EVENT})", values)


def _put(db: sqlite3.Connection, table: str, row: Sequence) -> None:
    db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def _is_blind(ledger: Ledger, query: Query, to: str) -> bool:
    """Whether the person is asked for an opinion of their own: what others said stays at home."""
    asked = ledger.outcome(query.id).asks(to)
    return asked is not None and asked.ask in INDEPENDENT


def _ledger_id(ledger: Ledger) -> str:
    ((value,),) = ledger._rows("SELECT value FROM meta WHERE key = 'ledger_id'")
    return value
