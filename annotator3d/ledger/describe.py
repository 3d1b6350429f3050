"""Labels in words, as people read them beside a voxel and in a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.errors import count
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import IGNORE, UNASSIGNED, Query

TO_LABEL = "to be labelled"
_SPECIAL = {IGNORE: "no class", UNASSIGNED: TO_LABEL}


def describe_classes(labels: NDArray[np.uint8], names: Sequence[str]) -> str:
    """Classes of labels [n], the most frequent first."""
    ids, counts = np.unique(labels, return_counts=True)
    ordered = ids[np.argsort(-counts, kind="stable")].tolist()
    return ", ".join(describe_class(i, names) for i in ordered)


def describe_class(label: int, names: Sequence[str]) -> str:
    """The class of a label, also where it is none."""
    return _SPECIAL.get(label) or names[label]


def describe_answer(ledger: LedgerReader, event: int, labels: NDArray[np.uint8]) -> str:
    """The classes of an answer; of points whose class was split since, also the original one.

    Args:
        event: its id.
        labels: [n] in the current classes.
    """
    words = describe_classes(labels, ledger.taxonomy_names)
    if UNASSIGNED not in labels:
        return words
    then, version = ledger.written_labels(event)
    original = np.frombuffer(then, np.uint8)[labels == UNASSIGNED]
    return f"{words} (then: {describe_classes(original, ledger.class_names_of(version))})"


def describe_points(query: Query) -> str:
    """How many points a query asks about, and of how many where that is not all."""
    if query.label_points is None:
        return count(query.num_points, "point")
    return f"{query.num_labels} of {count(query.num_points, 'point')}"


def describe_disputed(number: int, where: Path) -> str:
    """How many voxels wait for a decision, and the command; `where`: work directory or package."""
    differ = (
        "1 voxel is answered differently and waits"
        if number == 1
        else (f"{number} voxels are answered differently and wait")
    )
    return f"{differ} for a decision: annotator3d label {where} --review --disputed"


def describe_holders(holders: Iterable[str]) -> str:
    """Of voxels that wait but are held, by whom; empty where there are none.

    Args:
        holders: a name for each voxel.
    """
    held = Counter(holders)
    people = ", ".join(f"{who} {number}" for who, number in sorted(held.items()))
    verb = "is" if held.total() == 1 else "are"
    return f"{held.total()} {verb} held by others: {people}" if held else ""
