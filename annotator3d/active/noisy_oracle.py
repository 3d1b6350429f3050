"""How people err: what a simulated person makes of the true labels of a voxel.

Every draw is a function of (seed, scan, cell) and of what it is for, so a higher rate errs wherever
a lower one does, and one kind of error does not shift the draws of another.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.scan import Scan
from annotator3d.errors import ConfigError, nearest
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import IGNORE, Answer, Cell, Query
from annotator3d.ledger.schema import EventKind
from annotator3d.registry import ORACLES

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
    slack = 1 + 1e-9  # the tree need not add the squares as we do
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
    """Each class in the voxel becomes, with probability `rate`, another one of `others`."""
    draws, picks = random.random(IGNORE), random.random(IGNORE)
    mistaken = labels.copy()
    for given in np.unique(labels[labels != IGNORE]).tolist():
        choice = [label for label in others if label != given]
        if choice and draws[given] < rate:
            mistaken[labels == given] = choice[int(picks[given] * len(choice))]
    return mistaken


_RATES = ("border", "range", "dominant", "skip", "unsure")
_AMOUNTS = ("border_distance", "near", "far", "fatigue", "base_seconds")
_AMOUNTS += ("class_seconds", "click_seconds", "spread")


@ORACLES.register_module("noisy")
@dataclass
class NoisyOracle:
    """Answers from the ground truth, with a person's errors, seconds and clicks.

    The answer to a query is a function of (seed, scan, cell) and, with `fatigue`, of how many
    answers its `annotator` has in the ledger. With every rate at 0 it is the truth. Points that the
    truth ignores stay ignored. docs/costs.md explains each keyword.

    Raises ConfigError for a rate outside 0..1, a negative amount, or an unknown class.
    """

    confusion: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    border: float = 0.0
    border_distance: float = 0.1  # metres
    range: float = 0.0
    near: float = 10.0  # metres: no errors at range up to here
    far: float = 50.0  # metres: `range` from here on
    dominant: float = 0.0
    fatigue: float = 0.0
    stretch: int = 200  # answers between two breaks
    skip: float = 0.0
    unsure: float = 0.0
    base_seconds: float = 2.0
    class_seconds: float = 1.5
    click_seconds: float = 1.0
    spread: float = 0.4  # standard deviation of the logarithm of the seconds
    annotator: str = "noisy"
    seed: int = 0  # of the run, unless the config says otherwise
    class_names: Sequence[str] | None = None  # of the run; None: `confusion` is checked later

    automatic = True
    needs_truth = True

    def __post_init__(self) -> None:
        self._check()
        names = list(self.class_names or ())
        self._instead = {
            names.index(given): {names.index(wrong): float(p) for wrong, p in others.items()}
            for given, others in (self.confusion.items() if names else ())
        }
        self._places: dict[int, int] = {}  # query -> how many answers came before it
        self._next = count()

    def begin(self, ledger: LedgerReader) -> None:
        """Continue after the answers in the ledger, so that a crash does not change later ones."""
        given = 0
        if self.fatigue:
            mine = (e for e in ledger.events() if e.answer.annotator == self.annotator)
            given = sum(event.answer.kind.settles for event in mine)
        self._places, self._next = {}, count(given)

    def answer(self, query: Query, scan: Scan, point_indices: NDArray[np.int64]) -> Answer:
        """See `Oracle.answer`. Raises ValueError for a scan without labels."""
        if scan.labels is None:
            raise ValueError(
                f"scan {scan.id} has no label file, so nobody can be simulated on it; use the "
                "oracle 'person', or add the labels"
            )
        draws, tired = VoxelRng(self.seed, query.scan, query.cell), self._tiredness(query.id)
        passed = draws("pass").random()
        if passed < self.unsure + self.skip:
            kind = EventKind.UNSURE if passed < self.unsure else EventKind.SKIP
            return Answer(kind, None, self.annotator, self._seconds(0, 1, draws), clicks=1)
        labels = self._labels(scan, point_indices, tired, draws)
        classes = len(np.unique(labels[labels != IGNORE]))
        clicks = 1 if classes < 2 else classes + 1  # parting the voxel, then a key for each class
        seconds = self._seconds(classes, clicks, draws)
        return Answer(EventKind.ANSWER, labels, self.annotator, seconds, clicks)

    def _labels(
        self, scan: Scan, rows: NDArray[np.int64], tired: float, draws: VoxelRng
    ) -> NDArray[np.uint8]:
        labels = scan.labels[rows].copy()
        mixed = len(np.unique(labels[labels != IGNORE])) > 1
        if mixed and draws("dominant").random() < tired * self.dominant:
            labels = flatten(labels)
        elif self.border:
            rate = tired * self.border
            labels = blur_borders(labels, scan, rows, self.border_distance, rate, draws("border"))
        labels = mistake_parts(labels, self._instead, tired, draws("confusion"))
        if self.range and len(rows):
            metres = float(np.linalg.norm(scan.xyz[rows].mean(0)))
            rate = tired * self.range * min(max(metres - self.near, 0) / (self.far - self.near), 1)
            others = np.unique(scan.labels[scan.labels != IGNORE]).tolist()
            labels = mistake_far(labels, rate, others, draws("range"))
        return labels

    def _tiredness(self, query: int) -> float:
        """The factor on every rate of error: 1 after a break."""
        place = self._places.setdefault(query, next(self._next)) if self.fatigue else 0
        return 1 + self.fatigue * (place % self.stretch) / self.stretch

    def _seconds(self, classes: int, clicks: int, draws: VoxelRng) -> float:
        """Lognormal; the median grows with the classes and with the clicks after the first."""
        median = self.base_seconds + self.class_seconds * classes
        median += self.click_seconds * (clicks - 1)
        return median * math.exp(self.spread * draws("seconds").standard_normal())

    @classmethod
    def check_config(cls, keywords: Mapping[str, object]) -> None:
        """Raise ConfigError, naming the keyword, for keywords that the constructor refuses."""
        cls(**keywords)

    def _check(self) -> None:
        for key in (*_RATES, *_AMOUNTS):
            _require(key, getattr(self, key), most=1.0 if key in _RATES else math.inf)
        if self.skip + self.unsure > 1:
            raise ConfigError("skip: with unsure, more than 1")
        if not self.far > self.near:
            raise ConfigError(f"far: expected metres above near ({self.near}), got {self.far}")
        for key, least in (("stretch", 1), ("seed", 0)):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"{key}: expected an integer from {least} on, got {value!r}")
        if not isinstance(self.annotator, str) or not self.annotator:
            raise ConfigError(f"annotator: expected a name, got {self.annotator!r}")
        self._check_confusion()

    def _check_confusion(self) -> None:
        if not isinstance(self.confusion, Mapping):
            raise ConfigError(
                f"confusion: expected {{class: {{given instead: probability}}}}, got "
                f"{self.confusion!r}"
            )
        for given, others in self.confusion.items():
            where = f"confusion.{given}"
            if not isinstance(others, Mapping):
                raise ConfigError(f"{where}: expected {{class: probability}}, got {others!r}")
            for name in (given, *others):
                if self.class_names is not None and name not in self.class_names:
                    known = nearest(str(name), self.class_names)
                    raise ConfigError(f"{where}: unknown class {name!r}: {known}")
            for name, value in others.items():
                _require(f"{where}.{name}", value, most=1.0)
            if given in others or sum(others.values()) > 1:
                raise ConfigError(
                    f"{where}: expected other classes with probabilities of at most 1 together, "
                    f"got {dict(others)}"
                )


def _require(key: str, value: object, most: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= most or math.isinf(value):
        words = "a probability from 0 to 1" if most == 1 else "a number from 0 on"
        raise ConfigError(f"{key}: expected {words}, got {value!r}")
