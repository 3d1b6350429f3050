"""Which queries go into a work package."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger, Query
from annotator3d.ledger.resolution import Outcome


@dataclass(frozen=True)
class PackageChoice:
    """Which queries go into a package."""

    which: str = "open"  # open, disputed, all, or numbers such as "3,17-20"
    rounds: tuple[int, ...] = ()  # () = of any round
    scans: tuple[str, ...] = ()  # () = of any scan
    share: tuple[int, int] | None = None  # (1, 3): the first of three equal shares
    limit: int | None = None  # most queries
    again: bool = False  # of those that are out in a package of the same person, not of the others


@dataclass(frozen=True)
class PackageContents:
    """The queries of a choice, and what of it was left out.

    Attributes:
        queries: by round, scan and rank.
        to_answer: ids of those that the person may answer; the others are to be looked at.
        disputed: of the others, how many wait for a decision.
        held: left out, since somebody else holds them.
        out: left out, since they are out in an earlier package of the same person.
    """

    queries: list[Query]
    to_answer: frozenset[int]
    disputed: int
    held: int
    out: int


def choose(ledger: Ledger, choice: PackageChoice, recipient: str) -> PackageContents:
    """The queries of a choice that can be packed for a person; the limit counts these only.

    "open" is what the recipient may answer. Shares divide the queries by a hash of scan and voxel,
    so that the shares of three people never overlap, whatever was answered meanwhile.

    Raises ConfigError for a choice that makes no sense, ValueError for a query that does not exist,
    or if none can be packed.
    """
    with ledger.snapshot():
        where = dict(ledger.outcomes())
        leases = ledger.leases.current()
        _require_known(choice, where, ledger)
    found = _matching(where, choice, recipient, ledger)
    to_answer = {query.id for query in found if where[query].is_open_for(recipient)}
    held = {q for q in to_answer if q in leases and leases[q].annotator != recipient}
    out = {q for q in to_answer - held if q in leases and leases[q].package is not None}
    if choice.again:
        free = [query for query in found if query.id in out]
    else:
        free = [query for query in found if query.id not in held | out]
    if not free:
        raise ValueError(f"{ledger.path}: {_why_none(choice, recipient, len(held), len(out))}")
    taken = free[: choice.limit]
    to_answer &= {query.id for query in taken}
    return PackageContents(
        taken,
        frozenset(to_answer),
        sum(where[query].disputed for query in taken if query.id not in to_answer),
        len(held),
        0 if choice.again else len(out),
    )


def numbers_of(text: str, known: Collection[int], ledger: Ledger) -> set[int]:
    """The numbers of queries in words such as "3,17-20"; ValueError for one that is not known."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise ConfigError(
                f"--queries {text}: expected open, disputed, all, or numbers such as 3,17-20"
            )
        if int(last or first) < int(first):
            raise ConfigError(f"--queries {part}: {first} comes after {last}; write {last}-{first}")
        for number in range(int(first), int(last or first) + 1):
            if number not in known:
                raise ValueError(f"{ledger.path} has no query {number}, or it was released")
            numbers.add(number)
    return numbers


def _matching(
    where: dict[Query, Outcome], choice: PackageChoice, recipient: str, ledger: Ledger
) -> list[Query]:
    if choice.which == "disputed":
        found = [query for query, outcome in where.items() if outcome.disputed]
    elif choice.which == "open":
        found = [query for query, outcome in where.items() if outcome.is_open_for(recipient)]
    elif choice.which == "all":
        found = list(where)
    else:
        numbers = numbers_of(choice.which, {query.id for query in where}, ledger)
        found = [query for query in where if query.id in numbers]
    if choice.rounds:
        found = [query for query in found if query.round in choice.rounds]
    if choice.scans:
        found = [query for query in found if query.scan in choice.scans]
    if choice.share is not None:
        part, of = choice.share
        found = [query for query in found if _hash(query) % of == part - 1]
    return found


def _require_known(choice: PackageChoice, where: Collection[Query], ledger: Ledger) -> None:
    rounds = len(ledger.rounds())
    for number in choice.rounds:
        if not 1 <= number <= rounds:
            there = f"rounds 1 to {rounds}" if rounds else "no round yet"
            raise ConfigError(f"--round {number}: {ledger.path} has {there}")
    scans = {query.scan for query in where}
    for scan in choice.scans:
        if scan not in scans:
            near = ", ".join(get_close_matches(scan, scans, n=3, cutoff=0)) or "none at all"
            raise ConfigError(
                f"--scan {scan}: {ledger.path} has no query in a scan of that name; nearest: {near}"
            )


def _why_none(choice: PackageChoice, recipient: str, held: int, out: int) -> str:
    if choice.again:
        return (
            f"no query of this choice is out in a work package for {recipient}; leave out --again"
        )
    why = [f"{held} are held by somebody else"] if held else []
    why += [f"{out} are out for {recipient} already (--again packs them again)"] if out else []
    if why:
        return f"no query of this choice is free: {', '.join(why)}; see `round status`"
    reasons = {"open": f"waits for {recipient}", "disputed": "is disputed"}
    return f"no query of this choice {reasons.get(choice.which, 'exists')}; see `round status`"


def _hash(query: Query) -> int:
    text = f"{query.scan}\0{query.cell}\0{query.round}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
