"""From predictions on which scans agree to labels for points that no answer reaches.

A point that is predicted to be of a class is taught that class if, in its cell of the world,

- it is the most frequent prediction of its own scan and of every other scan within reach that has
  a predicted point there, and enough others have one,
- no answered point there, of its own scan or another one within reach, is of another class,
- the class is one that may be taught, and no answer has the point's voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.propagation.places import Cells, cells_of, numbered, to_world
from annotator3d.data.scan import IGNORE

_FARTHEST = 2.0**19  # cells between a scan and its points: within it, no numbers of cells overflow


@dataclass(frozen=True)
class AgreementRule:
    """On what scans have to agree.

    Attributes:
        cell: edge of a cell of the world, metres.
        others: other scans that have a predicted point in the cell, at least.
        classes: [256] whether a class may be taught, by train id.
    """

    cell: float
    others: int
    classes: NDArray[np.bool_]


@dataclass(frozen=True)
class Ballot:
    """What a scan says of cells of the world.

    Attributes:
        cells: [n, 3] those with a predicted point, each once.
        labels: [n] the most frequent class there; 255 where several are.
        answered: [m, 3] cells of answered points that have a class.
        answers: [m] their classes.
    """

    cells: Cells
    labels: NDArray[np.uint8]
    answered: Cells
    answers: NDArray[np.uint8]


class Agreed(NamedTuple):
    """What the predictions teach a scan."""

    rows: NDArray[np.int64]  # [n] of its points, ascending
    labels: NDArray[np.uint8]  # [n]
    refuted: int  # points left out since an answer in their cell is of another class


def ballot(
    xyz: NDArray[np.float32],
    pose: NDArray[np.float64],
    predicted: NDArray[np.uint8] | None,
    answers: NDArray[np.uint8],
    cell: float,
) -> Ballot:
    """What a scan of N points says.

    Points more than half a million cells away from the sensor say nothing.

    Args:
        xyz: [N, 3], sensor frame. pose: [4, 4] sensor -> world.
        predicted: [N] classes, 255 for none; None: nothing is predicted.
        answers: [N] the classes that answers give, 255 elsewhere.
    """
    known = answers != IGNORE
    has = known if predicted is None else known | (predicted != IGNORE)
    rows, cells = _cells(xyz, np.flatnonzero(has), pose, cell)
    known = known[rows]
    said = np.zeros(len(rows), bool) if predicted is None else predicted[rows] != IGNORE
    classes = np.zeros(0, np.uint8) if predicted is None else predicted[rows[said]]
    voting, labels = _most_frequent(cells[said], classes)
    return Ballot(voting, labels, cells[known], answers[rows[known]])


def agree(
    xyz: NDArray[np.float32],
    pose: NDArray[np.float64],
    predicted: NDArray[np.uint8],
    answered: NDArray[np.bool_],
    own: Ballot,
    others: Sequence[Ballot],
    rule: AgreementRule,
) -> Agreed:
    """What predictions teach the points [N, 3] of a scan.

    Args:
        predicted: [N] classes, 255 for none.
        answered: [N] points of voxels that were answered, whatever the answer.
        own: of the scan itself, by the same predictions.
        others: of the scans within reach; their order changes nothing.
    """
    may, everyone = rule.classes[own.labels], (own, *others)
    free = np.flatnonzero(rule.classes[predicted] & ~answered)
    rows, places = _cells(xyz, free, pose, rule.cell)
    cells, voting = own.cells[may], [own.cells[:0], *(other.cells for other in others)]
    number, of_vote, count = numbered(cells, np.concatenate(voting))
    _, of_answer, _ = numbered(cells, np.concatenate([each.answered for each in everyone]))
    _, of_point, _ = numbered(cells, places)
    label = np.full(count + 1, IGNORE, np.uint8)  # the last one: no cell of the scan's
    label[number] = own.labels[may]
    votes = np.concatenate([own.labels[:0], *(other.labels for other in others)])
    answers = np.concatenate([each.answers for each in everyone])
    against, refuted = np.zeros(count + 1, bool), np.zeros(count + 1, bool)
    against[of_vote[votes != label[of_vote]]] = True
    refuted[of_answer[answers != label[of_answer]]] = True
    scans = np.bincount(of_vote + 1, minlength=count + 1)[1:]  # each has a cell once
    agreed = np.append(scans >= rule.others, False) & ~against
    same = agreed[of_point] & (predicted[rows] == label[of_point])
    rows, of_point = rows[same], of_point[same]
    left = refuted[of_point]
    return Agreed(rows[~left], predicted[rows[~left]], int(left.sum()))


def _cells(
    xyz: NDArray[np.float32], rows: NDArray[np.int64], pose: NDArray[np.float64], size: float
) -> tuple[NDArray[np.int64], Cells]:
    """The rows that are near enough, and their cells of the world."""
    world = to_world(xyz[rows], pose)
    near = (np.abs(world - pose[:3, 3]) < _FARTHEST * size).all(1)
    return rows[near], cells_of(world[near], size)


def _most_frequent(cells: Cells, labels: NDArray[np.uint8]) -> tuple[Cells, NDArray[np.uint8]]:
    """The distinct cells, and the most frequent label of each; 255 where several are."""
    number, _, count = numbered(cells, cells[:0])
    pairs, votes = np.unique(number * 256 + labels, return_counts=True)
    most = np.zeros(count, np.int64)
    np.maximum.at(most, pairs // 256, votes)
    first = pairs[votes == most[pairs // 256]]
    found, winners = np.full(count, IGNORE, np.uint8), np.bincount(first // 256, minlength=count)
    alone = winners[first // 256] == 1
    found[first[alone] // 256] = first[alone] % 256
    distinct = np.empty((count, 3), np.int64)
    distinct[number] = cells
    return distinct, found
