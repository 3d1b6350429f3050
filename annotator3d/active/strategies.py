"""Strategies: how much is to be learnt from each voxel. The highest score is asked first.

A prediction is one of: logits [N, C] of any float type; train ids [N] integer (vcd); or the
strategy's own score per point [N] float, computed elsewhere (entropy, margin).
Definitions: Annotator (NeurIPS 2023, arXiv 2310.20293) and its released code, over every point.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from annotator3d.kernels import Voxels, voxel_confusion, voxel_reduce
from annotator3d.registry import STRATEGIES, build

__all__ = ["STRATEGIES", "Entropy", "Margin", "Random", "Strategy", "VCD", "get_strategy"]


class Strategy:
    """Scores voxels. Subclass it and register it to add one; `score` must not depend on state."""

    name: ClassVar[str]
    needs_model: ClassVar[bool] = True

    def score(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        """Score of each voxel: [V] int64 in units of 1 / SCORE_ONE, or [V] float64.

        Raises ValueError for a prediction that does not fit or is not finite.
        """
        raise NotImplementedError


@STRATEGIES.register_module("random")
class Random(Strategy):
    """Every voxel alike: the seeded tie-break then draws uniformly."""

    name = "random"
    needs_model = False

    def score(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        return torch.zeros_like(voxels.scan)


@STRATEGIES.register_module("vcd")
class VCD(Strategy):
    """Voxel confusion degree: entropy of the classes predicted inside the voxel."""

    name = "vcd"

    def score(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        if prediction is None:
            raise ValueError("strategy 'vcd' needs logits or predicted labels")
        if prediction.dim() == 1 and prediction.is_floating_point():
            raise ValueError(
                "strategy 'vcd' counts predicted classes: give logits [N, C] or labels [N] "
                "(integers); with one score per point choose entropy or margin"
            )
        return voxel_confusion(prediction, voxels, num_classes)


class _PointStrategy(Strategy):
    """Scores points from their class probabilities; a voxel counts by its highest point."""

    def point_scores(self, probabilities: Tensor) -> Tensor:
        """[N, C] float64 -> [N] float64."""
        raise NotImplementedError

    def highest(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        if prediction is None or not prediction.is_floating_point():
            raise ValueError(
                f"strategy {self.name!r} needs logits [N, {num_classes}] or its score per point "
                "[N] as floats; from predicted labels only 'vcd' and 'random' can choose"
            )
        points = prediction.detach().double()
        if points.dim() == 2:
            if points.shape[1] != num_classes:
                raise ValueError(f"logits must be [N, {num_classes}], got {list(points.shape)}")
            if not points.isfinite().all():
                raise ValueError("logits must be finite; the network has diverged")
            points = self.point_scores(points.softmax(1))
        return voxel_reduce(points, voxels, "max")


@STRATEGIES.register_module("entropy")
class Entropy(_PointStrategy):
    """Highest softmax entropy, in bits, of the voxel's points."""

    name = "entropy"

    def point_scores(self, probabilities: Tensor) -> Tensor:
        return torch.special.entr(probabilities).sum(1) / math.log(2)  # entr(0) = 0

    def score(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        return self.highest(voxels, prediction, num_classes)


@STRATEGIES.register_module("margin")
class Margin(_PointStrategy):
    """Lowest, over voxels, of the largest gap between a point's two likeliest classes."""

    name = "margin"

    def point_scores(self, probabilities: Tensor) -> Tensor:
        if probabilities.shape[1] == 1:
            return probabilities[:, 0]
        best, second = probabilities.topk(2, dim=1).values.unbind(1)
        return best - second

    def score(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        return 0 - self.highest(voxels, prediction, num_classes)


def get_strategy(name: str) -> Strategy:
    """The strategy of a registered name. Raises ValueError with the nearest name if unknown."""
    return build(STRATEGIES, {"type": name})
