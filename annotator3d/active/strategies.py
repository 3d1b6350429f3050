"""Strategies: how much is to be learnt from each voxel. The highest score is asked first.

A prediction is one of: logits [N, C] of any float type; train ids [N] integer (vcd); or the
strategy's own score per point [N] float, computed elsewhere (entropy, margin).
Definitions: Annotator (NeurIPS 2023, arXiv 2310.20293) and its released code, over every point.
Scores that the kernels compute are integers in units of 1 / SCORE_ONE.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from annotator3d.kernels import Voxels
from annotator3d.kernels.scores import point_scores, voxel_confusion, voxel_reduce
from annotator3d.registry import STRATEGIES, build

__all__ = ["STRATEGIES", "Entropy", "Margin", "Random", "Strategy", "VCD", "get_strategy"]


class Strategy:
    """Scores voxels. Subclass it and register it to add one; `score` must not depend on state."""

    name: ClassVar[str]
    needs_model: ClassVar[bool] = True
    fused: ClassVar[str | None] = None
    """Score of the kernels' `select_voxels` that gives the same as `score`, from logits; None: none
    does. Belongs to the class that defines it: a subclass with a `score` of its own has None."""
    reduce: ClassVar[str] = "max"
    """With `fused` entropy and margin: a voxel counts by the 'max' or the 'mean' of its points."""

    def __init_subclass__(cls, **arguments) -> None:
        super().__init_subclass__(**arguments)
        if "score" in vars(cls) and "fused" not in vars(cls):
            cls.fused = None

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
    fused = "none"

    def score(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        return torch.zeros_like(voxels.scan)


@STRATEGIES.register_module("vcd")
class VCD(Strategy):
    """Voxel confusion degree: entropy of the classes predicted inside the voxel."""

    name = "vcd"
    fused = "vcd"

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
    """Scores points from their logits; a voxel counts by the maximum or the mean of its points."""

    column: ClassVar[int]  # of what the kernels' `point_scores` gives

    def reduced(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        if prediction is None or not prediction.is_floating_point():
            raise ValueError(
                f"strategy {self.name!r} needs logits [N, {num_classes}] or its score per point "
                "[N] as floats; from predicted labels only 'vcd' and 'random' can choose"
            )
        if prediction.dim() != 2:
            return voxel_reduce(prediction.double(), voxels, self.reduce)
        if prediction.shape[1] != num_classes:
            raise ValueError(f"logits must be [N, {num_classes}], got {list(prediction.shape)}")
        return voxel_reduce(point_scores(prediction)[self.column], voxels, self.reduce)


@STRATEGIES.register_module("entropy")
class Entropy(_PointStrategy):
    """Highest softmax entropy, in bits, of the voxel's points."""

    name = "entropy"
    fused = "entropy"
    column = 0

    def score(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        return self.reduced(voxels, prediction, num_classes)


@STRATEGIES.register_module("entropy_mean")
class EntropyMean(Entropy):
    """Mean softmax entropy, in bits, of the voxel's points."""

    name = "entropy_mean"
    reduce = "mean"


@STRATEGIES.register_module("margin")
class Margin(_PointStrategy):
    """Lowest, over voxels, of the largest gap between a point's two likeliest classes."""

    name = "margin"
    fused = "margin"
    column = 1

    def score(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        return 0 - self.reduced(voxels, prediction, num_classes)


@STRATEGIES.register_module("margin_mean")
class MarginMean(Margin):
    """Lowest, over voxels, of the mean gap between a point's two likeliest classes."""

    name = "margin_mean"
    reduce = "mean"


def get_strategy(name: str) -> Strategy:
    """The strategy of a registered name. Raises ValueError with the nearest name if unknown."""
    return build(STRATEGIES, {"type": name})
