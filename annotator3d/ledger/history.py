"""The history of a query, or the latest events, as rows for people: `annotator3d ledger log`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotator3d.errors import ConfigError, count
from annotator3d.ledger.describe import describe_class, describe_points
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import Event
from annotator3d.ledger.schema import EventKind

_DESCRIPTIONS = {
    EventKind.IGNORE: "no class fits",
    EventKind.SKIP: "skipped",
    EventKind.APPROVE: "approved",
    EventKind.REJECT: "rejected",
}
Row = tuple[str, ...]


def describe_history(
    ledger: LedgerReader,
    query: int | None = None,
    annotator: str | None = None,
    round: int | None = None,
    last: int = 20,
) -> tuple[str, list[Row]]:
    """(title, rows) of all events of a query, or of the latest ones.

    A row has the event, its query, time (UTC), person, what it says, the event that it is about,
    and what it took. Classes are named as they are called today, and where the class list has
    changed since as they were called then.

    Raises ConfigError if there is no such query, round or person, and for less than 1 event.
    """
    if last < 1:
        raise ConfigError(f"--last: expected at least 1 event, got {last}")
    _require_known(ledger, query, annotator, round)
    events = ledger.events(query)
    rounds = {} if round is None else {q.id for q in ledger.queries(round)}
    found = [
        event
        for event in events
        if annotator in (None, event.answer.annotator) and (round is None or event.query in rounds)
    ]
    if query is None:
        title, found = f"{ledger.path}: the last of {count(len(found), 'event')}", found[-last:]
    else:
        title = _title(ledger, query)
    gone = {e.supersedes for e in events if e.answer.kind.revokes}
    then = _original_classes(ledger)
    names = ledger.taxonomy_names
    return title, [_row(event, names, event.id in gone, then.get(event.id)) for event in found]


def _require_known(
    ledger: LedgerReader, query: int | None, annotator: str | None, round: int | None
) -> None:
    path = ledger.path
    if query is not None:
        try:
            ledger.query(query)
        except ValueError as error:
            raise ConfigError(f"--query: {error}") from error
    if round is not None and round not in (numbers := [r.number for r in ledger.rounds()]):
        there = f"it has 1 to {len(numbers)}" if numbers else "it has none yet"
        raise ConfigError(f"--round: {path} has no round {round}; {there}")
    if annotator is not None:
        people = ledger.annotators()
        if annotator not in people:
            there = f"these did: {', '.join(people)}" if people else "nobody has yet"
            raise ConfigError(f"--annotator: {annotator!r} has done nothing in {path}; {there}")


def _original_classes(ledger: LedgerReader) -> dict[int, str]:
    """What answers in earlier class lists said, in their own class names: event -> classes."""
    rows = ledger.file.rows(
        "SELECT id, labels, taxonomy FROM events WHERE labels IS NOT NULL AND taxonomy < ?",
        ledger.taxonomy_version,
    )
    names = {version: ledger.class_names_of(version) for version in {row[2] for row in rows}}
    return {
        id_: _classes(np.frombuffer(labels, np.uint8), names[version])
        for id_, labels, version in rows
    }


def _title(ledger: LedgerReader, number: int) -> str:
    query, where = ledger.query(number), ledger.outcome(number)
    state = "open" if where.open else "disputed" if where.disputed else "settled"
    if any(event.answer.kind is EventKind.RELEASE for event in ledger.events(number)):
        state = "released"
    return (
        f"query {number}: scan {query.scan}, voxel {query.cell}, {describe_points(query)}, round "
        f"{query.round}, score {query.score:.3f}, asked {query.asked_at}; {state}"
    )


def _row(event: Event, names: Sequence[str], gone: bool, then: str | None) -> Row:
    answer = event.answer
    timed = answer.seconds is not None and answer.kind is not EventKind.LEASE
    took = f"{answer.seconds:.1f} s" if timed else ""
    if answer.clicks:
        took = f"{took}, {count(answer.clicks, 'click')}".lstrip(", ")
    about = "" if event.supersedes is None else str(event.supersedes)
    what = _what(event, names, then) + (" (taken back)" if gone else "")
    return (
        str(event.id),
        str(event.query),
        event.created_at,
        answer.annotator,
        what,
        about,
        took,
    )


def _what(event: Event, names: Sequence[str], then: str | None) -> str:
    answer = event.answer
    if answer.labels is not None:
        words = _classes(answer.labels, names)
        if then not in (None, words):
            words += f" (then: {then})"
        words = f"draft: {words}" if answer.kind is EventKind.DRAFT else words
        if answer.proposal_accepted:
            words += ", as proposed"
    elif answer.kind is EventKind.LEASE:
        words = f"holds it for {_time(answer.seconds)}" if answer.seconds else "no longer holds it"
    elif answer.kind is EventKind.REQUEST:
        words = f"asks once more ({event.ask})"
    else:
        words = _DESCRIPTIONS.get(answer.kind, answer.kind)
    if event.taxonomy > 1:
        words += f" [class list {event.taxonomy}]"
    return f"{words}: {answer.note}" if answer.note else words


def _time(seconds: float) -> str:
    for unit, length in (("days", 86400), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.0f} s"


def _classes(labels: np.ndarray, names: Sequence[str]) -> str:
    ids, counts = np.unique(labels, return_counts=True)
    found = sorted(zip(counts.tolist(), ids.tolist(), strict=True), reverse=True)
    return ", ".join(f"{describe_class(i, names)} {count}" for count, i in found)
