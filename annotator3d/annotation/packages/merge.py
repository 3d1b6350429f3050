"""Bringing the answers of work packages home.

Events are told apart by their uid, so that a package may come twice, in any order with others, or
again after more was answered in it. What stands for a query does not depend on the order
(`resolution`): two people who answered the same one are compared, not ranked.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from annotator3d.annotation.packages.package import Manifest, damaged_contents, read_manifest
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.maintenance.verify import verify
from annotator3d.ledger.schema import RESPONSES

_EVENT = (
    "query, kind, labels, taxonomy, annotator, seconds, clicks, proposal_accepted, note,"
    " created_at, ask, uid"
)
_OLDER = (
    "does not know; an older backup may have been put back in its place: merge into the newer one"
)
_LINKS = ("supersedes", "action")


@dataclass
class MergeResult:
    """What came home with a package."""

    manifest: Manifest
    responses: Counter[str] = field(default_factory=Counter)  # by person
    others: Counter[str] = field(default_factory=Counter)  # drafts, notes, undos, ... by kind
    known: int = 0  # events that were at home already
    released: list[int] = field(default_factory=list)  # queries given back meanwhile: left out
    replaced: int = 0  # of the responses: those that were corrected or undone
    answered: int = 0  # queries that the others answer
    disputed: list[int] = field(default_factory=list)  # queries that it touched, and which differ
    in_part: list[int] = field(default_factory=list)  # that it touched: a class was split meanwhile

    @property
    def came(self) -> int:
        """New events."""
        return self.responses.total() + self.others.total()


def merge(ledger: Ledger, package: Path) -> MergeResult:
    """Add to a ledger what happened in a package and is not there yet, all or nothing.

    The package is only read. Answers to a query that was released at home meanwhile stay in it, and
    are named.

    Raises:
        FileNotFoundError: there is no such package.
        ValueError: it is none, is damaged, breaks a rule of ledgers or belongs to another one;
            nothing is written then.
    """
    result = MergeResult(read_manifest(package))
    _require_sound(package)
    with Ledger.read(package) as away, away.file.transaction("DEFERRED") as there:
        _require_ours(ledger, away, there, result.manifest)
        rows = there.execute(
            f"SELECT id, supersedes, action, {_EVENT} FROM events WHERE kind != 'lease' ORDER BY id"
        ).fetchall()
    touched, responses = set(), set()
    with ledger.file.transaction() as db:
        home = dict(db.execute("SELECT uid, id FROM events"))
        released = {q for (q,) in db.execute("SELECT query FROM events WHERE kind = 'release'")}
        undone = dict(db.execute("SELECT supersedes, id FROM events WHERE kind = 'undo'"))
        ids: dict[int, int] = {}  # of the package -> at home
        for there_id, supersedes, action, *values in rows:
            query, kind, annotator, uid = values[0], values[1], values[4], values[-1]
            links = [ids.get(supersedes), ids.get(action)]
            if uid in home:
                ids[there_id] = home[uid]
                result.known += 1
            elif query in released:
                if kind in RESPONSES and query not in result.released:
                    result.released.append(query)
            elif kind == "undo" and links[0] in undone:  # on both sides: it is undone once
                ids[there_id] = undone[links[0]]
                result.known += 1
            else:
                new = _insert(db, package, there_id, [*links, *values])
                ids[there_id] = home[uid] = new
                undone |= {links[0]: new} if kind == "undo" else {}
                (result.responses if kind in RESPONSES else result.others)[
                    annotator if kind in RESPONSES else kind
                ] += 1
                touched.add(query)
                responses |= {new} if kind in RESPONSES else set()
    where = {query: ledger.outcome(query) for query in sorted(touched)}
    stand = [
        q for q, outcome in where.items() for e in outcome.active_responses if e.id in responses
    ]
    result.replaced, result.answered = len(responses) - len(stand), len(set(stand))
    result.disputed = [query for query, outcome in where.items() if outcome.disputed]
    result.in_part = [query for query, outcome in where.items() if outcome.in_part]
    return result


def _insert(db: sqlite3.Connection, package: Path, number: int, values: list) -> int:
    try:
        cursor = db.execute(
            f"INSERT INTO events ({', '.join(_LINKS)}, {_EVENT})"
            f" VALUES ({', '.join('?' * len(values))})",
            values,
        )
    except sqlite3.IntegrityError as error:
        raise ValueError(
            f"{package}: event {number} is refused: {error}; nothing was merged"
        ) from error
    return int(cursor.lastrowid or 0)


def _require_sound(package: Path) -> None:
    problems = verify(package).problems
    if not problems:
        try:
            problems = list(damaged_contents(package))
        except sqlite3.Error as error:
            problems = [str(error)]
    if problems:
        more = f" and {len(problems) - 1} more problems" if len(problems) > 1 else ""
        raise ValueError(
            f"{package} is damaged: {problems[0]}{more}; nothing was merged: send it again"
        )


def _require_ours(
    ledger: Ledger, away: Ledger, there: sqlite3.Connection, manifest: Manifest
) -> None:
    """Refuse a package of another ledger, or whose queries are not those at home."""
    home = ledger.file.db
    (ours,) = home.execute("SELECT value FROM meta WHERE key = 'ledger_id'").fetchone()
    if manifest.ledger_id != ours:
        raise ValueError(
            f"{away.path} was packed from another ledger ({manifest.ledger_id}) than {ledger.path} "
            f"({ours}); merge it there"
        )
    sql = "SELECT version, digest, classes, mapping FROM taxonomies ORDER BY version"
    theirs, known = there.execute(sql).fetchall(), home.execute(sql).fetchall()
    if theirs[: len(known)] == known and len(known) < len(theirs):
        raise ValueError(f"{away.path} has a class list that {ledger.path} {_OLDER}")
    if known[: len(theirs)] != theirs or away.voxel_size != ledger.voxel_size:
        raise ValueError(
            f"{away.path} has class lists or voxels that {ledger.path} never had; it may have been "
            "packed from a copy of it, after that went its own way"
        )
    for what, table, columns in (
        ("query", "queries", "id, round, position, scan, x, y, z, rank, score, num_points"),
        ("scan", "scans", "id, fingerprint, num_points"),
    ):
        for row in there.execute(f"SELECT {columns} FROM {table}"):
            sql = f"SELECT {columns} FROM {table} WHERE id = ?"
            here = home.execute(sql, (row[0],)).fetchone()
            if here is None:
                raise ValueError(f"{away.path}: {what} {row[0]} is one that {ledger.path} {_OLDER}")
            if here != row:
                raise ValueError(
                    f"{away.path}: {what} {row[0]} is not what {ledger.path} has under that name; "
                    "it was packed from a copy that went its own way, or an older backup was put "
                    "back here and asked about other voxels since"
                )
