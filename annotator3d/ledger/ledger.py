"""The ledger: one append-only SQLite file that holds every question and every answer.

It is the single source of truth of a run. What is labelled, what was spent and by whom is derived
from its rows; an undo or a correction is a new row. A round is written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike

from annotator3d.data.taxonomy import Taxonomy
from annotator3d.ledger import actions, closing, creation, events, rounds
from annotator3d.ledger.actions import EventDraft
from annotator3d.ledger.closing import CloseResult
from annotator3d.ledger.connection import LedgerFile
from annotator3d.ledger.database import is_blank
from annotator3d.ledger.leases import Leases
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import (
    Answer,
    Asked,
    Event,
    Query,
    Round,
    ScanRecord,
    Summary,
)
from annotator3d.ledger.schema import Ask, EventKind

__all__ = ["Answer", "Event", "Ledger", "Query", "Round", "ScanRecord", "Summary"]


class Ledger(LedgerReader):
    """An open ledger, a context manager. One connection of one process: reopen it after a fork.

    Each method that writes is one transaction, durable when it returns. Every method may raise
    TimeoutError when another process writes for over a minute, and OSError when the disk fails.

    Attributes:
        leases: who holds which query.
    """

    def __init__(self, file: LedgerFile) -> None:
        super().__init__(file)
        self.leases = Leases(file)

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
        creation.make_aside(path, taxonomy_names, taxonomy_digest, voxel_size)
        with _closed_on_error(LedgerFile(path, "rwc")) as file:
            creation.fill_if_empty(file, taxonomy_names, taxonomy_digest, voxel_size)
            creation.upgrade(file)
            file.identify()
            file.expect(taxonomy_names, taxonomy_digest, voxel_size)
            return cls(file)

    @classmethod
    def create(cls, path: str | Path, taxonomy: Taxonomy, voxel_size: float = 0.25) -> Ledger:
        """Begin a ledger for queries about voxels of `voxel_size` metres in these classes.

        Raises FileExistsError if the file exists, and as `open`.
        """
        if Path(path).exists():
            raise FileExistsError(f"{path} exists; open it with Ledger.open_existing")
        return cls.open(path, taxonomy.names, taxonomy.digest(), voxel_size)

    @classmethod
    def open_existing(cls, path: str | Path) -> Ledger:
        """Open an existing ledger for reading and writing, with the settings that it has.

        Raises FileNotFoundError if there is no such file, ValueError if it is not one, was made
        by another version or is held by another host on a network disk.
        """
        with _closed_on_error(LedgerFile(_existing(path), "rw")) as file:
            creation.upgrade(file)
            file.identify()
            return cls(file)

    @classmethod
    def read(cls, path: str | Path) -> Ledger:
        """Open an existing ledger for reading only; its settings are in its attributes.

        Raises FileNotFoundError if there is no such file, ValueError if it is not a ledger.
        """
        with _closed_on_error(LedgerFile(_existing(path), "ro")) as file:
            file.identify()
            return cls(file)

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self.file.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all that the block appends, or nothing; other writers wait meanwhile."""
        with self.file.transaction():
            yield

    def append(
        self,
        query_id: int,
        answer: Answer,
        supersedes: int | None,
        action: int | None = None,
        ask: str | None = None,
        uid: str | None = None,
    ) -> int:
        """Write one event of any kind within a `transaction`; returns its id.

        Only the rules of the database are checked; `answer` and the others check more.

        Args:
            supersedes: id of the event that this one is about, of the same query.
            action: id of the first event of the bulk action that this one belongs to.
            ask: of a request, its `Ask`.
            uid: identifies the event in any ledger; default: a new one.
        """
        return events.append(self.file, query_id, answer, supersedes, action, ask, uid)

    def record(self, query_id: int, answer: Answer) -> int:
        """Write the response of an oracle to a query; returns the id of the event.

        A response to an answered query is a correction: it supersedes the one before. Where another
        opinion was requested, a response of the right person is that opinion.

        Raises ValueError for an unknown or released query, or labels that do not fit.
        """
        if not answer.kind.settles:
            known = ", ".join(kind for kind in EventKind if kind.settles)
            raise ValueError(f"an oracle responds with one of {known}; got {answer.kind!r}")
        query = self.query(query_id)
        if answer.kind is EventKind.ANSWER:
            answer = replace(
                answer, labels=events.checked_labels(query, answer.labels, len(self.taxonomy_names))
            )
        elif answer.labels is not None:
            raise ValueError(f"query {query_id}: {answer.kind!r} takes no labels")
        with self.transaction():
            before = self.outcome(query_id).replaced_by(answer.annotator)
            return self.append(query_id, answer, before)

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
        """Label every point that is asked about: train ids [n], in file order, 255 = ignore."""
        given = np.asarray(labels)
        return self.record(
            query_id,
            Answer(EventKind.ANSWER, given, annotator, seconds, clicks, proposal_accepted, note),
        )

    def skip(self, query_id: int, *, annotator: str, seconds: float | None = None) -> int:
        """Skip the query: it stays spent, gives no labels and is no longer open."""
        return self.record(query_id, Answer(EventKind.SKIP, None, annotator, seconds))

    def unsure(self, query_id: int, *, annotator: str, seconds: float | None = None) -> int:
        """Say that the class is unclear: as `skip`, with the reason on record."""
        return self.record(query_id, Answer(EventKind.UNSURE, None, annotator, seconds))

    def ignore(self, query_id: int, *, annotator: str, seconds: float | None = None) -> int:
        """Say that no class of the taxonomy fits: every point is 255."""
        return self.record(query_id, Answer(EventKind.IGNORE, None, annotator, seconds))

    def undo(self, query_id: int, *, annotator: str) -> int:
        """Take back the effective response; the one before it, if any, is effective again.

        To redo, record the response again. Raises ValueError if no response is effective.
        """
        self.query(query_id)
        with self.transaction():
            before = self._effective(query_id)
            if before is None:
                raise ValueError(f"query {query_id} has no response that could be undone")
            return self.append(query_id, Answer(EventKind.UNDO, None, annotator), before.id)

    def release(self, query_id: int, *, annotator: str) -> int:
        """Give back a query that nobody has ever answered: its voxel may be asked about again."""
        self.query(query_id)
        with self.transaction():
            return self.append(query_id, Answer(EventKind.RELEASE, None, annotator), None)

    def note(self, query_id: int, text: str, *, annotator: str) -> int:
        """Add a note to a query."""
        self.query(query_id)
        with self.transaction():
            return self.append(query_id, Answer(EventKind.NOTE, None, annotator, note=text), None)

    def request(
        self,
        query_id: int,
        ask: Ask | str,
        *,
        annotator: str,
        note: str | None = None,
    ) -> int:
        """Ask again about a voxel: its query is open until that is answered, and stays spent once.

        Args:
            ask: an `Ask`, or its word. OVERLAP: an opinion of somebody who has given none. REPEAT:
                another one of `annotator`. RECHECK: a correction, by anybody, of the effective
                response, which counts until then.
            annotator: who asks; for REPEAT, the person who is asked.
            note: why.

        Raises ValueError for an unknown `ask`, or RECHECK where no response is effective.
        """
        ask = Ask(ask)
        self.query(query_id)
        with self.transaction():
            before = self.outcome(query_id).effective
            if ask is Ask.RECHECK and before is None:
                raise ValueError(f"query {query_id} has no answer that could be given again")
            about = before.id if ask is Ask.RECHECK else None
            answer = Answer(EventKind.REQUEST, None, annotator, note=note)
            return self.append(query_id, answer, about, ask=ask)

    def review(
        self, event_id: int, verdict: EventKind | str, *, annotator: str, note: str | None = None
    ) -> int:
        """Judge a response: "approve" lets it count before others, "reject" takes it away.

        Raises ValueError for another verdict, or an event that is not an active response.
        """
        kind = EventKind(verdict)
        if not kind.is_review:
            raise ValueError(f"a verdict is approve or reject; got {verdict!r}")
        with self.transaction():
            found = self._events("WHERE id = ?", event_id)
            query = found[0].query if found else 0
            if not found or event_id not in [e.id for e in self.outcome(query).active_responses]:
                raise ValueError(f"event {event_id} of {self.path} is not a response that counts")
            answer = Answer(kind, None, annotator, note=note)
            return self.append(query, answer, event_id)

    def act(self, drafts: Sequence[EventDraft], *, annotator: str) -> list[int]:
        """Write the events of one action, all or none; returns their ids.

        Raises:
            ConflictError: a query is held by somebody else, was released, or has another response
                or draft on top than the person saw.
            ValueError: an unknown query, or labels that do not fit.
        """
        return actions.write_action(self, self.leases, drafts, annotator)

    def register_scan(self, scan_id: str, fingerprint: str, num_points: int) -> None:
        """`register_scans` of one scan."""
        self.register_scans([ScanRecord(scan_id, fingerprint, num_points)])

    def register_scans(self, scans: Iterable[ScanRecord]) -> None:
        """Make scans known before they are asked about, all or none. Doing so twice is allowed.

        Raises ValueError for a scan whose file is not the one registered before.
        """
        rounds.register_scans(self.file, scans)

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
            decision: how `max_queries` was decided, in words, for `round_decision`.

        Returns the queries as recorded. Raises ValueError, and writes nothing, for a round that
        exists or is not the next, a voxel asked before, an unknown scan or too many queries.
        """
        count = sum(map(len, queries.values())) if planned is None else planned
        entry = Round(round, strategy, seed, budget, max_queries, count, epoch, source)
        rounds.insert_round(self.file, entry, queries, decision)
        return self.queries(round)

    def fill_round(self, round: int, queries: Mapping[str, Sequence[Asked]]) -> list[Query]:
        """Add all queries of some scans to a round that has room, in one transaction.

        Args:
            round: one that `add_round` has written with `planned`.
            queries: as for `add_round`; a scan's all at once.

        Returns those of these scans as recorded. Raises ValueError, and writes nothing, for an
        unknown scan, one that the round has asked about, a voxel asked before or too many queries.
        """
        rounds.insert_queries(self.file, round, queries)
        return [query for scan in sorted(queries) for query in self.queries(round, scan)]

    def close_rounds(
        self, rounds: Sequence[int], *, annotator: str, release: bool = False
    ) -> list[CloseResult]:
        """Let training go on with the answers that rounds have.

        An open query stays open and spent: an answer that comes later counts from the next epoch
        on. Closing again is allowed. All of it is written in one transaction.

        Args:
            annotator: who closes them.
            release: give the open queries back unspent instead; their voxels may be asked about
                again. One that somebody has worked on (a draft, or an answer that was undone) or
                holds (on the screen, or in a work package) stays open, unless the hold begins in
                the future, as a wrong clock makes it.

        Raises ValueError if there is no such round.
        """
        return closing.close_rounds(self, self.leases, rounds, annotator, release)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no ledger {path}; check the work directory")
    if is_blank(path):
        raise ValueError(
            f"{path} is not a ledger: the file is empty, as a start that was killed may leave it; "
            "the next `annotator3d train` or `select` fills it"
        )
    return path


@contextmanager
def _closed_on_error(file: LedgerFile) -> Iterator[LedgerFile]:
    try:
        yield file
    except BaseException:
        file.close()
        raise
