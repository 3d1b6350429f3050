"""Core-set: voxels that leave no other one far from what is known, by k-center greedy.

Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach" (ICLR
2018), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.evidence import Evidence, Moment
from annotator3d.active.exact import SquaredDistances, whole_numbers
from annotator3d.active.pool_candidates import Pool, Room
from annotator3d.active.pool_strategy import PoolStrategy, mean_features
from annotator3d.registry import STRATEGIES

_AT_ONCE = 64  # voxels asked about before, to which distances are held in memory


@STRATEGIES.register_module("coreset")
class CoreSet(PoolStrategy):
    """The candidate whose mean features are furthest from those of all voxels that were asked about
    before or chosen already, again and again; where none is, the first one is drawn.

    Args:
        voxel_size, max_range, min_points, candidates, draw: as `PoolStrategy`.
    """

    name = "coreset"

    def width(self, evidence: Evidence) -> int:
        return evidence.features.shape[1]

    def describe(self, evidence: Evidence, rows: Tensor) -> NDArray[np.float64]:
        return mean_features(evidence, rows)

    def choose(self, pool: Pool, moment: Moment) -> Sequence[int]:
        values, asked = whole_numbers(pool.values, pool.asked)
        distances, nearest = SquaredDistances(values), np.full(len(pool), np.inf)
        for start in range(0, len(asked), _AT_ONCE):
            known = distances.to(asked[start : start + _AT_ONCE]).min(1)
            nearest = np.minimum(nearest, known)
        room, chosen = Room(pool.scan, moment.per_scan), []
        while len(chosen) < moment.budget and room.free.any():
            row = int(np.where(room.free, nearest, -1).argmax())
            chosen.append(row)
            room.take(row)
            nearest = np.minimum(nearest, distances.to(values[row : row + 1])[:, 0])
        return chosen
