"""How people err: what a simulated person makes of the true labels of a voxel.

Every draw is a function of (seed, scan, cell) and of what it is for, so a higher rate errs wherever
a lower one does, and one kind of error does not shift the draws of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.records import IGNORE, Cell
from annotator3d.data.scan import Scan

Labels = NDArray[np.uint8]


class Draws:
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
        distance: how near, in metres; the nearest point of another class counts, of any voxel.
    """
    hit = (random.random(len(rows)) < rate) & (labels != IGNORE)
    if not hit.any():
        return labels
    inside = scan.xyz[rows]
    low, high = inside.min(0) - distance, inside.max(0) + distance
    around = ((scan.xyz >= low) & (scan.xyz <= high)).all(1) & (scan.labels != IGNORE)
    xyz, classes = scan.xyz[around].astype(np.float64), scan.labels[around]
    blurred = labels.copy()
    for i in np.flatnonzero(hit):
        squared = ((xyz - inside[i]) ** 2).sum(1)
        squared[classes == labels[i]] = np.inf
        nearest = squared.argmin()
        if squared[nearest] <= distance**2:
            blurred[i] = classes[nearest]
    return blurred


def flatten(labels: Labels) -> Labels:
    """One class for the whole voxel: its most frequent one, the lowest if several are."""
    known = labels != IGNORE
    return np.where(known, np.bincount(labels[known]).argmax(), IGNORE).astype(np.uint8)


def mistake_parts(
    labels: Labels,
    confusion: Mapping[int, Mapping[int, float]],
    scale: float,
    random: np.random.Generator,
) -> Labels:
    """All points of a class in the voxel become another one: a wrong key for that part.

    Args:
        confusion: class -> {given instead: probability}.
        scale: factor on the probabilities; their sum never passes 1.
    """
    draws = random.random(IGNORE)  # one for each class, whichever of them are there
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
    """Each part of the voxel becomes, with probability `rate`, one of the `others` but itself."""
    draws, picks = random.random(IGNORE), random.random(IGNORE)
    mistaken = labels.copy()
    for given in np.unique(labels[labels != IGNORE]).tolist():
        choice = [label for label in others if label != given]
        if choice and draws[given] < rate:
            mistaken[labels == given] = choice[int(picks[given] * len(choice))]
    return mistaken
