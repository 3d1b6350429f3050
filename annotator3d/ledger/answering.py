"""Writing down what oracles say: answers, the reasons for none, and taking things back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import COLUMNS, IGNORE, Answer, Query, new_uid
from annotator3d.ledger.schema import ASKS, NOW, RESPONSES


class AnswerBook(LedgerReader):
    """The answering half of `Ledger`: each call is one transaction, durable when it returns."""

    def record(self, query_id: int, answer: Answer) -> int:
        """Write what an oracle says about a query; gives the id of the event.

        A response to an answered query is a correction: it supersedes the one before. Where another
        opinion is asked for, it is that, if it comes from the right person.

        Raises ValueError for an unknown or released query, or labels that do not fit.
        """
        if answer.kind not in RESPONSES:
            raise ValueError(f"an oracle responds with one of {RESPONSES}, not {answer.kind!r}")
        query = self.query(query_id)
        if answer.kind == "answer":
            answer = replace(answer, labels=self._checked(query, answer.labels))
        elif answer.labels is not None:
            raise ValueError(f"query {query_id}: {answer.kind!r} takes no labels")
        with self._transaction():
            before = self.outcome(query_id).replaced_by(answer.annotator)
            return self._append(query_id, answer, before)

    def answer(
        self,
        query_id: int,
        labels: ArrayLike,
        *,
        annotator: str,
        seconds: float | None = None,
        clicks: int | None = None,
        proposal_accepted: bool | None = None,
        note: str | None = None,
    ) -> int:
        """Label every point of the voxel: train ids [n], points in file order, 255 = ignore."""
        given = np.asarray(labels)
        return self.record(
            query_id,
            Answer("answer", given, annotator, seconds, clicks, proposal_accepted, note),
        )

    def skip(self, query_id: int, *, annotator: str, seconds: float | None = None) -> int:
        """Pass the query by: it stays spent, gives no labels and no longer waits."""
        return self.record(query_id, Answer("skip", None, annotator, seconds))

    def unsure(self, query_id: int, *, annotator: str, seconds: float | None = None) -> int:
        """Say that the class cannot be told: as `skip`, with the reason on record."""
        return self.record(query_id, Answer("unsure", None, annotator, seconds))

    def ignore(self, query_id: int, *, annotator: str, seconds: float | None = None) -> int:
        """Say that no class of the taxonomy fits: every point is 255."""
        return self.record(query_id, Answer("ignore", None, annotator, seconds))

    def undo(self, query_id: int, *, annotator: str) -> int:
        """Take back the response in force; the one before it, if any, is in force again.

        To redo, record the response again. Raises ValueError if nothing is in force.
        """
        self.query(query_id)
        with self._transaction():
            before = self._in_force(query_id)
            if before is None:
                raise ValueError(f"query {query_id} has no response that could be undone")
            return self._append(query_id, Answer("undo", None, annotator), before.id)

    def release(self, query_id: int, *, annotator: str) -> int:
        """Give back a query that nobody has ever answered: its voxel may be asked about again."""
        self.query(query_id)
        with self._transaction():
            return self._append(query_id, Answer("release", None, annotator), None)

    def note(self, query_id: int, text: str, *, annotator: str) -> int:
        """Leave a remark on a query."""
        self.query(query_id)
        with self._transaction():
            return self._append(query_id, Answer("note", None, annotator, note=text), None)

    def request(
        self,
        query_id: int,
        ask: str,
        *,
        annotator: str,
        note: str | None = None,
    ) -> int:
        """Ask about a voxel once more; it waits until that is answered, and is not spent again.

        Args:
            ask: of `schema.ASKS`. "overlap": an opinion of somebody who has given none. "repeat":
                another one of `annotator`. "again": a correction of what is in force, which counts
                until then, by anybody.
            annotator: who asks; of "repeat", who is asked.
            note: why.

        Raises ValueError for an unknown `ask`, or "again" where nothing is in force.
        """
        if ask not in ASKS:
            raise ValueError(f"a request asks for one of {ASKS}, not {ask!r}")
        self.query(query_id)
        with self._transaction():
            before = self.outcome(query_id).in_force
            if ask == "again" and before is None:
                raise ValueError(f"query {query_id} has no answer that could be given again")
            about = before.id if ask == "again" else None
            answer = Answer("request", None, annotator, note=note)
            return self._append(query_id, answer, about, ask=ask)

    def review(
        self, event_id: int, verdict: str, *, annotator: str, note: str | None = None
    ) -> int:
        """Judge a response: "approve" lets it count before others, "reject" takes it away.

        Raises ValueError for another verdict, or an event that is no response which stands.
        """
        if verdict not in ("approve", "reject"):
            raise ValueError(f"a verdict is approve or reject, not {verdict!r}")
        with self._transaction():
            found = self._events("WHERE id = ?", event_id)
            query = found[0].query if found else 0
            if not found or event_id not in [e.id for e in self.outcome(query).current]:
                raise ValueError(f"event {event_id} of {self.path} is no response that stands")
            answer = Answer(verdict, None, annotator, note=note)
            return self._append(query, answer, event_id)

    def _append(
        self,
        query_id: int,
        answer: Answer,
        supersedes: int | None,
        action: int | None = None,
        ask: str | None = None,
        uid: str | None = None,
    ) -> int:
        (now,) = self._db.execute(f"SELECT {NOW}").fetchone()
        accepted = answer.proposal_accepted
        if answer.seconds is not None and np.isnan(answer.seconds):
            raise ValueError(f"query {query_id}: seconds must be 0 or more, got {answer.seconds}")
        values = (
            int(query_id),
            answer.kind,
            None if answer.labels is None else answer.labels.tobytes(),
            self.taxonomy_version,
            answer.annotator,
            None if answer.seconds is None else float(answer.seconds),
            None if answer.clicks is None else int(answer.clicks),
            None if accepted is None else int(accepted),
            answer.note,
            now,
            ask,
        )
        cursor = self._db.execute(
            f"INSERT INTO events ({', '.join(COLUMNS)}, supersedes, action, uid)"
            f" VALUES ({', '.join('?' * len(values))}, ?, ?, ?)",
            (*values, supersedes, action, uid or new_uid(values)),
        )
        return int(cursor.lastrowid or 0)

    def _checked(
        self, query: Query, labels: np.ndarray | None, besides: tuple[int, ...] = (IGNORE,)
    ) -> NDArray[np.uint8]:
        given = np.asarray([] if labels is None else labels)
        if given.shape != (query.num_points,) or given.dtype.kind not in "ui":
            raise ValueError(
                f"query {query.id} needs one integer label for each of its {query.num_points} "
                f"points, got shape {given.shape} of {given.dtype}"
            )
        count = len(self.taxonomy_names)
        wrong = (given < 0) | ((given >= count) & ~np.isin(given, besides))
        if wrong.any():
            raise ValueError(
                f"query {query.id}: label {given[wrong][0]} is neither a class (0..{count - 1}) "
                f"nor {IGNORE} (ignore)"
            )
        return given.astype(np.uint8)
