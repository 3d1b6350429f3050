"""Disagreement with the network of the round before (after LFTL, where it is of images)."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.active.evidence import PREVIOUS, Evidence
from annotator3d.active.point_means import (
    class_probabilities,
    entropy_of,
    logits_of,
    mean_of_points,
)
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.errors import in_yaml
from annotator3d.kernels.score_table import SCORE_ONE
from annotator3d.kernels.scores import entropy_and_margin, voxel_reduce
from annotator3d.registry import STRATEGIES

_STEPS = 255  # of the stored means: their rounding alone is no disagreement


@STRATEGIES.register_module("previous_model")
class PreviousModel(QueryStrategy):
    """Jensen-Shannon divergence, in bits, between a voxel's mean class probabilities now and by the
    network of the round before, plus ``weight * (1 - mean_i (p_i1 - p_i2))``.

    In a first round, and where the round before has stored nothing of the scan, the second part
    alone, which is the order of `margin_mean`. It keeps the means of each round, and costs a pass
    over the pool more.

    Args:
        voxel_size, max_range, min_points: as `QueryStrategy`.
        weight: of the margin, at least 0.
    """

    name = "previous_model"
    needs = (PREVIOUS,)

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        weight: float = 0.5,
    ) -> None:
        super().__init__(voxel_size, max_range, min_points)
        if not weight >= 0:
            raise ValueError(f"weight: expected at least 0, got {in_yaml(weight)}")
        self.weight = weight

    def score(self, evidence: Evidence) -> Tensor:
        """[V] from logits [N, C]."""
        voxels = evidence.voxels
        logits = logits_of(evidence.prediction, evidence.num_classes, self.name)
        _, gap = entropy_and_margin(logits)
        doubt = 1 - voxel_reduce(gap, voxels, "mean").double() / SCORE_ONE
        if evidence.previous is None:
            return doubt
        now = mean_of_points(class_probabilities(logits), voxels)
        now = (now * _STEPS).round()
        before = torch.from_numpy(evidence.previous).to(now) * _STEPS
        return divergence(_distribution(now), _distribution(before)) + self.weight * doubt


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence of distributions [V, C] in bits: [V] float64 in 0..1."""
    return (entropy_of((p + q) / 2) - (entropy_of(p) + entropy_of(q)) / 2).clamp(min=0)


def _distribution(values: Tensor) -> Tensor:
    """Rows whose sum is 1, which that of rounded probabilities is not."""
    whole = values.round()
    return whole / whole.sum(1, keepdim=True)
