"""TypiClust: the most typical voxel of each cluster; for rounds with few labels or none.

Hacohen, Dekel and Weinshall, "Active Learning on a Budget" (ICML 2022), and its released code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.evidence import Moment
from annotator3d.active.pool_candidates import Pool, Room
from annotator3d.active.pool_strategy import DescriptorStrategy
from annotator3d.active.spreading import clusters_of
from annotator3d.registry import STRATEGIES

_NEIGHBOURS = 20  # that typicality looks at
_SMALL = 5  # clusters of so many, or fewer, are passed over
_CLUSTERS = 500


@STRATEGIES.register_module("typiclust")
class TypiClust(DescriptorStrategy):
    """K-means with as many clusters as voxels were asked about before and will be asked about now,
    at most 500. They take turns, those with the fewest voxels asked about first, then the largest;
    each gives the voxel with the least mean distance to its 20 nearest neighbours there (in a small
    cluster to half of it).

    Args:
        voxel_size, max_range, min_points, candidates, space: as `DescriptorStrategy`.
    """

    name = "typiclust"

    def choose(self, pool: Pool, moment: Moment) -> Sequence[int]:
        if not len(pool):
            return []
        values, asked = self.places(pool)
        places = np.concatenate([values, asked])
        count = min(len(asked) + moment.budget, _CLUSTERS)
        random = np.random.default_rng([moment.seed, moment.round])
        labels = clusters_of(places, count, random)
        room, chosen = Room(pool.scan, moment.per_scan), []
        turns = [np.flatnonzero(labels[: len(pool)] == c) for c in turns_of(labels, len(pool))]
        while len(chosen) < moment.budget and any(room.free[rows].any() for rows in turns):
            for place, rows in enumerate(turns):
                free = room.free[rows]
                if len(chosen) == moment.budget or not free.any():
                    continue
                typical = np.where(free, typicality(values[rows]), -1.0)
                best = int(typical.argmax())
                chosen.append(int(rows[best]))
                room.take(chosen[-1])
                turns[place] = np.delete(rows, best)
        return chosen


def turns_of(labels: NDArray[np.int64], candidates: int) -> list[int]:
    """The clusters in the order in which they take turns: by what was asked about, by size.

    Args:
        labels: [n + q] cluster of each candidate, then of each voxel that was asked about.
        candidates: n.
    """
    sizes, asked = np.bincount(labels), np.bincount(labels[candidates:], minlength=labels.max() + 1)
    order = np.lexsort((-sizes, asked))
    large = [c for c in order.tolist() if sizes[c] > _SMALL]
    return large or [c for c in order.tolist() if sizes[c]]


def typicality(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n] one over the mean distance of each place [n, D] to its 20 nearest others."""
    from scipy.spatial import cKDTree

    neighbours = max(min(_NEIGHBOURS, len(places) // 2), 1)
    if len(places) == 1:
        return np.ones(1)
    distances, _ = cKDTree(places).query(places, neighbours + 1)
    return 1 / (distances[:, 1:].mean(1) + 1e-5)
