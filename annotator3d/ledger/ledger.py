"""The ledger: one append-only SQLite file that holds every question and every answer.

It is the single source of truth of a run. What is labelled, what was spent and by whom is derived
from its rows; an undo or a correction is a new row. A round is written whole or not at all.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from annotator3d.ledger.leases import ActionBook
from annotator3d.ledger.reader import decision_key
from annotator3d.ledger.records import (
    Answer,
    Asked,
    CellLabels,
    Event,
    Query,
    Round,
    ScanRecord,
    Summary,
)

__all__ = ["Answer", "CellLabels", "Event", "Ledger", "Query", "Round", "ScanRecord", "Summary"]


class Ledger(ActionBook):
    """An open ledger, a context manager. One connection of one process: reopen it after a fork.

    `LedgerReader` has the methods that read, `AnswerBook` those that answer and `ActionBook` those
    of the labelling session. Each may raise
    TimeoutError when another process writes for over a minute, and OSError when the disk fails.
    """

    @classmethod
    def open(
        cls,
        path: str | Path,
        taxonomy_names: Sequence[str],
        taxonomy_digest: str,
        voxel_size: float = 0.25,
    ) -> Ledger:
        """Open for reading and writing; create the file if there is none.

        Raises:
            FileNotFoundError: the folder does not exist.
            ValueError: the file was made for other classes, another voxel size (metres) or by
                another version, is no ledger, or is held by another host on a network disk.
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path}: there is no folder {path.parent}; create it first")
        ledger = cls(path, read_only=False)
        try:
            ledger._create_if_empty(taxonomy_names, taxonomy_digest, voxel_size)
            ledger._upgrade()
            ledger._identify()
            ledger._expect(taxonomy_names, taxonomy_digest, voxel_size)
        except BaseException:
            ledger.close()
            raise
        return ledger

    @classmethod
    def read(cls, path: str | Path) -> Ledger:
        """Open an existing ledger for reading only; its settings are in its attributes.

        Raises FileNotFoundError if there is no such file, ValueError if it is no ledger.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no ledger {path}; check the work directory")
        ledger = cls(path, read_only=True)
        try:
            ledger._identify()
        except BaseException:
            ledger.close()
            raise
        return ledger

    def register_scan(self, scan_id: str, fingerprint: str, num_points: int) -> None:
        """`register_scans` of one scan."""
        self.register_scans([ScanRecord(scan_id, fingerprint, num_points)])

    def register_scans(self, scans: Iterable[ScanRecord]) -> None:
        """Make scans known before they are asked about, all or none. Again is allowed.

        Raises ValueError for a scan whose file is not the one registered before.
        """
        with self._transaction() as db:
            for scan in scans:
                known = self.scan(scan.id)
                if known is None:
                    db.execute(
                        "INSERT INTO scans (id, fingerprint, num_points) VALUES (?, ?, ?)",
                        (scan.id, scan.fingerprint, int(scan.num_points)),
                    )
                elif known != scan:
                    raise ValueError(
                        f"scan {scan.id} has changed since it was asked about: the ledger has "
                        f"{known.num_points} points and fingerprint {known.fingerprint}, the file "
                        f"has {scan.num_points} and {scan.fingerprint}; restore the file or start "
                        "a new work directory"
                    )

    def add_round(
        self,
        round: int,
        strategy: str,
        seed: int,
        budget: int,
        queries: Mapping[str, Sequence[Asked]],
        *,
        epoch: int = 0,
        max_queries: int | None = None,
        source: str = "none",
        planned: int | None = None,
        decision: str | None = None,
    ) -> list[Query]:
        """Write a round and its queries in one transaction.

        Args:
            round: its number, the last one plus 1.
            budget: most queries per scan.
            queries: for each scan id its picks, best first; the scans must be registered.
            epoch: training uses the answers from this epoch (0-based) on.
            max_queries: most queries of the whole round.
            source: digest of the weights that scored, "predictions", "online" or "none".
            planned: most queries that the round will have, where `fill_round` adds some later;
                default: these are all.
            decision: words on how `max_queries` came about, for `round_decision`.

        Returns the queries as recorded. Raises ValueError, and writes nothing, for a round that
        exists or is not the next, a voxel asked before, an unknown scan or a passed budget.
        """
        rows = _rows(round, queries)
        # int(): SQLite would store a numpy integer as a blob
        limit = None if max_queries is None else int(max_queries)
        values = (
            int(round),
            strategy,
            int(seed),
            int(budget),
            limit,
            len(rows) if planned is None else int(planned),
            int(epoch),
            source,
        )
        with self._transaction() as db:
            last = db.execute("SELECT COALESCE(MAX(round), 0) FROM rounds").fetchone()[0]
            if round != last + 1:
                raise ValueError(f"{self.path} has rounds up to {last}; cannot add round {round}")
            self._require_registered(queries)
            db.execute(
                "INSERT INTO rounds (round, strategy, seed, budget, max_queries, num_queries,"
                " epoch, source) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            if decision is not None:
                db.execute("INSERT INTO meta VALUES (?, ?)", (decision_key(round), decision))
            for row in rows:
                self._add_query(db, row)
        return self.queries(round)

    def fill_round(self, round: int, queries: Mapping[str, Sequence[Asked]]) -> list[Query]:
        """Add all queries of some scans to a round that has room, in one transaction.

        Args:
            round: one that `add_round` has written with `planned`.
            queries: as for `add_round`; a scan's all at once.

        Returns those of these scans as recorded. Raises ValueError, and writes nothing, for an
        unknown scan, one that the round has asked about, a voxel asked before or a passed budget.
        """
        with self._transaction() as db:
            self._require_registered(queries)
            (written,) = db.execute(
                "SELECT COUNT(*) FROM queries WHERE round = ?", (int(round),)
            ).fetchone()
            for row in _rows(round, queries, start=written):
                self._add_query(db, row)
        return [query for scan in sorted(queries) for query in self.queries(round, scan)]

    def _require_registered(self, scans: Iterable[str]) -> None:
        for scan in scans:
            if self.scan(scan) is None:
                raise ValueError(f"scan {scan} is not registered; call register_scan first")

    def _add_query(self, db: sqlite3.Connection, row: tuple) -> None:
        try:
            db.execute(
                "INSERT INTO queries (round, position, scan, x, y, z, rank, score, num_points)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        except sqlite3.IntegrityError as error:
            round, _, scan, *cell = row[:6]
            raise ValueError(f"round {round}, scan {scan}, cell {cell}: {error}") from error


def _rows(round: int, queries: Mapping[str, Sequence[Asked]], start: int = 0) -> list[tuple]:
    """Values for `Ledger._add_query`; positions in the round count from `start`."""
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
        )
        for position, (scan, rank, pick) in enumerate(ordered, start)
    ]


def _finite(scan: str, pick: Asked) -> float:
    if not math.isfinite(pick.utility):
        cell = tuple(pick.cell)
        raise ValueError(f"scan {scan}, cell {cell}: utility {pick.utility} is not finite")
    return float(pick.utility)
