"""Rare classes among the answers: how often each scan is trained on, how much each class counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.scan import IGNORE, VoxelLabels

MOST = 10.0
"""No scan is drawn more often, and no class counts more, than so many times another."""


def points_of_classes(answers: Sequence[VoxelLabels]) -> NDArray[np.int64]:
    """[255] points of each class in the answers about one scan."""
    counts = np.zeros(IGNORE + 1, np.int64)
    for voxel in answers:
        counts += np.bincount(voxel.labels, minlength=IGNORE + 1)
    return counts[:IGNORE]


def class_weights(counts: NDArray[np.int64], power: float) -> NDArray[np.float64]:
    """[K] (largest count / count) ** power of each class, at most `MOST`; 1 where none is counted.

    Args:
        counts: [K] of any things. power: 0: all count the same; 1: in inverse proportion.
    """
    weights = np.ones(len(counts))
    there = counts > 0
    weights[there] = (counts.max(initial=1) / counts[there]) ** power
    return np.minimum(weights, MOST)


def scan_weights(
    ids: Sequence[str], answers: Mapping[str, Sequence[VoxelLabels]], power: float
) -> NDArray[np.float64]:
    """[N] how often each scan is to be drawn, relative to one without a rare class.

    The weight of a scan is that of the rarest class in its answers; a class is as rare as the scans
    are few in whose answers it is. A scan without a labelled point weighs 1.

    Source: repeat factor sampling of LVIS (Gupta et al., CVPR 2019, arXiv 1908.03195), which has
    power 1/2, with the most frequent class in place of a threshold.
    """
    has = {scan: points_of_classes(voxels) > 0 for scan, voxels in answers.items()}
    number = np.sum([*has.values(), np.zeros(IGNORE, bool)], axis=0, dtype=np.int64)
    of_class = class_weights(number, power)
    return np.array([of_class[has[i]].max(initial=1.0) if i in has else 1.0 for i in ids])


def draw(weights: NDArray[np.float64], number: int, random: np.random.Generator) -> list[int]:
    """`number` rows in random order, row i about as often as its share of the weights says.

    Systematic sampling: row i is drawn number * w_i / sum(w) times, rounded down or up.
    """
    ends = np.cumsum(weights) * (number / weights.sum())
    places = np.arange(number) + random.random()
    rows = np.searchsorted(ends, places, side="right")
    return random.permutation(np.minimum(rows, len(weights) - 1)).tolist()
