"""What a person's action writes: its rows in one transaction, if they still fit what was shown."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from annotator3d.ledger.answering import AnswerBook
from annotator3d.ledger.reader import QUERY_ROWS, query_of
from annotator3d.ledger.records import IGNORE, UNASSIGNED, Answer, Event, Lease, Query
from annotator3d.ledger.resolution import base, outcome
from annotator3d.ledger.schema import ENDING_KINDS, LABELLED, RELEASED

_EPOCH = 2440587.5  # 1970, as julianday() counts
# The last lease counts, until it runs out or its holder has responded, or reviewed.
# Its note is the file of the work package that the query is out in.
_HELD = (
    "SELECT l.query, l.annotator, (julianday(l.created_at) - {}) * 86400 + l.seconds AS until,"
    " l.note FROM events l WHERE until > (julianday('now') - {}) * 86400"
    " AND NOT EXISTS (SELECT 1 FROM events r WHERE r.query = l.query AND r.id > l.id"
    f" AND r.annotator = l.annotator AND r.kind IN {ENDING_KINDS}) AND l.id"
).format(_EPOCH, _EPOCH)
_HOLDER = f"{_HELD} = (SELECT MAX(id) FROM events WHERE query = ? AND kind = 'lease')"
_HOLDERS = (
    f"{_HELD} IN (SELECT MAX(id) FROM events WHERE kind = 'lease' GROUP BY query)"
    f" AND NOT {RELEASED.format('l.query')} ORDER BY l.query"
)


class Overtaken(ValueError):  # noqa: N818 - reads as what happened
    """Somebody else came first: nothing was written. `queries` are those that have changed."""

    def __init__(self, message: str, queries: Sequence[int]) -> None:
        super().__init__(message)
        self.queries = tuple(queries)


BEFORE = -1


@dataclass(frozen=True)
class Entry:
    """One row of an action."""

    query: int
    answer: Answer  # of a kind that can be undone, a review, or undo
    seen: int | None  # the response or draft that the person saw on top, None if there was none
    supersedes: int | None  # the event that the row is about; `BEFORE`: that of the entry before


class ActionBook(AnswerBook):
    """What the labelling session needs of the ledger beside single answers."""

    def act(self, entries: Sequence[Entry], *, annotator: str) -> list[int]:
        """Write the rows of one action, all or none; gives the ids of its events.

        Raises:
            Overtaken: a query is held by somebody else, was released, or has another response or
                draft on top than the person saw.
            ValueError: an unknown query, or labels that do not fit.
        """
        checked = [(entry, self._fitting(entry, annotator)) for entry in entries]
        made: list[int] = []
        with self._transaction() as db:
            self._refuse_overtaken(db, entries, annotator)
            for entry, answer in checked:
                first = made[0] if made else None
                about = made[-1] if entry.supersedes == BEFORE else entry.supersedes
                made.append(self._append(entry.query, answer, about, first))
        return made

    def news(self, query_id: int, event_id: int) -> tuple[list[Query], list[Event]]:
        """Queries asked after one (released ones too) and what happened after an event, by id."""
        with self._transaction("DEFERRED"):  # both of one moment
            queries = self._rows(f"{QUERY_ROWS} WHERE q.id > ? ORDER BY q.id", query_id)
            return [query_of(row) for row in queries], self._events("WHERE id > ?", event_id)

    def lease(
        self,
        query_ids: Sequence[int],
        *,
        annotator: str,
        seconds: float,
        package: str | None = None,
    ) -> set[int]:
        """Hold queries for some seconds; 0 gives back what is held. Returns the ids now held.

        Left out are queries that somebody else holds or that were released. A lease of one's own
        with more than half of `seconds` to go is left as it is, unless the queries go out in a
        `package` (the name of its file): that says anew until when.
        """
        held = set()
        with self._transaction() as db:
            for query_id in map(int, query_ids):
                lease = self._lease(db, query_id)
                mine = lease is not None and lease.annotator == annotator
                if (lease is not None and not mine) or self._is_released(db, query_id):
                    continue
                left = 0.0 if lease is None else lease.until - time.time()
                if package or (left <= seconds / 2 if seconds else mine):
                    new = Answer("lease", None, annotator, float(seconds), note=package)
                    self._append(query_id, new, None)
                if seconds:
                    held.add(query_id)
        return held

    def holder(self, query_id: int) -> str | None:
        """Who holds a query at this moment."""
        with self._words():
            lease = self._lease(self._db, query_id)
        return None if lease is None else lease.annotator

    def leases(self) -> dict[int, Lease]:
        """Every query that somebody holds at this moment, and who does."""
        return {query: Lease(*values) for query, *values in self._rows(_HOLDERS)}

    def _fitting(self, entry: Entry, annotator: str) -> Answer:
        query, answer = self.query(entry.query), replace(entry.answer, annotator=annotator)
        if answer.kind not in LABELLED:
            return answer
        besides = (IGNORE, UNASSIGNED) if answer.kind == "draft" else (IGNORE,)
        return replace(answer, labels=self._checked(query, answer.labels, besides))

    def _refuse_overtaken(
        self, db: sqlite3.Connection, entries: Sequence[Entry], annotator: str
    ) -> None:
        for entry in entries:
            lease = self._lease(db, entry.query)
            why = None
            if self._is_released(db, entry.query):
                why = "was released and takes no answer"
            elif lease is not None and lease.annotator != annotator:
                why = f"is {lease.words}"
            elif self._seen(entry.query, annotator) != entry.seen:
                (who,) = db.execute(
                    "SELECT annotator FROM events WHERE query = ? AND kind != 'lease'"
                    " ORDER BY id DESC LIMIT 1",
                    (entry.query,),
                ).fetchone()
                why = f"was changed by {who} since it was shown"
            if why:
                raise Overtaken(f"query {entry.query} {why}; nothing was written", [entry.query])

    def _seen(self, query_id: int, annotator: str) -> int | None:
        told = self._happened(query_id)
        return base(told, outcome(told), annotator)[0]

    @staticmethod
    def _lease(db: sqlite3.Connection, query_id: int) -> Lease | None:
        row = db.execute(_HOLDER, (query_id,)).fetchone()
        return None if row is None else Lease(*row[1:])

    @staticmethod
    def _is_released(db: sqlite3.Connection, query_id: int) -> bool:
        return bool(db.execute(f"SELECT {RELEASED.format('?')}", (query_id,)).fetchone()[0])
