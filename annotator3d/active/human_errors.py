"""The errors that people make when they label a voxel: wrong borders, wrong keys, wrong guesses.

Every random number is a function of (seed, scan, cell) and of its purpose, so a higher rate errs
wherever a lower one does, and one kind of error does not shift the numbers of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.scan import Scan
from annotator3d.ledger.records import IGNORE, Cell

Labels = NDArray[np.uint8]


class VoxelRng:
    """The random numbers of one voxel, a stream of its own for each purpose."""

    def __init__(self, seed: int, scan: str, cell: Cell) -> None:
        self._key = f"{seed}\0{scan}\0{' '.join(str(int(i)) for i in cell)}"

    def __call__(self, purpose: str) -> np.random.Generator:
        digest = hashlib.blake2b(f"{purpose}\0{self._key}".encode(), digest_size=16).digest()
        return np.random.default_rng(int.from_bytes(digest, "little"))


def blur_borders(
    labels: Labels,
    scan: Scan,
    rows: NDArray[np.int64],
    distance: float,
    rate: float,
    random: np.random.Generator,
) -> Labels:
    """Points near a point of another class take its label with probability `rate`.

    Args:
        labels: [n] true labels of the points `rows`.
        distance: metres; the nearest point of another class counts, in whatever voxel it lies.
    """
    hit = (random.random(len(rows)) < rate) & (labels != IGNORE)
    if not hit.any():
        return labels
    inside = scan.xyz[rows]
    low, high = inside.min(0) - distance, inside.max(0) + distance
    around = ((scan.xyz >= low) & (scan.xyz <= high)).all(1) & (scan.labels != IGNORE)
    xyz, classes = scan.xyz[around].astype(np.float64), scan.labels[around]
    blurred = labels.copy()
    for label in np.unique(labels[hit]):
        of_class = np.flatnonzero(hit & (labels == label))
        other = classes != label
        found = _nearest(inside[of_class].astype(np.float64), xyz[other], distance)
        blurred[of_class[found >= 0]] = classes[other][found[found >= 0]]
    return blurred


def _nearest(
    points: NDArray[np.float64], others: NDArray[np.float64], distance: float
) -> NDArray[np.int64]:
    """Row of the nearest of `others` [M, 3] within `distance` metres of each point [N, 3], or -1.

    The lowest of equally near rows.
    """
    from scipy.spatial import cKDTree

    nearest = np.full(len(points), -1)
    if not len(others):
        return nearest
    slack = 1 + 1e-9  # the tree may round the sum of squares otherwise
    tree = cKDTree(others)
    metres, _ = tree.query(points, distance_upper_bound=distance * slack)
    within = np.flatnonzero(np.isfinite(metres))
    near = tree.query_ball_point(points[within], metres[within] * slack, return_sorted=True)
    for i, rows in zip(within, near, strict=True):
        squared = ((others[rows] - points[i]) ** 2).sum(1)
        first = squared.argmin()
        if squared[first] <= distance**2:
            nearest[i] = rows[first]
    return nearest


def flatten(labels: Labels) -> Labels:
    """One class for the whole voxel: its most frequent one, the lowest of several."""
    known = labels != IGNORE
    return np.where(known, np.bincount(labels[known]).argmax(), IGNORE).astype(np.uint8)


def mistake_parts(
    labels: Labels,
    confusion: Mapping[int, Mapping[int, float]],
    scale: float,
    random: np.random.Generator,
) -> Labels:
    """All points of a class in the voxel get another class: a wrong key for that part.

    Args:
        confusion: class -> {given instead: probability}.
        scale: factor on the probabilities; their sum never passes 1.
    """
    draws = random.random(IGNORE)  # one for each class, present or not
    mistaken = labels.copy()
    for given in np.unique(labels[labels != IGNORE]).tolist():
        instead = confusion.get(given, {})
        total = sum(instead.values())
        scaled = scale if scale * total <= 1 else 1 / total
        bounds = np.cumsum([scaled * p for p in instead.values()])
        chosen = int(np.searchsorted(bounds, draws[given], side="right"))
        if chosen < len(instead):
            mistaken[labels == given] = list(instead)[chosen]
    return mistaken


def mistake_far(
    labels: Labels, rate: float, others: Sequence[int], random: np.random.Generator
) -> Labels:
    """Each class in the voxel becomes, with probability `rate`, another one of `others`."""
    draws, picks = random.random(IGNORE), random.random(IGNORE)
    mistaken = labels.copy()
    for given in np.unique(labels[labels != IGNORE]).tolist():
        choice = [label for label in others if label != given]
        if choice and draws[given] < rate:
            mistaken[labels == given] = choice[int(picks[given] * len(choice))]
    return mistaken
