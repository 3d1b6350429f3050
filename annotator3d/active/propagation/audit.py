"""How many labels were taught and how often they were right, by class and distance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

EDGES = (2.0, 5.0, 10.0, 20.0, 50.0)
"""Metres between two sensors at which the bins of distances end; the last bin has no end."""
BINS = len(EDGES) + 1
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Audit:
    """Points of scans, by class and distance [C, BINS] or by class [C], and counts [1].

    Points whose truth is no class are taught, but not judged. A check compares answered points with
    what answers about other scans, without their own, would have taught them: it needs no truth.
    """

    taught: Counts
    """[C, BINS] by place, the distance to the nearest scan whose answer taught the point."""
    judged: Counts
    """[C, BINS] of them, those whose truth is known and a class."""
    right: Counts
    """[C, BINS] of these, those of that class."""
    checked: Counts
    """[C, BINS] answered points that others would teach."""
    agreed: Counts
    """[C, BINS] of them, those for which the answer is the same."""
    surface: Counts
    """[C] taught along a surface, and by no place."""
    surface_judged: Counts
    """[C]."""
    surface_right: Counts
    """[C]."""
    answered: Counts
    """[C] points with the label of an answer."""
    conflicts: Counts
    """[1] points left out since answers differ."""
    unseen: Counts
    """[1] points left out since a scan whose answer taught them sees through them."""
    freed: Counts
    """[1] answered points whose place another scan sees through, once for each such scan."""
    scans: Counts
    """[1] scans with a point that answers taught."""
    agreement: Counts
    """[C] taught by predictions that agree, and by no answer."""
    agreement_judged: Counts
    """[C]."""
    agreement_right: Counts
    """[C]."""
    refuted: Counts
    """[1] points left out on which predictions agree, but an answer in their cell does not."""
    predicted: Counts
    """[1] scans with a pose of which the newest round has stored predicted classes."""
    agreement_scans: Counts
    """[1] scans with a point that predictions taught."""

    @classmethod
    def empty(cls, classes: int) -> Audit:
        return cls(**{f.name: np.zeros(_shape(f.name, classes), np.int64) for f in fields(cls)})

    @classmethod
    def total(cls, parts: Iterable[Audit], classes: int) -> Audit:
        whole = cls.empty(classes)
        for part in parts:
            for name, counts in vars(part).items():
                getattr(whole, name)[...] += counts
        return whole

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> Audit:
        """From arrays of these names, among others; nothing was counted that `_LATER` names and
        they lack."""
        classes, found = len(arrays["answered"]), dict(arrays)
        for name in _LATER:
            found.setdefault(name, np.zeros(_shape(name, classes)))
        return cls(**{f.name: np.asarray(found[f.name], np.int64) for f in fields(cls)})


_BY_DISTANCE = ("taught", "judged", "right", "checked", "agreed")
_SINGLE = ("conflicts", "unseen", "freed", "scans", "refuted", "predicted", "agreement_scans")
_LATER = ("agreement", "agreement_judged", "agreement_right", *_SINGLE[-3:])  # not in first records


def _shape(name: str, classes: int) -> tuple[int, ...]:
    by_class = (classes, BINS) if name in _BY_DISTANCE else (classes,)
    return (1,) if name in _SINGLE else by_class


def counts_by_distance(
    labels: NDArray[np.uint8], metres: NDArray[np.float64], classes: int
) -> Counts:
    """[C, BINS] how many of these points [n] have each class and distance."""
    bins = np.searchsorted(EDGES, metres, side="right")
    counts = np.zeros((classes, BINS), np.int64)
    np.add.at(counts, (labels, bins), 1)
    return counts


def purity(right: Counts, judged: Counts) -> float | None:
    """The part of the judged points that is right; None without any."""
    return float(right.sum() / judged.sum()) if judged.sum() else None
