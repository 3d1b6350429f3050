"""SPGDS: points that lie between the source's prototypes and between classes.

SPGDS is the selection of DDAL, a preprint on active domain adaptation of LiDAR segmentation; the
other distance repairs it. As published, the gap of softmax(1 / distance) is near 0 wherever
distances are large, so it hardly adds to the margin.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from annotator3d.active.evidence import FEATURES, PROTOTYPES, Evidence
from annotator3d.active.exact import SquaredDistances, scale_of, whole_numbers
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.errors import in_yaml
from annotator3d.kernels.score_table import SCORE_ONE
from annotator3d.kernels.scores import entropy_and_margin, voxel_reduce
from annotator3d.registry import STRATEGIES

_BITS = 20  # of features: no number of threads changes a distance
_LEAST = 1e-6  # distance, below which 1 / it is no larger


@STRATEGIES.register_module("prototypes")
class Prototypes(QueryStrategy):
    """Minus the mean, over the points of a voxel, of alpha * (r_1 - r_2) + (1 - alpha) * (p_1 -
    p_2): p are the class probabilities, r those by the prototypes, the two largest of each.

    Args:
        voxel_size, max_range, min_points: as `QueryStrategy`.
        alpha: weight of the prototypes, 0..1.
        distance: inverse, r = softmax(1 / distance), as published; or cosine, r = softmax(cosine
            similarity / temperature).
        temperature: of cosine.
    """

    name = "prototypes"
    needs = (FEATURES, PROTOTYPES)

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        alpha: float = 0.4,
        distance: str = "inverse",
        temperature: float = 0.1,
    ) -> None:
        super().__init__(voxel_size, max_range, min_points)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha: expected a weight from 0 to 1, got {in_yaml(alpha)}")
        if distance not in ("inverse", "cosine"):
            raise ValueError(f"distance: expected 'inverse' or 'cosine', got {in_yaml(distance)}")
        if not temperature > 0:
            raise ValueError(f"temperature: expected a number above 0, got {in_yaml(temperature)}")
        self.alpha, self.distance, self.temperature = alpha, distance, temperature

    def score(self, evidence: Evidence) -> Tensor:
        """[V] float64 from -1 to 0."""
        prototypes = self._known(evidence)
        likeness = self._likeness(evidence.features, prototypes).softmax(1)
        first, second = likeness.topk(2, 1).values.unbind(1)
        margin = entropy_and_margin(evidence.prediction)[1].double() / SCORE_ONE
        gap = (first - second).to(margin.device)
        mixed = self.alpha * gap + (1 - self.alpha) * margin
        return 0 - voxel_reduce(mixed, evidence.voxels, "mean")

    def _known(self, evidence: Evidence) -> Tensor:
        """[K, D] prototypes of the classes that the source has, at least two."""
        prototypes, wanted = evidence.prototypes, [evidence.num_classes, evidence.features.shape[1]]
        if list(prototypes.shape) != wanted and len(evidence.features):
            raise ValueError(
                f"prototypes: expected {wanted} (classes, features of the network), got "
                f"{list(prototypes.shape)}: they are of another network or class list"
            )
        known = prototypes[~prototypes.isnan().any(1)]
        if len(known) < 2:
            raise ValueError(
                f"prototypes: expected at least two classes with points in the source, got "
                f"{len(known)}"
            )
        return known

    def _likeness(self, features: Tensor, prototypes: Tensor) -> Tensor:
        """[N, K] float64, of points to prototypes."""
        if not len(features):
            return torch.zeros(0, len(prototypes), dtype=torch.float64)
        parts = features.cpu().numpy(), prototypes.cpu().numpy()
        scale = scale_of(*parts, bits=_BITS)
        rows, centres = whole_numbers(*parts, scale=scale)
        if self.distance == "inverse":
            distances = np.sqrt(SquaredDistances(rows).to(centres)) / scale
            return torch.from_numpy(1 / np.maximum(distances, _LEAST))
        lengths = np.linalg.norm(rows, axis=1)[:, None] * np.linalg.norm(centres, axis=1)
        return torch.from_numpy(rows @ centres.T / np.maximum(lengths, 1) / self.temperature)
