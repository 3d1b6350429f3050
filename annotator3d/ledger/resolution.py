"""The outcome of a query, which all its events decide: the one place with these rules.

The responses to a query form a graph: `supersedes` names what the person who gave a response saw
before. A response is *valid* unless it was undone or rejected, and *active* unless a later valid
one goes back to it. People who answer one after the other leave one active response; two who did
not see each other's answer (a second opinion, two machines) leave two. If they agree, the earliest
is the *effective* response; if they differ, the query is disputed and has none until a reviewer
approves one. A response that only labels the points of a split class of an approved response is
approved with it.

A person who has given an independent opinion corrects that one, so that nobody overrides another
person by changing their mind; once a reviewer has decided, everybody corrects the decision.

A *request* asks once more: ``overlap`` somebody else, ``repeat`` the same person, both without
showing them the earlier answers; ``again`` anybody, who then corrects the answer. It is pending
until a response goes back to it; n overlap requests, until n + 1 people have given an independent
opinion. A response that a reviewer rejected was an opinion, so nobody is asked for another one.

Nothing here depends on the order in which the rows came into the file, so that two ledgers with the
same rows have the same outcomes.
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
    """What the events of a query amount to. Events are sorted by time and uid.

    Attributes:
        active_responses: valid responses that no later one has replaced.
        effective: the one that counts; None if there is none, or if they are disputed.
        disputed: active responses give different labels, and no approval has settled it.
        approved: of the active ones, those that a reviewer approved.
        pending_requests: requests that nobody has answered.
        authors: who gave a valid response.
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
        """Whether points of the effective response lost their label when their class was split."""
        return self.effective is not None and _TO_LABEL in (self.effective.labels or b"")

    def asks(self, annotator: str) -> EventView | None:
        """The pending request that a person may answer."""
        return next(
            (r for r in self.pending_requests if _may_answer(r, annotator, self.authors)), None
        )

    def is_open_for(self, annotator: str) -> bool:
        """Whether this person can answer it, without correcting anybody."""
        return not self.active_responses or self.in_part or self.asks(annotator) is not None

    def corrected_by(self, annotator: str) -> EventView | None:
        """The active response that a correction by this person replaces."""
        if self.effective is not None and self.effective in self.approved:
            return self.effective
        mine = [e for e in self.active_responses if e.annotator == annotator]
        return mine[-1] if mine else self.effective or next(iter(self.active_responses), None)

    def replaced_by(self, annotator: str) -> int | None:
        """What a new response of this person supersedes, if they have seen all active responses."""
        best = self.asks(annotator) or self.corrected_by(annotator)
        return None if best is None else best.id


def outcome(events: Iterable[EventView]) -> Outcome:
    """The outcome of a query with these events, in any order."""
    events = sorted(events, key=lambda e: (e.created_at, e.uid))
    revoked = revoked_of(events)
    valid = [e for e in events if e.kind.settles and e.id not in revoked]
    requests = [e for e in events if e.kind is EventKind.REQUEST and e.id not in revoked]
    reviewed = any(e.kind is EventKind.APPROVE for e in events)
    if len(valid) == 1 and not requests and not reviewed:  # nearly always
        return Outcome((valid[0],), valid[0], authors=frozenset((valid[0].annotator,)))
    first, replaced = original_of(events), superseded_by(events, valid)
    active = tuple(e for e in valid if first(e.id) not in replaced)
    judged = judged_by(events)
    kept = {first(judged(e)) for e in events if e.kind is EventKind.APPROVE and e.id not in revoked}
    rest_of = _completed(events, revoked) if kept else lambda response: ()
    approved = tuple(e for e in active if any(first(at.id) in kept for at in (e, *rest_of(e))))
    deciding = approved or active
    labelled = [e for e in deciding if e.labels is not None] or list(deciding)
    disputed = len({plain(e.labels) for e in labelled}) > 1
    return Outcome(
        active_responses=active,
        effective=labelled[0] if labelled and not disputed else None,
        disputed=disputed,
        approved=approved,
        pending_requests=_pending(events, requests, replaced),
        authors=frozenset(e.annotator for e in valid),
    )


def _completed(
    events: Iterable[EventView], revoked: set[int | None]
) -> Callable[[EventView], Iterator[EventView]]:
    """A function from a response to the earlier ones of which it only labels a split class."""
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
    """Whether labels differ from those before only in points that had to be labelled again."""
    if labels is None or _TO_LABEL not in before:
        return False
    labels = labels or bytes([IGNORE]) * len(before)
    return all(old in (UNASSIGNED, new) for old, new in zip(before, labels, strict=True))


def visible_and_parent(
    events: Sequence[EventView], where: Outcome, annotator: str
) -> tuple[int | None, int | None]:
    """The event that a person sees on top of a query, and the one that their next supersedes.

    The first is the newest valid response or draft of those that they may see. A person who is
    asked for an independent opinion sees only their own answers to that request; a person who has
    given one sees it, but not other people's. Both are ids, None if there is nothing.
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


def _may_answer(request: EventView, annotator: str, authors: frozenset[str]) -> bool:
    if request.ask is Ask.REPEAT:
        return annotator == request.annotator
    if request.ask is Ask.OVERLAP:  # a second opinion needs a first one
        return bool(authors) and annotator not in authors
    return True


def _pending(
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
