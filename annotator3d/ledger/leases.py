"""Who holds which query: nobody else is asked about it until the hold ends.

A lease is an event. The last one of a query counts, until it runs out or its holder has responded
or reviewed. Its note is the file of the work package that the query is out in.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from annotator3d.ledger.bounds import MAX_SECONDS
from annotator3d.ledger.connection import LedgerFile
from annotator3d.ledger.events import append
from annotator3d.ledger.records import Answer, Lease
from annotator3d.ledger.schema import RELEASED, EventKind, sql_list

_EPOCH = 2440587.5  # 1970, as julianday() counts
_ENDING = sql_list(kind for kind in EventKind if kind.ends_lease)
_HELD = (
    "SELECT l.query, l.annotator, (julianday(l.created_at) - {}) * 86400 + l.seconds AS until,"
    " l.note, (julianday(l.created_at) - {}) * 86400 FROM events l"
    " WHERE until > (julianday('now') - {}) * 86400"
    f" AND l.seconds <= {MAX_SECONDS}"
    " AND NOT EXISTS (SELECT 1 FROM events r WHERE r.query = l.query AND r.id > l.id"
    f" AND r.annotator = l.annotator AND r.kind IN {_ENDING}) AND l.id"
).format(_EPOCH, _EPOCH, _EPOCH)
_OF_QUERY = f"{_HELD} = (SELECT MAX(id) FROM events WHERE query = ? AND kind = '{EventKind.LEASE}')"
_OF_ALL = (
    f"{_HELD} IN (SELECT MAX(id) FROM events WHERE kind = '{EventKind.LEASE}' GROUP BY query)"
    f" AND NOT {RELEASED.format('l.query')} ORDER BY l.query"
)


class Leases:
    """The leases of a ledger, as `Ledger.leases`."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def hold(
        self,
        query_ids: Sequence[int],
        *,
        annotator: str,
        seconds: float,
        package: str | None = None,
    ) -> set[int]:
        """Hold queries for some seconds, in one transaction; returns the ids now held.

        Left out are queries that somebody else holds or that were released. A lease of the same
        person with more than half of `seconds` to go is left as it is, unless the queries go out
        in a `package` (the name of its file): that sets a new end.
        """
        held = set()
        with self._file.transaction():
            for query_id in map(int, query_ids):
                lease = self.of(query_id)
                if (lease is not None and lease.annotator != annotator) or is_released(
                    self._file, query_id
                ):
                    continue
                left = 0.0 if lease is None else lease.until - time.time()
                if package or left <= seconds / 2:
                    self._write(query_id, annotator, seconds, package)
                held.add(query_id)
        return held

    def give_back(self, query_ids: Sequence[int], *, annotator: str) -> None:
        """End the leases of a person on these queries, in one transaction."""
        with self._file.transaction():
            for query_id in map(int, query_ids):
                lease = self.of(query_id)
                if lease is not None and lease.annotator == annotator:
                    if not is_released(self._file, query_id):
                        self._write(query_id, annotator, 0.0)

    def of(self, query_id: int) -> Lease | None:
        """The lease on a query at this moment."""
        rows = self._file.rows(_OF_QUERY, query_id)
        return next((Lease(*values) for _, *values in rows), None)

    def holder(self, query_id: int) -> str | None:
        """Who holds a query at this moment."""
        lease = self.of(query_id)
        return None if lease is None else lease.annotator

    def current(self) -> dict[int, Lease]:
        """Every query that somebody holds at this moment, and the lease on it."""
        return {query: Lease(*values) for query, *values in self._file.rows(_OF_ALL)}

    def _write(
        self, query_id: int, annotator: str, seconds: float, package: str | None = None
    ) -> None:
        lease = Answer(EventKind.LEASE, None, annotator, float(seconds), note=package)
        append(self._file, query_id, lease, None)


def is_released(file: LedgerFile, query_id: int) -> bool:
    """Whether a query was given back and takes no answer."""
    ((released,),) = file.rows(f"SELECT {RELEASED.format('?')}", query_id)
    return bool(released)
