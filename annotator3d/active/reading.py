"""What can be read from a ledger; everything is derived from its rows at the moment of asking."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from annotator3d.active import export
from annotator3d.active.connection import LedgerFile
from annotator3d.active.records import (
    IGNORE,
    Answer,
    CellLabels,
    Event,
    Query,
    Round,
    ScanRecord,
    Summary,
)
from annotator3d.active.schema import RELEASED, RESPONSE_KINDS, UNDONE

_ROUND = "round, strategy, seed, budget, max_queries, num_queries, epoch, source, created_at"
_QUERY = "q.id, q.round, q.scan, q.x, q.y, q.z, q.rank, q.score, q.num_points, q.asked_at"
QUERY_ROWS = f"SELECT {_QUERY} FROM queries q"
_EVENT = (
    "id, query, kind, labels, annotator, seconds, clicks, proposal_accepted, note,"
    " supersedes, created_at, action"
)
_IN_FORCE = (
    f"(SELECT MAX(e.id) FROM events e WHERE e.query = q.id AND e.kind IN {RESPONSE_KINDS}"
    f" AND NOT {UNDONE.format('e.id')})"
)
_SPENT = f"NOT {RELEASED.format('q.id')}"
_LAST = 2**62  # past any round


class LedgerReader(LedgerFile):
    """The reading half of `Ledger`."""

    def scan(self, scan_id: str) -> ScanRecord | None:
        """The scan as registered, None if it never was."""
        rows = self._rows("SELECT id, fingerprint, num_points FROM scans WHERE id = ?", scan_id)
        return next((ScanRecord(*row) for row in rows), None)

    def scans(self) -> list[ScanRecord]:
        """All registered scans, by id."""
        rows = self._rows("SELECT id, fingerprint, num_points FROM scans ORDER BY id")
        return [ScanRecord(*row) for row in rows]

    def rounds(self) -> list[Round]:
        """All rounds in order."""
        return [Round(*row) for row in self._rows(f"SELECT {_ROUND} FROM rounds ORDER BY round")]

    def round_at(self, epoch: int) -> int:
        """The last round whose answers training may use at `epoch`; 0 if there is none."""
        (row,) = self._rows("SELECT COALESCE(MAX(round), 0) FROM rounds WHERE epoch <= ?", epoch)
        return row[0]

    def queries(self, round: int | None = None, scan: str | None = None) -> list[Query]:
        """Queries asked and not released, by round, scan and rank."""
        return self._queries(_SPENT, round, scan)

    def open_queries(self, round: int | None = None, scan: str | None = None) -> list[Query]:
        """Queries that wait for an answer, by round, scan and rank."""
        return self._queries(f"{_SPENT} AND {_IN_FORCE} IS NULL", round, scan)

    def query(self, query_id: int) -> Query:
        """One query, released or not. Raises ValueError if there is none of that id."""
        rows = self._rows(f"{QUERY_ROWS} WHERE q.id = ?", query_id)
        for row in rows:
            return query_of(row)
        raise ValueError(f"{self.path} has no query {query_id!r}; see Ledger.queries()")

    def current(self, query_id: int) -> Answer | None:
        """What stands as the response to a query; None while it is open, undone or released."""
        self.query(query_id)
        event = self._in_force(query_id)
        return None if event is None else event.answer

    def events(self, query_id: int | None = None) -> list[Event]:
        """Everything that happened (to one query), oldest first."""
        return self._events("") if query_id is None else self._events("WHERE query = ?", query_id)

    def responses(self, round: int | None = None) -> list[tuple[Query, Answer | None]]:
        """Every spent query with what stands as its response, by round, scan and rank."""
        rows = self._rows(
            f"SELECT {_QUERY}, a.* FROM queries q LEFT JOIN (SELECT {_EVENT} FROM events) a"
            f" ON a.id = {_IN_FORCE} WHERE {_SPENT} AND (?1 IS NULL OR q.round = ?1)"
            " ORDER BY q.round, q.scan, q.rank",
            round,
        )
        return [
            (query_of(row[:10]), None if row[10] is None else _event(row[10:]).answer)
            for row in rows
        ]

    def asked_cells(self, scan_id: str, before_round: int | None = None) -> np.ndarray:
        """Cells of a scan that were asked about and not released: [Q, 3] int32."""
        rows = self._rows(
            f"SELECT q.x, q.y, q.z FROM queries q WHERE q.scan = ? AND q.round < ? AND {_SPENT}"
            " ORDER BY q.round, q.rank",
            scan_id,
            _LAST if before_round is None else before_round,
        )
        return np.array(list(rows), dtype=np.int32).reshape(-1, 3)

    def labels_for_scan(self, scan_id: str, up_to_round: int | None = None) -> list[CellLabels]:
        """Labels in force of a scan's voxels, of rounds 1..up_to_round (all if None)."""
        return [labels for _, labels in self.labels(up_to_round, scan_id)]

    def labels_by_scan(self, up_to_round: int | None = None) -> dict[str, list[CellLabels]]:
        """`labels_for_scan` of every labelled scan, in one pass."""
        found: dict[str, list[CellLabels]] = defaultdict(list)
        for scan, labels in self.labels(up_to_round):
            found[scan].append(labels)
        return dict(found)

    def labels(
        self, up_to_round: int | None = None, scan_id: str | None = None
    ) -> Iterable[tuple[str, CellLabels]]:
        """(scan id, labels in force) by scan, round and rank; an ignored voxel is all 255."""
        where, values = ("", ()) if scan_id is None else ("AND q.scan = ?", (scan_id,))
        rows = self._rows(
            "SELECT q.scan, q.x, q.y, q.z, q.round, q.num_points, a.labels FROM queries q"
            f" JOIN events a ON a.id = {_IN_FORCE}"
            f" WHERE q.round <= ? {where} AND a.kind IN ('answer', 'ignore')"
            " ORDER BY q.scan, q.round, q.rank",
            _LAST if up_to_round is None else up_to_round,
            *values,
        )
        for scan, x, y, z, round, num_points, blob in rows:
            data = bytes([IGNORE]) * num_points if blob is None else blob
            yield scan, CellLabels((x, y, z), np.frombuffer(data, np.uint8), round)

    def spent(self, round: int | None = None) -> int:
        """Number of voxels asked and not released, of one round or of all."""
        where, values = ("", ()) if round is None else ("AND q.round = ?", (round,))
        (row,) = self._rows(f"SELECT COUNT(*) FROM queries q WHERE {_SPENT} {where}", *values)
        return row[0]

    def digest(self, up_to_round: int | None = None) -> str:
        """Hex digest of the labels in force: equal exactly when training sees the same labels."""
        return export.labels_digest(self.labels(up_to_round))

    def export_canonical(self) -> str:
        """The ledger as JSON lines without ids, times and origin of the weights.

        Two runs that asked the same and were answered the same give the same text.
        """
        with self._transaction("DEFERRED"):
            return export.canonical(self)

    def summary(self) -> Summary:
        """Where the ledger stands."""
        kind = f"(SELECT kind FROM events WHERE id = {_IN_FORCE})"
        rows = self._rows(
            "SELECT COUNT(DISTINCT scan), COUNT(*), COALESCE(SUM(num_points), 0),"
            " COALESCE(SUM(kind IN ('answer', 'ignore')), 0),"
            " COALESCE(SUM(kind IN ('skip', 'unsure')), 0), COALESCE(SUM(kind IS NULL), 0),"
            " (SELECT COUNT(*) FROM events WHERE kind = 'release'),"
            " (SELECT COUNT(*) FROM rounds)"
            f" FROM (SELECT q.scan, q.num_points, {kind} AS kind FROM queries q WHERE {_SPENT})"
        )
        ((scans, voxels, points, answered, passed, waiting, released, rounds),) = rows
        return Summary(rounds, scans, voxels, points, answered, passed, waiting, released)

    def _in_force(self, query_id: int) -> Event | None:
        rows = self._rows(
            f"SELECT {_EVENT} FROM events WHERE id ="
            f" (SELECT {_IN_FORCE} FROM queries q WHERE q.id = ?)",
            query_id,
        )
        return next((_event(row) for row in rows), None)

    def _events(self, where: str, *values: object) -> list[Event]:
        rows = self._rows(f"SELECT {_EVENT} FROM events {where} ORDER BY id", *values)
        return [_event(row) for row in rows]

    def _queries(self, where: str, round: int | None, scan: str | None) -> list[Query]:
        rows = self._rows(
            f"{QUERY_ROWS} WHERE {where} AND (?1 IS NULL OR q.round = ?1)"
            " AND (?2 IS NULL OR q.scan = ?2) ORDER BY q.round, q.scan, q.rank",
            round,
            scan,
        )
        return [query_of(row) for row in rows]

    def _rows(self, sql: str, *values: object) -> list[tuple]:
        db = self._db
        # SQLite would take a numpy integer for a blob and find nothing
        plain = [value.item() if isinstance(value, np.generic) else value for value in values]
        with self._words():
            return db.execute(sql, plain).fetchall()


def query_of(row: tuple) -> Query:
    """The query of a row of `QUERY_ROWS`."""
    id_, round_, scan, x, y, z, *rest = row
    return Query(id_, round_, scan, (x, y, z), *rest)


def _event(row: tuple) -> Event:
    id_, query, kind, blob, annotator, seconds, clicks, accepted, note, *rest = row
    labels = None if blob is None else np.frombuffer(blob, np.uint8)
    accepted = None if accepted is None else bool(accepted)
    answer = Answer(kind, labels, annotator, seconds, clicks, accepted, note)
    return Event(id_, query, answer, *rest)
