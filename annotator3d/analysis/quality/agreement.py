"""How far people agree: confusion between classes, percentage agreement and Cohen's kappa.

Only independent opinions are compared (`opinions`). The items are points, or voxels by the class of
most of their points. "No class fits" is a category of its own; points that wait to be labelled
again, since their class was split, are left out.

Kappa is (p_o - p_e) / (1 - p_e): the share p_o of items on which two people agree, and the share
p_e on which they would if each labelled at random with the frequencies that they have (J. Cohen, A
coefficient of agreement for nominal scales, Educational and Psychological Measurement 20(1), 1960).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.kappa import cohen_kappa
from annotator3d.ledger.lineage import EventView
from annotator3d.ledger.opinions import pairs
from annotator3d.ledger.records import IGNORE, UNASSIGNED, Query

Matrix = NDArray[np.int64]  # [K, K] items by the answers of the first and the second person


@dataclass
class Comparison:
    """Two opinions each on some voxels. Categories are the C classes and, last, no class.

    Attributes:
        voxels: that both have labelled.
        identical: of these, the same label at every point.
        points, dominant: [C + 1, C + 1] points, and voxels by the class of most of their points
            (of equally many, the first), by the answers of the first and the second person.
        orders: how often each item is in the matrices; 2: in either order of the people.
    """

    points: Matrix
    dominant: Matrix
    voxels: int = 0
    identical: int = 0
    orders: int = 1

    @classmethod
    def empty(cls, num_classes: int) -> Comparison:
        size = num_classes + 1
        return cls(np.zeros((size, size), np.int64), np.zeros((size, size), np.int64))

    def add(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> None:
        """Count the answers of two people for the points [n] of a voxel, as categories."""
        if not len(first):
            return
        size = len(self.points)
        np.add.at(self.points, (first, second), 1)
        most = [int(np.bincount(labels, minlength=size).argmax()) for labels in (first, second)]
        self.dominant[most[0], most[1]] += 1
        self.voxels += 1
        self.identical += int(np.array_equal(first, second))

    def both_ways(self) -> Comparison:
        """Each item once in either order, for people whose order means nothing."""
        points, dominant = self.points + self.points.T, self.dominant + self.dominant.T
        return Comparison(points, dominant, self.voxels, self.identical, 2 * self.orders)

    def named(self, category: int) -> int:
        """Points that either person gave a category."""
        row, column = self.points[category], self.points[:, category]
        return int(row.sum() + column.sum() - row[category]) // self.orders


@dataclass
class Agreement:
    """All comparisons of a ledger.

    Attributes:
        pairs: by the names of two people, in their order.
        repeats: by person: first answers against answers to a repeat.
        rounds: by round, of all pairs of different people; `together` all rounds. In both orders
            where there are several pairs, whose order means nothing; those of one pair are as in
            `pairs`, so that the same opinions give the same kappa.
    """

    num_classes: int
    pairs: dict[tuple[str, str], Comparison] = field(default_factory=dict)
    repeats: dict[str, Comparison] = field(default_factory=dict)
    rounds: dict[int, Comparison] = field(default_factory=dict)
    together: Comparison = field(init=False)

    def __post_init__(self) -> None:
        self.together = Comparison.empty(self.num_classes)


def compare(histories: Iterable[tuple[Query, list[EventView]]], num_classes: int) -> Agreement:
    """Compare what people answered about the same voxels, from the events of each query."""
    nothing = partial(Comparison.empty, num_classes)
    by_pair: dict[tuple[str, str], Comparison] = defaultdict(nothing)
    by_person: dict[str, Comparison] = defaultdict(nothing)
    by_round: dict[int, Comparison] = defaultdict(nothing)
    found = Agreement(num_classes)
    for query, events in histories:
        for pair in pairs(events):
            labels = _categories(pair.first, pair.second, query.num_labels, num_classes)
            people = pair.first.annotator, pair.second.annotator
            if people[0] == people[1]:
                by_person[people[0]].add(*labels)
                continue
            for table in (by_pair[people], by_round[query.round], found.together):
                table.add(*labels)
    found.pairs, found.repeats = dict(sorted(by_pair.items())), dict(sorted(by_person.items()))
    found.rounds = dict(sorted(by_round.items()))
    if len(by_pair) > 1:
        found.rounds = {number: table.both_ways() for number, table in found.rounds.items()}
        found.together = found.together.both_ways()
    return found


def percentage(matrix: Matrix) -> float | None:
    """Share 0..1 of the items with the same answer; None without items."""
    total = int(matrix.sum())
    return int(np.trace(matrix)) / total if total else None


def class_percentage(matrix: Matrix, category: int) -> float | None:
    """Of what either called a class, the share on which both did: 2 both / (first + second).

    The "specific agreement" of D. V. Cicchetti and A. R. Feinstein (J. Clin. Epidemiol. 43(6),
    1990); None if nobody named the class.
    """
    named = int(matrix[category].sum() + matrix[:, category].sum())
    return 2 * int(matrix[category, category]) / named if named else None


def class_kappa(matrix: Matrix, category: int) -> float | None:
    """Kappa of one class against all others."""
    both = int(matrix[category, category])
    first, second = int(matrix[category].sum()), int(matrix[:, category].sum())
    rest = int(matrix.sum()) - first - second + both
    return cohen_kappa(np.array([[both, first - both], [second - both, rest]], np.int64))


def confused_classes(compared: Comparison) -> list[tuple[int, int, int, int]]:
    """(category, another, points, voxels) that were confused with each other, most points first."""
    compared = compared if compared.orders > 1 else compared.both_ways()
    found = [
        (a, b, int(compared.points[a, b]), int(compared.dominant[a, b]))
        for a, b in zip(*np.triu_indices(len(compared.points), 1), strict=True)
        if compared.points[a, b]
    ]
    return [(int(a), int(b), *counts) for a, b, *counts in sorted(found, key=lambda f: -f[2])]


def _categories(
    first: EventView, second: EventView, num_labels: int, num_classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The labels of two responses, as categories, of the points [m] that both have labelled."""
    labels = [
        np.frombuffer(event.labels or bytes([IGNORE]) * num_labels, np.uint8)
        for event in (first, second)
    ]
    known = (labels[0] != UNASSIGNED) & (labels[1] != UNASSIGNED)
    one, other = (np.where(s == IGNORE, num_classes, s)[known].astype(np.uint8) for s in labels)
    return one, other
