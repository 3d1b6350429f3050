"""From answers about some scans to labels for points of another one, through the poses.

An answered point is a vote for its class at its cell of the world. A point of another scan that
lies in that cell is taught the class if

- all votes in the cell are for it, those of moving classes and of the scan's own answers included,
- a scan other than its own votes there, and the class is one that may be taught,
- no answer has its voxel: what a person said of a voxel stays, ignored points included,
- nobody sees through: the scan does not see through the voting point, where that is now free, and
  no voting scan sees through the taught point, which was not there then.

A cell is smaller than a voxel that is asked about, so a voxel of several classes votes cell by
cell, each with the labels of its own points; a cell in which they differ teaches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.propagation.places import cells_of, inverse_of, numbered, to_world
from annotator3d.active.propagation.sight import Sight
from annotator3d.data.scan import IGNORE


@dataclass(frozen=True)
class TeachingRule:
    """How far and to which classes answers reach.

    Attributes:
        cell: edge of a cell of the world, metres.
        see_through: how far behind a place a scan must see to see through it, metres; None: not
            looked at.
        classes: [256] whether a class may be taught, by train id.
    """

    cell: float
    see_through: float | None
    classes: NDArray[np.bool_]


@dataclass(frozen=True)
class Witness:
    """A scan and what was answered about it.

    Attributes:
        pose: [4, 4] sensor -> world.
        xyz: [n, 3] its answered points that have a class, sensor frame.
        labels: [n] their classes.
        sight: what it sees; None where nobody asks.
    """

    pose: NDArray[np.float64]
    xyz: NDArray[np.float32]
    labels: NDArray[np.uint8]
    sight: Sight | None = None


@dataclass(frozen=True)
class Taught:
    """What other scans teach a scan, and what they would teach its answered points.

    `source` is the nearest voting scan (by the places of the sensors), its number among the others.
    """

    rows: NDArray[np.int64]
    """[n] of the scan's points, ascending."""
    labels: NDArray[np.uint8]
    """[n]."""
    source: NDArray[np.int64]
    """[n]."""
    conflicts: int
    """Points without an answer in cells where votes differ."""
    unseen: int
    """Points left out because a voting scan sees through them."""
    freed: int
    """Votes left out because the scan sees through them."""
    checked_rows: NDArray[np.int64]
    """[m] answered points with a class that others would teach: a check by independent answers."""
    checked_labels: NDArray[np.uint8]
    """[m] what they would be taught."""
    checked_source: NDArray[np.int64]
    """[m]."""


def teach(
    xyz: NDArray[np.float32],
    answers: NDArray[np.uint8],
    answered: NDArray[np.bool_],
    target: Witness,
    others: Sequence[Witness],
    rule: TeachingRule,
) -> Taught:
    """What the answers about other scans say of the points [N, 3] of one.

    Args:
        answers: [N] the classes that its own answers give, 255 elsewhere.
        answered: [N] points of voxels that were answered, whatever the answer.
        target: the scan itself, with its own answers.
        others: the scans within reach; their order does not change what is taught.
    """
    votes, freed = _votes(target, others, rule)
    own = to_world(target.xyz, target.pose)
    cells = np.concatenate([votes.cells, cells_of(own, rule.cell)])
    points = cells_of(to_world(xyz, target.pose), rule.cell)
    of_vote, of_point, count = numbered(cells, points)
    of_other = of_vote[: len(votes.labels)]
    by_others = _agreed(of_other, votes.labels, count)
    by_all = _agreed(of_vote, np.concatenate([votes.labels, target.labels]), count)
    has_others = np.zeros(count + 1, bool)  # the last one: points without a cell
    has_others[of_other] = True

    may = rule.classes[by_all[of_point]] & has_others[of_point] & ~answered
    check = rule.classes[by_others[of_point]] & (answers != IGNORE)
    mixed = (by_all[of_point] == IGNORE) & has_others[of_point] & ~answered
    pairs = np.unique(np.column_stack([of_other, votes.scan]), axis=0)  # (cell, voting scan)
    candidates = np.flatnonzero(may | check)
    hidden = np.zeros(len(xyz), bool)
    if rule.see_through is not None:
        hidden[candidates] = _seen_through(
            xyz[candidates], of_point[candidates], pairs, count, target, others, rule.see_through
        )
    rows, checked = np.flatnonzero(may & ~hidden), np.flatnonzero(check & ~hidden)
    nearest = _nearest(pairs, count, target, others)
    return Taught(
        rows=rows,
        labels=by_all[of_point[rows]],
        source=nearest[of_point[rows]],
        conflicts=int(mixed.sum()),
        unseen=int((may & hidden).sum()),
        freed=freed,
        checked_rows=checked,
        checked_labels=by_others[of_point[checked]],
        checked_source=nearest[of_point[checked]],
    )


@dataclass(frozen=True)
class _Votes:
    scan: NDArray[np.int64]  # [n] number among the others
    labels: NDArray[np.uint8]  # [n]
    cells: NDArray[np.int64]  # [n, 3] of the world


def _votes(target: Witness, others: Sequence[Witness], rule: TeachingRule) -> tuple[_Votes, int]:
    """The votes of the others, and how many were left out since the target sees through them."""
    worlds = [to_world(other.xyz, other.pose) for other in others]
    world = np.concatenate([np.zeros((0, 3)), *worlds])
    labels = np.concatenate([np.zeros(0, np.uint8), *(other.labels for other in others)])
    scan = np.repeat(np.arange(len(others)), [len(other.labels) for other in others])
    kept = np.ones(len(world), bool)
    if rule.see_through is not None and target.sight is not None:
        here = to_world(world, inverse_of(target.pose))
        kept = ~target.sight.sees_through(here, rule.see_through)
    return _Votes(scan[kept], labels[kept], cells_of(world[kept], rule.cell)), int((~kept).sum())


def _agreed(number: NDArray[np.int64], labels: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """[count + 1] the label of all votes of each cell; 255: they differ, or there is none."""
    least, most = np.full(count + 1, IGNORE, np.uint8), np.zeros(count + 1, np.uint8)
    np.minimum.at(least, number, labels)
    np.maximum.at(most, number, labels)
    return np.where(least == most, least, np.uint8(IGNORE))


def _seen_through(
    xyz: NDArray[np.float32],
    of_point: NDArray[np.int64],
    pairs: NDArray[np.int64],
    count: int,
    target: Witness,
    others: Sequence[Witness],
    metres: float,
) -> NDArray[np.bool_]:
    """[n] whether one of the scans that vote in a point's cell sees through the point."""
    found, world = np.zeros(len(xyz), bool), to_world(xyz, target.pose)
    for k in np.unique(pairs[:, 1]).tolist():
        if (sight := others[k].sight) is None:
            continue
        votes = np.zeros(count + 1, bool)
        votes[pairs[pairs[:, 1] == k, 0]] = True
        rows = np.flatnonzero(votes[of_point] & ~found)
        there = to_world(world[rows], inverse_of(others[k].pose))
        found[rows] = sight.sees_through(there, metres)
    return found


def _nearest(
    pairs: NDArray[np.int64], count: int, target: Witness, others: Sequence[Witness]
) -> NDArray[np.int64]:
    """[count + 1] the voting scan of each cell whose sensor is nearest; -1: none votes there."""
    nearest = np.full(count + 1, -1)
    apart = np.array([distance(target.pose, other.pose) for other in others])
    order = np.lexsort((pairs[:, 1], apart[pairs[:, 1]], pairs[:, 0])) if len(pairs) else []
    cells, first = np.unique(pairs[order, 0], return_index=True)
    nearest[cells] = pairs[order, 1][first]
    return nearest


def distance(pose: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Metres between two sensors."""
    return float(np.sqrt(((pose[:3, 3] - other[:3, 3]) ** 2).sum()))
