"""Independent opinions on a query: what people answered before they could see others' answers.

A response is independent if it goes back, through responses and drafts of the same person only, to
nothing or to a request for an opinion (``overlap``, ``repeat``). A person who answers again before
anybody else has answered may change their opinion: the last answer counts. Once there is a second
opinion, only the first answer of each person counts. A response that a reviewer has rejected was
still an opinion; one that was undone was not.

Like `resolution`, it does not depend on the order in which the rows came into the file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from annotator3d.ledger.lineage import EventView, independence_of, undone_of
from annotator3d.ledger.schema import Ask


class Opinion(NamedTuple):
    """An independent response of one person."""

    event: EventView
    repeat: bool  # the person had answered this query before


class Pair(NamedTuple):
    """Two labelled opinions on one query: of two people, or one person's first and repeated one."""

    first: EventView
    second: EventView


def opinions(events: Iterable[EventView]) -> list[Opinion]:
    """All independent opinions on a query, by time, those without labels included."""
    events = sorted(events, key=_when)
    undone = undone_of(events)
    by_id = {event.id: event for event in events}
    given: dict[tuple[str, int | None], list[EventView]] = defaultdict(list)
    for event in events:
        if event.kind.settles and event.id not in undone:
            blind, request = independence_of(event, by_id)
            if blind:
                given[event.annotator, request].append(event)
    found: list[Opinion] = []
    for (person, request), responses in given.items():  # by time
        repeat = request is not None and by_id[request].ask is Ask.REPEAT
        if not repeat and any(o.event.annotator == person and not o.repeat for o in found):
            continue  # a rejected author may be asked again, but has given an opinion already
        others = (e for group in given.values() if group is not responses for e in group)
        second = min(map(_when, others), default=None)
        alone = [e for e in responses if second is None or _when(e) < second]
        found.append(Opinion(alone[-1] if alone else responses[0], repeat))
    return sorted(found, key=lambda opinion: _when(opinion.event))


def pairs(events: Iterable[EventView]) -> Iterator[Pair]:
    """Every two opinions of different people, by name; and each repeat with what it repeats."""
    found = [o for o in opinions(events) if o.event.labels is not None]
    firsts = [o.event for o in found if not o.repeat]
    for at, one in enumerate(firsts):
        for other in firsts[:at]:
            if one.annotator != other.annotator:
                yield Pair(*sorted((one, other), key=lambda e: e.annotator))
    for again in (o.event for o in found if o.repeat):
        before = [e for e in firsts if e.annotator == again.annotator]
        if before:
            yield Pair(before[0], again)


def _when(event: EventView) -> tuple[str, str]:
    return event.created_at, event.uid
