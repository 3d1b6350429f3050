"""Where a query stands after all its events: the one place with these rules.

The responses to a query form a graph, because `supersedes` says what the person who gave one had
before them. A response *stands* unless it was undone or rejected, and is *current* unless one that
stands goes back to it. One person after the other gives one current response; two who did not see
each other's (a second opinion, two machines) give two. Those that agree are in force; those that
differ are disputed, and nothing is in force, until one is approved. What only labels the points of
a split class of an approved response is approved with it.

A person who has an opinion of their own corrects that one, so that nobody takes another's place by
changing their mind; once a reviewer has decided, everybody corrects what was decided.

A *request* asks once more: ``overlap`` somebody else, ``repeat`` the same person, both without a
look at what was said; ``again`` anybody, who then corrects it. It waits until a response goes back
to it; an overlap, until one person more than there are such requests has an opinion of their own.
One that a reviewer rejected was an opinion, so nobody is asked for another in its place.

Nothing here depends on the order in which the rows came into the file, so that two ledgers with the
same rows say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from annotator3d.ledger.lineage import (
    EventView,
    ancestors_of,
    independence_of,
    judged_by,
    original_of,
    plain,
    revoked_of,
    superseded_by,
    undone_of,
)
from annotator3d.ledger.records import IGNORE, UNASSIGNED
from annotator3d.ledger.schema import Ask, EventKind

_TO_LABEL = bytes([UNASSIGNED])


@dataclass(frozen=True)
class Outcome:
    """Where a query stands. Events are sorted by time and uid.

    Attributes:
        active_responses: responses that stand and were not replaced.
        effective: the one that counts; None if there is none, or if they are disputed.
        disputed: current responses give different labels, and none or several are approved.
        approved: of the current ones, those that a reviewer approved.
        pending_requests: requests that nobody has met.
        authors: who gave a response that stands.
    """

    active_responses: tuple[EventView, ...] = ()
    effective: EventView | None = None
    disputed: bool = False
    approved: tuple[EventView, ...] = ()
    pending_requests: tuple[EventView, ...] = ()
    authors: frozenset[str] = frozenset()

    @property
    def open(self) -> bool:
        """Whether somebody is still to answer: for the first time, by request, or in part."""
        return not self.active_responses or bool(self.pending_requests) or self.in_part

    @property
    def in_part(self) -> bool:
        """Whether points of what is in force have no label, since their class was split."""
        return self.effective is not None and _TO_LABEL in (self.effective.labels or b"")

    def asks(self, annotator: str) -> EventView | None:
        """The waiting request that a person may meet."""
        return next(
            (r for r in self.pending_requests if _may_meet(r, annotator, self.authors)), None
        )

    def is_open_for(self, annotator: str) -> bool:
        """Whether this person can answer it, without correcting anybody."""
        return not self.active_responses or self.in_part or self.asks(annotator) is not None

    def corrected_by(self, annotator: str) -> EventView | None:
        """The current response that a correction by this person is about."""
        if self.effective is not None and self.effective in self.approved:
            return self.effective
        mine = [e for e in self.active_responses if e.annotator == annotator]
        return mine[-1] if mine else self.effective or next(iter(self.active_responses), None)

    def replaced_by(self, annotator: str) -> int | None:
        """What a new response of this person goes back to, when they know all that is current."""
        best = self.asks(annotator) or self.corrected_by(annotator)
        return None if best is None else best.id


def outcome(events: Iterable[EventView]) -> Outcome:
    """Where a query stands after these events, in any order."""
    events = sorted(events, key=lambda e: (e.created_at, e.uid))
    revoked = revoked_of(events)
    standing = [e for e in events if e.kind.settles and e.id not in revoked]
    requests = [e for e in events if e.kind is EventKind.REQUEST and e.id not in revoked]
    reviewed = any(e.kind is EventKind.APPROVE for e in events)
    if len(standing) == 1 and not requests and not reviewed:  # nearly always
        return Outcome((standing[0],), standing[0], authors=frozenset((standing[0].annotator,)))
    first, replaced = original_of(events), superseded_by(events, standing)
    current = tuple(e for e in standing if first(e.id) not in replaced)
    judged = judged_by(events)
    kept = {first(judged(e)) for e in events if e.kind is EventKind.APPROVE and e.id not in revoked}
    rest_of = _completed(events, revoked) if kept else lambda response: ()
    approved = tuple(e for e in current if any(first(at.id) in kept for at in (e, *rest_of(e))))
    deciding = approved or current
    labelled = [e for e in deciding if e.labels is not None] or list(deciding)
    disputed = len({plain(e.labels) for e in labelled}) > 1
    return Outcome(
        active_responses=current,
        effective=labelled[0] if labelled and not disputed else None,
        disputed=disputed,
        approved=approved,
        pending_requests=_waiting(events, requests, replaced),
        authors=frozenset(e.annotator for e in standing),
    )


def _completed(
    events: Iterable[EventView], revoked: set[int | None]
) -> Callable[[EventView], Iterator[EventView]]:
    """A function from a response to those before it of which it only labels the split class."""
    by_id = {e.id: e for e in events}

    def before(response: EventView) -> Iterator[EventView]:
        at = by_id.get(response.supersedes)
        while at is not None:
            if at.labels is not None and at.id not in revoked:
                if not _completes(response.labels, at.labels):
                    return
                yield at
            at = by_id.get(at.supersedes)

    return before


def _completes(labels: bytes | None, before: bytes) -> bool:
    """Whether labels are those before but for points that waited to be labelled again."""
    if labels is None or _TO_LABEL not in before:
        return False
    labels = labels or bytes([IGNORE]) * len(before)
    return all(old in (UNASSIGNED, new) for old, new in zip(before, labels, strict=True))


def visible_and_parent(
    events: Sequence[EventView], where: Outcome, annotator: str
) -> tuple[int | None, int | None]:
    """What a person sees on top of a query, and what their next response goes back to.

    The first is the newest response or draft that stands, of those that they may know of: who is
    asked for an opinion of their own knows only what they said to that request, and who has one
    sees it, not those beside it. Both are ids, None if there is nothing.
    """
    asked = where.asks(annotator)
    newest = max(_known(events, where, asked, annotator), key=lambda e: e.id, default=None)
    seen = None if newest is None else newest.id
    if asked is None or (newest is not None and asked.id in ancestors_of(events)(newest)):
        return seen, seen
    return seen, asked.id


def _known(
    events: Sequence[EventView], where: Outcome, asked: EventView | None, annotator: str
) -> list[EventView]:
    revoked = revoked_of(events)
    known = [e for e in events if e.kind.is_undoable and e.id not in revoked]
    requests = {e.id for e in events if e.kind is EventKind.REQUEST and e.ask.is_independent}
    if not requests and len(where.active_responses) <= 1:  # nearly always
        return known
    before, first, by_id = ancestors_of(events), original_of(events), {e.id: e for e in events}
    mine = [e for e in known if e.annotator == annotator]
    if asked is not None and asked.ask is Ask.REPEAT:
        return [e for e in mine if asked.id in before(e)]
    corrected = where.corrected_by(annotator)
    if corrected is None or (asked is not None and asked.ask is Ask.OVERLAP):
        return [e for e in mine if independence_of(e, by_id)[0]]  # such drafts are for nobody else
    act = first(corrected.id)
    return [e for e in known if act in {first(at) for at in before(e) | {e.id}}]


def _may_meet(request: EventView, annotator: str, authors: frozenset[str]) -> bool:
    if request.ask is Ask.REPEAT:
        return annotator == request.annotator
    if request.ask is Ask.OVERLAP:  # the first opinion of all is nobody's second one
        return bool(authors) and annotator not in authors
    return True


def _waiting(
    events: Sequence[EventView], requests: Sequence[EventView], replaced: set[int]
) -> tuple[EventView, ...]:
    undone, by_id = undone_of(events), {e.id: e for e in events}
    given = [e for e in events if e.kind.settles and e.id not in undone]
    met = {e.id for r in given for e in requests if independence_of(r, by_id) == (True, e.id)}
    people = {e.annotator for e in given if independence_of(e, by_id)[0]}
    # People who answered at the same time, on two machines, each took theirs for the first opinion.
    overlaps = sorted((r for r in requests if r.ask is Ask.OVERLAP), key=lambda r: r.id in met)
    wanted = overlaps[: max(len(overlaps) + 1 - max(len(people), 1), 0)]
    return tuple(
        r
        for r in requests
        if (r in wanted if r.ask is Ask.OVERLAP else r.id not in replaced and r.id not in met)
    )
