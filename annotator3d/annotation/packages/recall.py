"""Ending the holds of a person whose work package does not come home."""

from __future__ import annotations

from collections import Counter

from annotator3d.annotation.packages.choice import numbers_of
from annotator3d.ledger.ledger import Ledger


def recall_queries(ledger: Ledger, who: str, which: str | None = None) -> list[int]:
    """End the holds of a person, so that others are asked; returns the queries.

    What that person answers in a package still counts when it comes home.

    Args:
        which: numbers such as "3,17-20"; None: all that they hold.

    Raises ConfigError for other text, ValueError if the person holds none of these.
    """
    leases = ledger.leases.current()
    found = {number for number, lease in leases.items() if lease.annotator == who}
    if which is not None:
        found &= numbers_of(which, {query.id for query in ledger.queries()}, ledger)
    if not found:
        counts = Counter(lease.annotator for lease in leases.values())
        held = (
            ", ".join(f"{n} by {name}" for name, n in sorted(counts.items())) or "none by anybody"
        )
        of_these = "" if which is None else f" of {which}"
        raise ValueError(f"{ledger.path}: no query{of_these} is held by {who}; held are {held}")
    ledger.leases.give_back(sorted(found), annotator=who)
    return sorted(found)
