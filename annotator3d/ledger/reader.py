"""What can be read from a ledger; everything is derived from its rows at the moment of asking."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import numpy as np

from annotator3d.data.plain_json import parse_json
from annotator3d.data.scan import VoxelLabels
from annotator3d.ledger.bounds import beyond
from annotator3d.ledger.class_lists import tables_to_last
from annotator3d.ledger.connection import LedgerFile
from annotator3d.ledger.digest import canonical_text, labels_digest
from annotator3d.ledger.lineage import EventView
from annotator3d.ledger.records import (
    IGNORE,
    UNASSIGNED,
    Answer,
    Event,
    Query,
    Round,
    ScanRecord,
    Summary,
)
from annotator3d.ledger.resolution import Outcome, outcome
from annotator3d.ledger.rounds import closed_key, decision_key
from annotator3d.ledger.rows import (
    EVENT_COLUMNS,
    EVENT_VIEWS,
    QUERIES,
    ROUND_COLUMNS,
    event_of,
    event_view_of,
    query_of,
)
from annotator3d.ledger.schema import RELEASED, RESPONSES, UNDONE, Ask, EventKind, sql_list
from annotator3d.ledger.summary import summarise

_NOTHING = Outcome()
_SPENT = f"NOT {RELEASED.format('q.id')}"
_LAST = 2**62  # past any round
_TRAINED = bytes(IGNORE if label == UNASSIGNED else label for label in range(256))


class LedgerReader:
    """All that can be asked of an open ledger. `Ledger` adds what can be written.

    Attributes:
        file: the open file.
        path: of the file.
        taxonomy_names: the current classes, by train id.
        taxonomy_digest: of the current class list.
        taxonomy_version: number of the class list that labels are read and written in, from 1.
        to_current: version of a class list -> [256] current train id by that of this version.
        voxel_size: edge of a voxel, metres.
    """

    def __init__(self, file: LedgerFile) -> None:
        self.file, self.path = file, file.path
        self.taxonomy_names, self.taxonomy_digest = file.taxonomy_names, file.taxonomy_digest
        self.taxonomy_version, self.to_current = file.taxonomy_version, file.to_current
        self.voxel_size = file.voxel_size

    @property
    def ledger_id(self) -> str:
        """Identifies this ledger and the work packages made from it."""
        ((value,),) = self.file.rows("SELECT value FROM meta WHERE key = 'ledger_id'")
        return value

    def scan(self, scan_id: str) -> ScanRecord | None:
        """The scan as registered, None if it never was."""
        rows = self.file.rows("SELECT id, fingerprint, num_points FROM scans WHERE id = ?", scan_id)
        return next((ScanRecord(*row) for row in rows), None)

    def scans(self) -> list[ScanRecord]:
        """All registered scans, by id."""
        rows = self.file.rows("SELECT id, fingerprint, num_points FROM scans ORDER BY id")
        return [ScanRecord(*row) for row in rows]

    def class_names_of(self, version: int) -> tuple[str, ...]:
        """The classes of a version of the class list, by train id."""
        (row,) = self.file.rows("SELECT classes FROM taxonomies WHERE version = ?", version)
        return tuple(parse_json(row[0]))

    def tables_to(self, version: int) -> dict[int, bytes]:
        """Version up to this one -> [256] train id in this version by that of the other."""
        rows = self.file.rows("SELECT mapping FROM taxonomies ORDER BY version")
        return tables_to_last([mapping for (mapping,) in rows[:version]])

    def earlier_digests(self) -> set[str]:
        """Digests of the class lists before the current one."""
        rows = self.file.rows("SELECT digest FROM taxonomies ORDER BY version")
        return {digest for (digest,) in rows[:-1]}

    def rounds(self) -> list[Round]:
        """All rounds in order."""
        rows = self.file.rows(f"SELECT {ROUND_COLUMNS} FROM rounds ORDER BY round")
        return [Round(*row) for row in rows]

    def round_decision(self, round: int) -> str | None:
        """How the size of a round was decided, in words; None where nothing had to be decided."""
        rows = self.file.rows("SELECT value FROM meta WHERE key = ?", decision_key(round))
        return next((value for (value,) in rows), None)

    def is_closed(self, round: int) -> bool:
        """Whether training need not wait for the open queries of a round."""
        return bool(self.file.rows("SELECT 1 FROM meta WHERE key = ?", closed_key(round)))

    def queries(self, round: int | None = None, scan: str | None = None) -> list[Query]:
        """Queries asked and not released, by round, scan and rank."""
        return self._queries(_SPENT, round, scan)

    def open_queries(self, round: int | None = None, scan: str | None = None) -> list[Query]:
        """Queries that wait for an answer, by round, scan and rank.

        Nobody has answered them, or somebody is asked to answer them again, or a class that their
        answer has was split.
        """
        return self._those(lambda where: where.open, round, scan)

    def disputed_queries(self, round: int | None = None, scan: str | None = None) -> list[Query]:
        """Queries whose answers differ and which nobody has decided, by round, scan and rank."""
        return self._those(lambda where: where.disputed, round, scan)

    def query(self, query_id: int) -> Query:
        """One query, released or not. Raises ValueError if there is none of that id."""
        rows = self.file.rows(f"{QUERIES} WHERE q.id = ?", query_id)
        for row in rows:
            return query_of(row)
        ((first, last),) = self.file.rows("SELECT MIN(id), MAX(id) FROM queries")
        there = "it has none yet" if last is None else f"its numbers go from {first} to {last}"
        raise ValueError(f"{self.path} has no query {query_id!r}; {there}")

    def current(self, query_id: int) -> Answer | None:
        """The effective response to a query; None while there is none, or a dispute."""
        self.query(query_id)
        event = self._effective(query_id)
        return None if event is None else event.answer

    def events(self, query_id: int | None = None) -> list[Event]:
        """All events (of one query), oldest first."""
        return self._events("") if query_id is None else self._events("WHERE query = ?", query_id)

    def changes_since(self, query_id: int, event_id: int) -> tuple[list[Query], list[Event]]:
        """Queries asked after one (released ones too) and events after one, by id."""
        with self.snapshot():
            rows = self.file.rows(f"{QUERIES} WHERE q.id > ? ORDER BY q.id", query_id)
            return [query_of(row) for row in rows], self._events("WHERE id > ?", event_id)

    def requests(self, ask: Ask | str | None = None, *, undone: bool = True) -> list[Event]:
        """Every request (of one kind) that was ever made, oldest first.

        Args:
            ask: what it asks for; None: anything.
            undone: those that were taken back, too.
        """
        back = "" if undone else f" AND NOT {UNDONE.format('events.id')}"
        return self._events(
            f"WHERE kind = '{EventKind.REQUEST}' AND (?1 IS NULL OR ask = ?1){back}", ask
        )

    def annotators(self, kinds: Iterable[EventKind] = tuple(EventKind)) -> list[str]:
        """Names of all who did something (of these kinds), sorted."""
        where = f"WHERE kind IN {sql_list(kinds)}"
        rows = self.file.rows(f"SELECT DISTINCT annotator FROM events {where} ORDER BY annotator")
        return [name for (name,) in rows]

    def absurd_events(self) -> int:
        """Number of events with a time, clicks, a date or a name that cannot be; see `bounds`."""
        columns = ("annotator", "seconds", "clicks", "created_at")
        rows = self.file.rows(f"SELECT {', '.join(columns)} FROM events")
        events = (dict(zip(columns, row, strict=True)) for row in rows)
        return sum(beyond("events", event) is not None for event in events)

    def proposals_accepted(self) -> dict[int, bool | None]:
        """Event id -> whether it took a proposal unchanged; None where none was offered."""
        rows = self.file.rows("SELECT id, proposal_accepted FROM events")
        return {id_: None if taken is None else bool(taken) for id_, taken in rows}

    def written_labels(self, event_id: int) -> tuple[bytes | None, int]:
        """(labels, version of the class list): an event's as they were written, untranslated."""
        (row,) = self.file.rows("SELECT labels, taxonomy FROM events WHERE id = ?", event_id)
        return row

    def outcome(self, query_id: int) -> Outcome:
        """The outcome of a query: its active responses, disputes and pending requests."""
        return outcome(self.history(query_id))

    def responses(self, round: int | None = None) -> list[tuple[Query, Answer | None]]:
        """Every spent query with its effective response, by round, scan and rank."""
        found = [(query, where.effective) for query, where in self.outcomes(round)]
        # read after the outcomes: whatever they name is there
        events = {e.id: e.answer for e in self._events(f"WHERE kind IN {RESPONSES}")}
        return [(query, None if best is None else events[best.id]) for query, best in found]

    def queried_cells(self, scan_id: str, before_round: int | None = None) -> np.ndarray:
        """Cells of a scan that were asked about and not released: [Q, 3] int32."""
        rows = self.file.rows(
            f"SELECT q.x, q.y, q.z FROM queries q WHERE q.scan = ? AND q.round < ? AND {_SPENT}"
            " ORDER BY q.round, q.rank",
            scan_id,
            _LAST if before_round is None else before_round,
        )
        return np.array(list(rows), dtype=np.int32).reshape(-1, 3)

    def labels_for_scan(self, scan_id: str, up_to_round: int | None = None) -> list[VoxelLabels]:
        """Effective labels of a scan's voxels, of rounds 1..up_to_round (all if None)."""
        return [labels for _, labels in self.labels(up_to_round, scan_id)]

    def labels_by_scan(self, up_to_round: int | None = None) -> dict[str, list[VoxelLabels]]:
        """`labels_for_scan` of every labelled scan, in one pass."""
        found: dict[str, list[VoxelLabels]] = defaultdict(list)
        for scan, labels in self.labels(up_to_round):
            found[scan].append(labels)
        return dict(found)

    def labels(
        self, up_to_round: int | None = None, scan_id: str | None = None
    ) -> Iterable[tuple[str, VoxelLabels]]:
        """(scan id, effective labels) by scan, round and rank; an ignored voxel is all 255.

        So are points that were not asked about, and those of a class that was split, until they are
        labelled again.
        """
        self.file.require_still_whole()
        found = self.outcomes(scan=scan_id, up_to_round=up_to_round)
        for query, where in sorted(found, key=lambda pair: pair[0].scan):  # stable
            if where.effective is not None and where.effective.labels is not None:
                given = where.effective.labels or bytes([IGNORE]) * query.num_labels
                labels = query.voxel_labels(np.frombuffer(given.translate(_TRAINED), np.uint8))
                yield query.scan, VoxelLabels(query.cell, labels, query.round)

    def spent(self, round: int | None = None) -> int:
        """Number of voxels asked and not released, of one round or of all."""
        where, values = ("", ()) if round is None else ("AND q.round = ?", (round,))
        (row,) = self.file.rows(f"SELECT COUNT(*) FROM queries q WHERE {_SPENT} {where}", *values)
        return row[0]

    def digest(self, up_to_round: int | None = None) -> str:
        """Hex digest of the effective labels: equal exactly when training sees the same labels."""
        return labels_digest(self.labels(up_to_round))

    def snapshot(self) -> AbstractContextManager[object]:
        """What is read in the block is of one moment, whatever is written meanwhile.

        Keep it short: on a network disk and in a package, writers wait until it ends.
        """
        return self.file.transaction("DEFERRED")

    def export_canonical(self) -> str:
        """The ledger as JSON lines without ids, times and origin of the weights.

        Two runs that asked the same and were answered the same give the same text.
        """
        with self.snapshot():
            settings = {
                "taxonomy": self.taxonomy_digest,
                "classes": list(self.taxonomy_names),
                "voxel_size": self.voxel_size,
            }
            return canonical_text(settings, self.scans(), self.rounds(), self.responses())

    def summary(self) -> Summary:
        """The state of the ledger, in numbers."""
        ((released,),) = self.file.rows(
            f"SELECT COUNT(*) FROM events WHERE kind = '{EventKind.RELEASE}'"
        )
        return summarise(self.outcomes(), len(self.rounds()), released)

    def outcomes(
        self, round: int | None = None, scan: str | None = None, up_to_round: int | None = None
    ) -> list[tuple[Query, Outcome]]:
        """Every spent query with its outcome, by round, scan and rank."""
        found = self.histories(round, scan, up_to_round)
        return [(query, outcome(events) if events else _NOTHING) for query, events in found]

    def histories(
        self, round: int | None = None, scan: str | None = None, up_to_round: int | None = None
    ) -> list[tuple[Query, list[EventView]]]:
        """Every spent query with the events that decide its outcome, by round, scan and rank."""
        last = _LAST if up_to_round is None else int(up_to_round)
        queries = self._queries(f"{_SPENT} AND q.round <= {last}", round, scan)
        rows = self.file.rows(
            f"{EVENT_VIEWS} AND (?1 IS NULL OR q.round = ?1) AND (?2 IS NULL OR q.scan = ?2)",
            round,
            scan,
        )
        events: dict[int, list[EventView]] = defaultdict(list)
        for query, *values in rows:
            events[query].append(event_view_of(values))
        return [(query, events[query.id]) for query in queries]

    def _those(
        self, which: Callable[[Outcome], bool], round: int | None, scan: str | None
    ) -> list[Query]:
        return [query for query, where in self.outcomes(round, scan) if which(where)]

    def history(self, query_id: int) -> list[EventView]:
        """The events that decide the outcome of a query, in no order."""
        rows = self.file.rows(f"{EVENT_VIEWS} AND q.id = ?", query_id)
        return [event_view_of(values) for _, *values in rows]

    def _effective(self, query_id: int) -> Event | None:
        best = self.outcome(query_id).effective
        return None if best is None else self._events("WHERE id = ?", best.id)[0]

    def _events(self, where: str, *values: object) -> list[Event]:
        rows = self.file.rows(f"SELECT {EVENT_COLUMNS} FROM events {where} ORDER BY id", *values)
        return [event_of(row) for row in rows]

    def _queries(self, where: str, round: int | None, scan: str | None) -> list[Query]:
        rows = self.file.rows(
            f"{QUERIES} WHERE {where} AND (?1 IS NULL OR q.round = ?1)"
            " AND (?2 IS NULL OR q.scan = ?2) ORDER BY q.round, q.scan, q.rank",
            round,
            scan,
        )
        return [query_of(row) for row in rows]
