"""Writing scans, rounds and their queries."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from annotator3d.ledger import seals
from annotator3d.ledger.connection import LedgerFile
from annotator3d.ledger.records import Asked, Round, ScanRecord
from annotator3d.ledger.schema import NOW

_QUERY = ("round", "position", "scan", "x", "y", "z", "rank", "score", "num_points", "label_points")
_SCAN = "SELECT id, fingerprint, num_points FROM scans WHERE id = ?"


def register_scans(file: LedgerFile, scans: Iterable[ScanRecord]) -> None:
    """See `Ledger.register_scans`."""
    with file.transaction() as db:
        for scan in scans:
            row = db.execute(_SCAN, (scan.id,)).fetchone()
            if row is None:
                seals.insert(db, "scans", asdict(scan))
                continue
            known, name = ScanRecord(*row), f"scan {scan.id}"
            if change := known.change(scan.num_points, scan.fingerprint, name):
                raise ValueError(f"{change} or start a new work directory")


def insert_round(
    file: LedgerFile,
    entry: Round,
    queries: Mapping[str, Sequence[Asked]],
    decision: str | None,
) -> None:
    """Insert a round and its queries in one transaction. See `Ledger.add_round`."""
    rows = _query_rows(entry.number, queries)
    with file.transaction() as db:
        last = db.execute("SELECT COALESCE(MAX(round), 0) FROM rounds").fetchone()[0]
        if entry.number != last + 1:
            raise ValueError(
                f"{file.path} has rounds up to {last}; cannot add round {entry.number}"
            )
        _require_registered(db, queries)
        values = {**asdict(entry), "created_at": None}
        seals.insert(db, "rounds", {"round": values.pop("number"), **values})
        if decision is not None:
            _insert_meta(db, decision_key(entry.number), decision)
        for row in rows:
            _insert_query(db, row)


def insert_queries(file: LedgerFile, round: int, queries: Mapping[str, Sequence[Asked]]) -> None:
    """Insert queries of a round that has room, in one transaction. See `Ledger.fill_round`."""
    with file.transaction() as db:
        _require_registered(db, queries)
        (written,) = db.execute(
            "SELECT COUNT(*) FROM queries WHERE round = ?", (int(round),)
        ).fetchone()
        for row in _query_rows(round, queries, start=written):
            _insert_query(db, row)


def mark_closed(file: LedgerFile, round: int, annotator: str) -> None:
    """Note when and by whom a round was closed, in the open transaction; the first time counts."""
    db, key = file.db, closed_key(round)
    if db.execute("SELECT 1 FROM meta WHERE key = ?", (key,)).fetchone() is None:
        (now,) = db.execute(f"SELECT {NOW}").fetchone()
        _insert_meta(db, key, f"{now} {annotator}")


def closed_key(round: int) -> str:
    """The key in `meta` that a closed round has."""
    return f"round_{int(round)}_closed"


def decision_key(round: int) -> str:
    """The key in `meta` of `Ledger.round_decision`."""
    return f"round_{int(round)}_decision"


def _require_registered(db: sqlite3.Connection, scans: Iterable[str]) -> None:
    for scan in scans:
        if db.execute(_SCAN, (scan,)).fetchone() is None:
            raise ValueError(f"scan {scan} is not registered; call register_scan first")


def _insert_meta(db: sqlite3.Connection, key: str, value: str) -> None:
    seals.insert(db, "meta", {"key": key, "value": value})


def _insert_query(db: sqlite3.Connection, row: tuple) -> None:
    try:
        seals.insert(db, "queries", dict(zip(_QUERY, row, strict=True)))
    except sqlite3.IntegrityError as error:
        round, _, scan, *cell = row[:6]
        raise ValueError(f"round {round}, scan {scan}, cell {cell}: {error}") from error


def _query_rows(round: int, queries: Mapping[str, Sequence[Asked]], start: int = 0) -> list[tuple]:
    """Values for `_insert_query`; positions in the round count from `start`."""
    ordered = (
        (scan, rank, pick)
        for scan in sorted(queries)  # not in the order in which they were gathered
        for rank, pick in enumerate(queries[scan])
    )
    return [
        (
            int(round),
            position,
            scan,
            *(int(i) for i in pick.cell),
            rank,
            _finite(scan, pick),
            int(pick.num_points),
            _label_points(scan, pick),
        )
        for position, (scan, rank, pick) in enumerate(ordered, start)
    ]


def _label_points(scan: str, pick: Asked) -> str | None:
    """Text for the column: which points are asked about; None for all of the voxel."""
    given = getattr(pick, "label_points", None)
    if given is None:
        return None
    points, most = [int(i) for i in given], int(pick.num_points)
    if not points or points != sorted({*points}) or points[0] < 0 or points[-1] >= most:
        raise ValueError(
            f"scan {scan}, cell {tuple(pick.cell)}: label_points must be ascending places among "
            f"its {most} points, from 0; got {points}"
        )
    return None if len(points) == most else ",".join(map(str, points))


def _finite(scan: str, pick: Asked) -> float:
    if not math.isfinite(pick.utility):
        cell = tuple(pick.cell)
        raise ValueError(f"scan {scan}, cell {cell}: utility {pick.utility} is not finite")
    return float(pick.utility)
