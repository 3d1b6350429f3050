"""VCD with weights of classes that are rare among the labels and in the pool."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.evidence import LABELLED, POOL, Evidence, Moment
from annotator3d.active.point_means import likeliest, logits_of
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.errors import in_yaml
from annotator3d.kernels.score_table import SCORE_ONE
from annotator3d.kernels.scores import voxel_class_histogram, voxel_confusion
from annotator3d.registry import STRATEGIES

_MOST = 10.0  # a bad network predicts classes that are not there; they must not take it all


@STRATEGIES.register_module("class_inverse")
class ClassInverse(QueryStrategy):
    """VCD in bits times the mean weight of the classes predicted in the voxel, ``sum_c h_c w_c``.

    With F_c the share of class c among the points labelled so far plus its share among the points
    predicted in the pool, ``w_c = ((F_c + prior) / sum_k (F_k + prior))^-gamma``, at most 10.
    Class-inverse weights in active learning of LiDAR scans: ATTA-4DSeg, SELECT, BaSAL.

    It costs a pass over the pool more.

    Args:
        voxel_size, max_range, min_points: as `QueryStrategy`.
        gamma: how much rare classes are preferred; 0: not at all.
        prior: added to each share, above 0; keeps the weights of classes without any point apart
            from those that are merely rare.
    """

    name = "class_inverse"
    needs = (POOL, LABELLED)

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        gamma: float = 0.5,
        prior: float = 0.001,
    ) -> None:
        super().__init__(voxel_size, max_range, min_points)
        if not gamma >= 0:
            raise ValueError(f"gamma: expected at least 0, got {in_yaml(gamma)}")
        if not prior > 0:
            raise ValueError(f"prior: expected above 0, got {in_yaml(prior)}")
        self.gamma, self.prior = gamma, prior

    def observe(self, evidence: Evidence) -> NDArray[np.int64]:
        """[C] points predicted as each class."""
        classes = likeliest(self._logits(evidence))
        return classes.bincount(minlength=evidence.num_classes).cpu().numpy()

    def conclude(
        self, observed: Mapping[str, NDArray[np.int64]], moment: Moment
    ) -> NDArray[np.int64]:
        return sum(observed.values())

    def score(self, evidence: Evidence) -> Tensor:
        """[V] from logits [N, C]."""
        voxels, logits = evidence.voxels, self._logits(evidence)
        weights = torch.from_numpy(self.weights(evidence.pool, evidence.labelled)).to(logits.device)
        bits = voxel_confusion(logits, voxels, evidence.num_classes).double() / SCORE_ONE
        histogram = voxel_class_histogram(likeliest(logits), voxels, evidence.num_classes)
        return bits * (histogram * weights).sum(1) / voxels.counts

    def weights(self, predicted: NDArray, labelled: NDArray) -> NDArray[np.float64]:
        """[C] weights of the classes, from points [C] predicted in the pool and labelled."""
        shares = _shares(labelled) + _shares(predicted) + self.prior
        return np.minimum((shares / shares.sum()) ** -self.gamma, _MOST)

    def _logits(self, evidence: Evidence) -> Tensor:
        return logits_of(evidence.prediction, evidence.num_classes, self.name)


def _shares(points: NDArray) -> NDArray[np.float64]:
    return points / max(points.sum(), 1)
