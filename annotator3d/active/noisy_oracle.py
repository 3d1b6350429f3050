"""A simulated person: answers from the ground truth, with a person's errors, time and clicks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.human_errors import (
    VoxelRng,
    blur_borders,
    flatten,
    mistake_far,
    mistake_parts,
)
from annotator3d.data.scan import Scan
from annotator3d.errors import ConfigError, in_yaml, nearest
from annotator3d.ledger.reader import LedgerReader
from annotator3d.ledger.records import IGNORE, Answer, Query
from annotator3d.ledger.schema import EventKind
from annotator3d.registry import ORACLES

_RATES = ("border", "range", "dominant", "skip", "unsure")
_AMOUNTS = ("border_distance", "near", "far", "fatigue", "base_seconds")
_MOST = 1_000_000  # of an amount: metres or seconds beyond it mean nothing
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
            _require(key, getattr(self, key), most=1.0 if key in _RATES else _MOST)
        _require("spread", self.spread, most=5)  # more than a factor of 100 up and down
        if self.skip + self.unsure > 1:
            raise ConfigError("skip: with unsure, more than 1")
        if not self.far > self.near:
            raise ConfigError(f"far: expected metres above near ({self.near}), got {self.far}")
        for key, least in (("stretch", 1), ("seed", 0)):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                words = f"an integer from {least} on"
                raise ConfigError(f"{key}: expected {words}, got {in_yaml(value)}")
        if not isinstance(self.annotator, str) or not self.annotator:
            raise ConfigError(f"annotator: expected a name, got {in_yaml(self.annotator)}")
        self._check_confusion()

    def _check_confusion(self) -> None:
        if not isinstance(self.confusion, Mapping):
            raise ConfigError(
                f"confusion: expected {{class: {{given instead: probability}}}}, got "
                f"{in_yaml(self.confusion)}"
            )
        for given, others in self.confusion.items():
            where = f"confusion.{given}"
            if not isinstance(others, Mapping):
                words = f"expected {{class: probability}}, got {in_yaml(others)}"
                raise ConfigError(f"{where}: {words}")
            for name in (given, *others):
                if self.class_names is not None and name not in self.class_names:
                    known = nearest(str(name), self.class_names)
                    raise ConfigError(f"{where}: unknown class {name!r}: {known}")
            for name, value in others.items():
                _require(f"{where}.{name}", value, most=1.0)
            if given in others or sum(others.values()) > 1:
                raise ConfigError(
                    f"{where}: expected other classes with probabilities of at most 1 together, "
                    f"got {in_yaml(dict(others))}"
                )


def _require(key: str, value: object, most: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= most:
        words = "a probability from 0 to 1" if most == 1 else f"a number from 0 to {most:,}"
        raise ConfigError(f"{key}: expected {words}, got {in_yaml(value)}")
