"""Which queries go into a work package."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from annotator3d.active.ledger import Ledger, Query
from annotator3d.errors import ConfigError


@dataclass(frozen=True)
class Choice:
    """Which queries go into a package."""

    which: str = "open"  # open, disputed, all, or numbers such as "3,17-20"
    rounds: tuple[int, ...] = ()  # () = of any round
    scans: tuple[str, ...] = ()  # () = of any scan
    share: tuple[int, int] | None = None  # (1, 3): the first of three equal shares
    limit: int | None = None  # most queries


def choose(ledger: Ledger, choice: Choice, to: str) -> list[Query]:
    """The queries of a choice, by round, scan and rank.

    "open" is what `to` may answer; shares part the queries by a hash of scan and voxel, so that
    whoever takes the shares of three people gets no query twice, whatever was answered meanwhile.

    Raises ConfigError for a choice that makes no sense, ValueError for a query that there is not.
    """
    where = {query: outcome for query, outcome in ledger._outcomes()}
    if choice.which == "disputed":
        found = [query for query, outcome in where.items() if outcome.disputed]
    elif choice.which == "open":
        found = [query for query, outcome in where.items() if outcome.is_open_for(to)]
    elif choice.which == "all":
        found = list(where)
    else:
        spent = {query.id: query for query in where}
        found = [_known(spent, number, ledger) for number in _numbers(choice.which)]
    if choice.rounds:
        found = [query for query in found if query.round in choice.rounds]
    if choice.scans:
        found = [query for query in found if query.scan in choice.scans]
    if choice.share is not None:
        part, of = choice.share
        found = [query for query in found if _hash(query) % of == part - 1]
    return found[: choice.limit]


def _numbers(text: str) -> list[int]:
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise ConfigError(
                f"--queries {text}: expected open, disputed, all, or numbers such as 3,17-20"
            )
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _known(spent: dict[int, Query], number: int, ledger: Ledger) -> Query:
    if number not in spent:
        raise ValueError(f"{ledger.path} has no query {number}, or it was released")
    return spent[number]


def _hash(query: Query) -> int:
    text = f"{query.scan}\0{query.cell}\0{query.round}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
