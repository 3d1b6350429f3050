"""Asking again, to learn how good the answers are: another person, or the same one later.

Which queries is decided by a hash of the round's seed, the scan and the cell alone. So it is the
same on every machine and in every order of work, and a larger share holds every smaller one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.opinions import opinions
from annotator3d.ledger.records import Answer, Event, Query
from annotator3d.ledger.schema import Ask, EventKind

DISTANCE = 20  # answers of a person before the same question may come again


@dataclass(frozen=True)
class OverlapOptions:
    """How much is asked again, 0..1. Raises ConfigError for other numbers."""

    overlap: float = 0.0  # of the queries of each round, to a second person
    repeat: float = 0.0  # of what a person has answered, to the same person

    def __post_init__(self) -> None:
        for name, share in vars(self).items():
            if not 0 <= share <= 1:
                raise ConfigError(f"{name}: expected a share of 0 to 1, got {share}")


def share_of(text: str) -> float:
    """A share from ``5%`` or ``0.05``. Raises ConfigError for anything else."""
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError(f"expected a share such as 5% or 0.05, got {text!r}")
    return share


def is_sampled(query: Query, seed: int, share: float, why: str) -> bool:
    """Whether a query is in the share of its round; `why` makes choices that do not depend."""
    text = f"{why}\0{seed}\0{query.scan}\0{query.cell}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < share * 2**64


def request_all(
    ledger: Ledger, shares: OverlapOptions, *, annotator: str
) -> tuple[list[int], dict[str, list[int]]]:
    """What `request_overlap` and then `request_repeats` ask and return, all of it or nothing."""
    with ledger.transaction():
        return _overlap(ledger, shares.overlap, annotator), _repeats(ledger, shares.repeat)


def request_overlap(ledger: Ledger, share: float, *, annotator: str) -> list[int]:
    """Ask for a second person's opinion on a share of each round; returns the queries, by id.

    A query for which one was ever asked is left out, also if that request was undone.
    """
    with ledger.transaction():  # so that two processes ask once
        return _overlap(ledger, share, annotator)


def request_repeats(ledger: Ledger, share: float) -> dict[str, list[int]]:
    """Ask everybody again about their answers that are due; returns the queries by person."""
    with ledger.transaction():
        return _repeats(ledger, share)


def _overlap(ledger: Ledger, share: float, annotator: str) -> list[int]:
    seeds = {entry.number: entry.seed for entry in ledger.rounds()}
    asked = {event.query for event in ledger.requests(Ask.OVERLAP)}
    wanted = [
        query
        for query in sorted(ledger.queries(), key=lambda query: query.id)
        if query.id not in asked and is_sampled(query, seeds[query.round], share, Ask.OVERLAP)
    ]
    for query in wanted:
        _ask(ledger, query, Ask.OVERLAP, annotator)
    return [query.id for query in wanted]


def _repeats(ledger: Ledger, share: float) -> dict[str, list[int]]:
    events, found = ledger.events(), {}
    queries = {query.id: query for query in ledger.queries()}
    outcomes = [ledger.outcome(query) for query in queries]
    for person in sorted({e.answer.annotator for e in events if e.answer.kind is EventKind.ANSWER}):
        repeats = RepeatScheduler(ledger, queries, person, share)
        repeats.feed(events)
        at_end = not any(where.is_open_for(person) for where in outcomes)
        if asked := repeats.write(repeats.due(at_end)):
            found[person] = asked
    return found


class RepeatScheduler:
    """What one person is to be asked again; `feed` it all events in the order of their ids.

    An answer is due when the person has given `DISTANCE` others since, or when nothing else waits
    for them and it is not their last one: never at once, so that nobody answers from memory.

    Args:
        queries: id -> query, without the released ones; may grow.
        share: of the person's answers.
    """

    def __init__(
        self, ledger: Ledger, queries: Mapping[int, Query], annotator: str, share: float
    ) -> None:
        self._ledger, self._queries = ledger, queries
        self.annotator, self.share = annotator, share
        self._seeds: dict[int, int] = {}
        self._given = 0
        self._pending: dict[int, int] = {}  # query -> number of answers given, with this one
        self._asked: set[int] = set()

    def feed(self, events: Iterable[Event]) -> None:
        """Take in events; other people's are ignored."""
        for event in events if self.share else ():
            if event.answer.annotator != self.annotator:
                continue
            if event.ask is Ask.REPEAT:
                self._asked.add(event.query)
                self._pending.pop(event.query, None)
            elif event.answer.kind.gives_classes:
                self._given += 1
                if event.query not in self._asked and self._is_sampled(event.query):
                    self._pending[event.query] = self._given

    def request(self, at_end: bool) -> list[int]:
        """Ask for what is due; `at_end`: nothing else waits for this person. Returns queries."""
        due = self.due(at_end)
        if not due:
            return []
        with self._ledger.transaction():
            wanted = self.write(due)
        for query in due:  # those without an opinion come back with their next answer
            del self._pending[query]
        return wanted

    def due(self, at_end: bool) -> list[int]:
        """The queries that `request` looks at."""
        apart = 1 if at_end else DISTANCE
        return [query for query, given in self._pending.items() if self._given - given >= apart]

    def write(self, due: Iterable[int]) -> list[int]:
        """Ask for those that were not requested yet; the caller has begun a transaction."""
        requests = self._ledger.requests(Ask.REPEAT)
        asked = {e.query for e in requests if e.answer.annotator == self.annotator}
        wanted = [q for q in due if q not in asked and self._has_opinion(q)]
        for query in wanted:
            _ask(self._ledger, self._queries[query], Ask.REPEAT, self.annotator)
        return wanted

    def _has_opinion(self, query: int) -> bool:
        """Whether the person has given an independent opinion to compare with."""
        active = self._ledger.outcome(query).active_responses
        given = opinions(self._ledger.history(query))
        return any(e.annotator == self.annotator for e in active) and any(
            o.event.annotator == self.annotator for o in given
        )

    def _is_sampled(self, query_id: int) -> bool:
        query = self._queries.get(query_id)
        if query is None:
            return False
        if query.round not in self._seeds:
            self._seeds = {entry.number: entry.seed for entry in self._ledger.rounds()}
        return is_sampled(query, self._seeds[query.round], self.share, f"repeat {self.annotator}")


def _ask(ledger: Ledger, query: Query, ask: Ask, annotator: str) -> None:
    """Write a request; its uid is the same on every machine, so that merging keeps one."""
    who = annotator if ask is Ask.REPEAT else ""
    text = f"{ask}\0{who}\0{query.round}\0{query.scan}\0{query.cell}"
    uid = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    request = Answer(EventKind.REQUEST, None, annotator)
    ledger.append(query.id, request, None, ask=ask, uid=uid)
