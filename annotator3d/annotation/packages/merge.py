"""Bringing the answers of work packages home.

Events are identified by their uid, so that a package may come twice, in any order with others, or
again after more was answered in it. The outcome of a query does not depend on the order
(`resolution`): two people who answered the same one are compared, not ranked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from annotator3d.annotation.packages.package import Manifest, damaged_contents, read_manifest
from annotator3d.ledger.exchange import (
    StoredEvent,
    class_lists,
    differing_rows,
    ids_by_uid,
    insert_stored,
    released_queries,
    stored_events,
    undo_by_event,
)
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.maintenance.verify import verify
from annotator3d.ledger.schema import EventKind

_OLDER = (
    "does not know; an older backup may have been put back in its place: merge into the newer one"
)


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


def merge_package(ledger: Ledger, package: Path) -> MergeResult:
    """Add to a ledger what happened in a package and is not there yet, all or nothing.

    The package is only read. Answers to a query that was released at home meanwhile stay in it, and
    are named.

    Raises:
        FileNotFoundError: there is no such package.
        ValueError: it is none, is damaged, breaks a rule of ledgers or belongs to another one;
            nothing is written then.
    """
    result = MergeResult(read_manifest(package))
    if result.manifest.ledger_id != ledger.ledger_id:
        raise ValueError(
            f"{package} was packed from another ledger ({result.manifest.ledger_id}) than "
            f"{ledger.path} ({ledger.ledger_id}); merge it there"
        )
    _require_sound(package)
    with Ledger.read(package) as away, away.snapshot():
        _require_ours(ledger, away)
        events = stored_events(away)
    with ledger.transaction():
        written = _insert(ledger, package, events, result)
    responses = {new for new, event in written.items() if event.kind.settles}
    touched = sorted({event.query for event in written.values()})
    where = {query: ledger.outcome(query) for query in touched}
    active = [
        query
        for query, outcome in where.items()
        for response in outcome.active_responses
        if response.id in responses
    ]
    result.replaced, result.answered = len(responses) - len(active), len(set(active))
    result.disputed = [query for query, outcome in where.items() if outcome.disputed]
    result.in_part = [query for query, outcome in where.items() if outcome.in_part]
    return result


def _insert(
    ledger: Ledger, package: Path, events: Sequence[StoredEvent], result: MergeResult
) -> dict[int, StoredEvent]:
    """Insert what is not at home yet, and count it; returns the new events by their id at home."""
    home, released, undone = ids_by_uid(ledger), released_queries(ledger), undo_by_event(ledger)
    ids: dict[int | None, int] = {}  # of the package -> at home
    written: dict[int, StoredEvent] = {}
    for event in events:
        supersedes, action = ids.get(event.supersedes), ids.get(event.action)
        if event.uid in home:
            ids[event.id] = home[event.uid]
            result.known += 1
        elif event.query in released:
            if event.kind.settles and event.query not in result.released:
                result.released.append(event.query)
        elif (
            event.kind is EventKind.UNDO and supersedes in undone
        ):  # on both sides: it is undone once
            ids[event.id] = undone[supersedes]
            result.known += 1
        else:
            try:
                new = insert_stored(ledger, event, supersedes, action)
            except ValueError as error:
                raise ValueError(
                    f"{package}: event {event.id} is refused: {error}; nothing was merged"
                ) from error
            ids[event.id] = home[event.uid] = new
            written[new] = event
            if event.kind is EventKind.UNDO:
                undone[supersedes] = new
            if event.kind.settles:
                result.responses[event.annotator] += 1
            else:
                result.others[event.kind] += 1
    return written


def _require_sound(package: Path) -> None:
    problems = verify(package).problems or damaged_contents(package)
    if problems:
        more = f" and {len(problems) - 1} more problems" if len(problems) > 1 else ""
        raise ValueError(
            f"{package} is damaged: {problems[0]}{more}; nothing was merged: send it again"
        )


def _require_ours(home: Ledger, away: Ledger) -> None:
    """Refuse a package whose queries are not those at home."""
    theirs, ours = class_lists(away), class_lists(home)
    if theirs[: len(ours)] == ours and len(ours) < len(theirs):
        raise ValueError(f"{away.path} has a class list that {home.path} {_OLDER}")
    if ours[: len(theirs)] != theirs or away.voxel_size != home.voxel_size:
        raise ValueError(
            f"{away.path} has class lists or voxels that {home.path} never had; it may have been "
            "packed from a copy of it, after that went its own way"
        )
    for what, name, is_known in differing_rows(home, away):
        if not is_known:
            raise ValueError(f"{away.path}: {what} {name} is one that {home.path} {_OLDER}")
        raise ValueError(
            f"{away.path}: {what} {name} is not what {home.path} has under that name; it was "
            "packed from a copy that went its own way, or an older backup was put back here and "
            "asked about other voxels since"
        )
