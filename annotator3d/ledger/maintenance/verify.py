"""Whether a ledger keeps all its rules, looked at from outside: by plain SQL, and on the scans."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from annotator3d.data.plain_json import parse_json
from annotator3d.data.scan import rows_of_cell
from annotator3d.data.scan_source import Predictions, ScanSource
from annotator3d.ledger import schema, seals
from annotator3d.ledger.bounds import beyond
from annotator3d.ledger.checksums import COLUMNS, matches
from annotator3d.ledger.database import open_reader, told
from annotator3d.ledger.definitions import definition_problems
from annotator3d.ledger.rows import label_points_of
from annotator3d.ledger.soundness import present_as_current
from annotator3d.system_errors import in_words

_CHECKED = range(2, schema.SCHEMA_VERSION + 1)
_MOST = 20  # problems of one kind that are named

_RULES = {
    "round {0} is not the one after round {1}": (
        "SELECT round, prior FROM (SELECT round, LAG(round, 1, 0) OVER (ORDER BY round) AS prior"
        " FROM rounds) WHERE round != prior + 1"
    ),
    "round {0} is scheduled at epoch {1}, before the round before it": (
        "SELECT round, epoch FROM rounds r WHERE epoch <"
        " (SELECT MAX(epoch) FROM rounds o WHERE o.round < r.round)"
    ),
    "round {0} holds {1} queries, {2} were planned": (
        "SELECT r.round, COUNT(q.id) AS n, r.num_queries FROM rounds r"
        " LEFT JOIN queries q ON q.round = r.round GROUP BY r.round HAVING n > r.num_queries"
    ),
    "round {0} has {1} queries, its limit is {2}": (
        "SELECT r.round, COUNT(q.id) AS n, r.max_queries FROM rounds r"
        " JOIN queries q ON q.round = r.round GROUP BY r.round HAVING n > r.max_queries"
    ),
    "round {0} asks about scan {1} {2} times, its budget is {3}": (
        "SELECT r.round, q.scan, COUNT(*) AS n, r.budget FROM rounds r"
        " JOIN queries q ON q.round = r.round GROUP BY r.round, q.scan HAVING n > r.budget"
    ),
    "the voxel ({1}, {2}, {3}) of scan {0} was asked {4} times without a release": (
        "SELECT scan, x, y, z, COUNT(*) AS n FROM queries q WHERE NOT"
        f" {schema.RELEASED.format('q.id')} GROUP BY scan, x, y, z HAVING n > 1"
    ),
    "event {0} has {1} labels, query {2} has {3} points": (
        f"SELECT e.id, length(e.labels) AS n, q.id, {schema.NUM_LABELS} AS asked FROM events e"
        " JOIN queries q ON q.id = e.query WHERE e.labels IS NOT NULL AND n != asked"
    ),
    "event {0} of kind {1!r} has labels where it must not, or none where it must": (
        f"SELECT id, kind FROM events WHERE (kind IN {schema.LABELLED}) != (labels IS NOT NULL)"
    ),
    "event {0} supersedes event {1}, which is not an earlier one of the same query": (
        "SELECT e.id, e.supersedes FROM events e LEFT JOIN events b ON b.id = e.supersedes"
        " WHERE e.supersedes IS NOT NULL"
        " AND (b.id IS NULL OR b.query != e.query OR b.id >= e.id)"
    ),
    "event {0} is undone {1} times": (
        f"SELECT supersedes, COUNT(*) AS n FROM events WHERE kind = '{schema.EventKind.UNDO}'"
        " GROUP BY supersedes HAVING n > 1"
    ),
    "query {0} was released and has response {1}": (
        "SELECT e.query, e.id FROM events e"
        f" WHERE e.kind IN {schema.RESPONSES} AND {schema.RELEASED.format('e.query')}"
    ),
    "event {0} has the uid of event {1}": (
        "SELECT a.id, b.id FROM events a JOIN events b ON a.uid = b.uid AND a.id > b.id"
    ),
    "class list {0} is not the one after {1}, or lacks its map": (
        "SELECT version, prior FROM (SELECT version, mapping, LAG(version, 1, 0)"
        " OVER (ORDER BY version) AS prior FROM taxonomies)"
        " WHERE version != prior + 1 OR (version > 1 AND length(mapping) IS NOT 256)"
    ),
}


@dataclass
class VerifyReport:
    """What was checked, and what is wrong."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # absurd values, in rows that are whole
    counts: dict[str, int] = field(default_factory=dict)  # rows or files of each kind


def verify(
    path: Path,
    scans: ScanSource | None = None,
    predictions: Predictions | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> VerifyReport:
    """Check a ledger; a damaged one is read as far as that goes, and nothing is written.

    Checked are the file (SQLite's own checks), the tables and triggers, every rule that the
    triggers hold, that labels are of the class list that they were written in, and with `scans`
    that each scan is the one that was asked about, each voxel has its points and what rounds have
    stored (`predictions`) is of the scan.

    Raises FileNotFoundError if there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no ledger {path}")
    found = VerifyReport()
    try:
        db = open_reader(path)
    except (sqlite3.Error, OSError) as error:
        return VerifyReport([f"the file cannot be read: {told(error)}"])
    try:
        db.execute("BEGIN")  # of one moment, while people write
        found.problems += _file_problems(db)
        if not found.problems:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            found.problems += definition_problems(db, version)
            present_as_current(db, version)
            found.problems += _row_problems(db)
            found.notes += _some(_beyond_bounds(db)) if not found.problems else []
            for table in ("rounds", "queries", "events", "scans"):
                (found.counts[table],) = db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
            db.execute("COMMIT")  # scans take long; on a network disk writers would wait
            if scans is not None:
                found.counts["scan files"] = 0
                checked = _scan_problems(db, scans, predictions, progress, found.counts)
                found.problems += _some(checked)
    except (sqlite3.Error, ValueError, TypeError) as error:
        found.problems.append(f"the file cannot be read completely: {told(error)}")
    finally:
        db.close()
    return found


def _file_problems(db: sqlite3.Connection) -> list[str]:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application != schema.APPLICATION_ID:
        return [f"this is not a ledger of annotator3d (application id {application:#x})"]
    if version not in _CHECKED:
        known = f"{_CHECKED[0]} to {_CHECKED[-1]}"
        return [f"schema version {version}, this annotator3d checks {known}"]
    rows = db.execute(f"PRAGMA integrity_check({_MOST})").fetchall()
    return [f"damaged: {text}" for (text,) in rows if text != "ok"]


def _row_problems(db: sqlite3.Connection) -> list[str]:
    if found := _some(seals.undecodable(db)):
        return [*found, "the other rows are not checked, since these texts cannot be read"]
    for words, sql in _RULES.items():
        found += _some(words.format(*row) for row in db.execute(sql))
    changed = _some(iter(dict.fromkeys(_checksum_problems(db))))
    labels = [] if any(each.startswith("class list") for each in changed) else _label_problems(db)
    points = _some(_label_point_problems(db))
    return found + _some(_orphans(db)) + points + _some(labels) + changed


def _orphans(db: sqlite3.Connection) -> Iterator[str]:
    for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
        yield f"row {row} of {table} refers to a row of {parent} that does not exist"


def _label_point_problems(db: sqlite3.Connection) -> Iterator[str]:
    """Queries about points that their voxels do not have."""
    rows = db.execute(
        "SELECT id, label_points, num_points FROM queries WHERE label_points IS NOT NULL"
    )
    for query, text, count in rows:
        try:
            label_points_of(text, count)
        except ValueError as error:
            yield f"query {query}: {error}"


def _label_problems(db: sqlite3.Connection) -> Iterator[str]:
    """Labels that are no class of the list that they were written in."""
    sizes = {
        version: len(parse_json(classes))
        for version, classes in db.execute("SELECT version, classes FROM taxonomies")
    }
    rows = db.execute("SELECT id, kind, taxonomy, labels FROM events WHERE labels IS NOT NULL")
    for event, kind, version, labels in rows:
        allowed = {
            *range(sizes.get(version, 0)),
            255,
            *([254] if kind == schema.EventKind.DRAFT else []),
        }
        if wrong := sorted(set(labels) - allowed):
            yield f"event {event} has label {wrong[0]}, which is not a class of list {version}"


def _checksum_problems(db: sqlite3.Connection) -> Iterator[str]:
    """Rows that were changed after they were written."""
    yield from seals.changed_rows(db)
    for event, uid, *values in db.execute(f"SELECT id, uid, {', '.join(COLUMNS)} FROM events"):
        if not matches(uid, values):  # what goes with it to other ledgers
            yield f"event {event} of query {values[0]} has changed since it was written"


def _beyond_bounds(db: sqlite3.Connection) -> Iterator[str]:
    """What no version writes any more, and readers leave out."""
    for table in ("queries", "events"):
        columns = seals.COLUMNS[table]
        for row in db.execute(f"SELECT {', '.join(columns)} FROM {table}"):
            if (problem := beyond(table, dict(zip(columns, row, strict=True)))) is not None:
                name = "event" if table == "events" else "query"
                yield f"{name} {row[0]}: {problem}; it is left out of times and counts"


def _scan_problems(
    db: sqlite3.Connection,
    scans: ScanSource,
    predictions: Predictions | None,
    progress: Callable[[int, int], None],
    counts: dict[str, int],
) -> Iterator[str]:
    """Counts the files that could be read in `counts`."""
    (size,) = db.execute("SELECT value FROM meta WHERE key = 'voxel_size'").fetchone()
    rows = db.execute("SELECT id, fingerprint, num_points FROM scans ORDER BY id").fetchall()
    for done, (scan_id, fingerprint, count) in enumerate(rows, 1):
        progress(done, len(rows))
        try:
            now = scans.fingerprint(scan_id)
            scan = scans.scan(scan_id)
        except (OSError, ValueError) as error:
            yield f"scan {scan_id}: {in_words(error)}"
            continue
        counts["scan files"] += 1
        if now != fingerprint or scan.num_raw != count:
            yield (
                f"scan {scan_id} is not the one that was asked about: {count} points and "
                f"{fingerprint} then, {scan.num_raw} and {now} now"
            )
            continue
        queries = db.execute(
            "SELECT id, x, y, z, num_points FROM queries WHERE scan = ?", (scan_id,)
        )
        for query, *cell, points in queries:
            rows = rows_of_cell(scan.xyz, tuple(cell), float(size))
            there = len(rows)
            if cell == [0, 0, 0] and there + len(scan.no_return) == points:
                continue  # asked when beams without a return counted as points
            if there - int(np.isin(scan.rows[rows], scan.no_intensity).sum()) == points:
                continue  # asked when points without an intensity were left out
            if there != points:
                yield f"query {query}: its voxel has {there} points, asked were {points}"
        rounds = db.execute("SELECT DISTINCT round FROM queries WHERE scan = ?", (scan_id,))
        for (number,) in rounds.fetchall() if predictions is not None else ():
            try:
                predictions(number, scan)
            except ValueError as error:
                yield f"round {number}, scan {scan_id}: {error}"


def _some(problems: Iterable[str]) -> list[str]:
    """The first of a kind, and how many more there are."""
    found = list(problems)
    more = [f"and {len(found) - _MOST} more like the last one"] if len(found) > _MOST else []
    return found[:_MOST] + more
