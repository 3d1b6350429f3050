"""BADGE: voxels whose gradients would be large and unlike each other.

Ash, Zhang, Krishnamurthy, Langford and Agarwal, "Deep Batch Active Learning by Diverse, Uncertain
Gradient Lower Bounds" (ICLR 2020), and its released code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.evidence import Evidence, Moment
from annotator3d.active.exact import exact_means, points_of, whole_numbers
from annotator3d.active.pool_candidates import Pool, Room
from annotator3d.active.pool_strategy import PoolStrategy
from annotator3d.active.spreading import spread_rows
from annotator3d.registry import STRATEGIES


@STRATEGIES.register_module("badge")
class Badge(PoolStrategy):
    """Describes a voxel by the gradient of the last layer's weights, as if the likeliest class of
    each of its points were its label: the mean over them of (p - onehot) x features. The largest
    gradient is chosen first, as in the released code, the others by k-means++.

    Args:
        voxel_size, max_range, min_points, candidates, draw: as `PoolStrategy`.
    """

    name = "badge"
    uses_asked = False

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        candidates: int = 200,
        draw: str = "entropy",
    ) -> None:
        super().__init__(voxel_size, max_range, min_points, candidates, draw)

    def width(self, evidence: Evidence) -> int:
        return evidence.num_classes * evidence.features.shape[1]

    def describe(self, evidence: Evidence, rows: Tensor) -> NDArray[np.float64]:
        points, voxel = points_of(evidence.voxels, rows)
        logits, features = evidence.prediction[points], evidence.features[points].double()
        errors = logits.double().softmax(1)
        errors.scatter_add_(1, logits.argmax(1)[:, None], errors.new_full((len(errors), 1), -1))
        # one class after the other: [n, C, D] of crowded voxels would not fit
        means = [exact_means(error[:, None] * features, voxel, len(rows)) for error in errors.T]
        return torch.cat(means, 1).cpu().numpy()

    def choose(self, pool: Pool, moment: Moment) -> Sequence[int]:
        if not len(pool):
            return []
        (values,) = whole_numbers(pool.values)
        largest = int(np.einsum("nd,nd->n", values, values).argmax())
        random = np.random.default_rng([moment.seed, moment.round])
        room = Room(pool.scan, moment.per_scan)
        return spread_rows(values, moment.budget, largest, room, random)
