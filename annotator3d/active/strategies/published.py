"""The strategies of the paper: how much can be learned from each voxel.

Definitions: Annotator (NeurIPS 2023, arXiv 2310.20293) and its released code, over every point.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.errors import in_yaml
from annotator3d.kernels.score_table import SCORE_ONE
from annotator3d.kernels.scores import entropy_and_margin, voxel_confusion, voxel_reduce
from annotator3d.kernels.voxels import Voxels
from annotator3d.registry import STRATEGIES


@STRATEGIES.register_module("random")
class RandomSampling(QueryStrategy):
    """The same utility for every voxel: the seeded order of ties draws uniformly."""

    name = "random"
    needs_model = False
    fused = "none"

    def utilities(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        """[V] zeros."""
        return torch.zeros_like(voxels.scan, dtype=torch.float64)


@STRATEGIES.register_module("vcd")
class VoxelConfusion(QueryStrategy):
    """Voxel confusion degree: entropy, in bits, of the classes predicted inside the voxel."""

    name = "vcd"
    fused = "vcd"
    only_classes = True

    def utilities(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        """[V] bits, from logits [N, C] or train ids [N]; see `QueryStrategy.utilities`."""
        if prediction is None:
            raise ValueError("strategy 'vcd' needs logits or predicted labels")
        if prediction.dim() == 1 and prediction.is_floating_point():
            raise ValueError(
                "strategy 'vcd' counts predicted classes: give logits [N, C] or labels [N] "
                "(integers); with one score per point choose entropy or margin"
            )
        return voxel_confusion(prediction, voxels, num_classes).double() / SCORE_ONE


class _PointwiseStrategy(QueryStrategy):
    """Scores points by their logits; a voxel gets the maximum or the mean of its points.

    Args:
        voxel_size, max_range, min_points: as `QueryStrategy`.
        reduce: 'max' or 'mean'.
    """

    column: ClassVar[int]  # of what the kernels' `entropy_and_margin` gives

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        reduce: str = "max",
    ) -> None:
        super().__init__(voxel_size, max_range, min_points)
        if reduce not in ("max", "mean"):
            raise ValueError(f"reduce: expected 'max' or 'mean', got {in_yaml(reduce)}")
        self.reduce = reduce

    def _reduced(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        if prediction is None or not prediction.is_floating_point():
            raise ValueError(
                f"strategy {self.name!r} needs logits [N, {num_classes}] or its score per point "
                "[N] as floats; from predicted labels only 'vcd' and 'random' can choose"
            )
        if prediction.dim() != 2:
            return voxel_reduce(prediction.double(), voxels, self.reduce)
        if prediction.shape[1] != num_classes:
            raise ValueError(f"logits must be [N, {num_classes}], got {list(prediction.shape)}")
        fixed = voxel_reduce(entropy_and_margin(prediction)[self.column], voxels, self.reduce)
        return fixed.double() / SCORE_ONE


@STRATEGIES.register_module("entropy")
class VoxelEntropy(_PointwiseStrategy):
    """Largest softmax entropy, in bits, of the voxel's points; with reduce='mean' their mean."""

    name = "entropy"
    fused = "entropy"
    column = 0

    def utilities(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        """[V] bits, from logits [N, C] or the entropy [N] of each point."""
        return self._reduced(voxels, prediction, num_classes)


@STRATEGIES.register_module("margin")
class VoxelMargin(_PointwiseStrategy):
    """Minus the largest gap between the two likeliest classes of the voxel's points; with
    reduce='mean' minus their mean. The lowest gap is asked first.
    """

    name = "margin"
    fused = "margin"
    column = 1

    def utilities(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        """[V] from -1 to 0, from logits [N, C] or the gap [N] of each point."""
        return 0 - self._reduced(voxels, prediction, num_classes)


class _MeanOfPoints(_PointwiseStrategy):
    """Changes the default of `reduce` to 'mean', for configs that name the strategy only."""

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        reduce: str = "mean",
    ) -> None:
        super().__init__(voxel_size, max_range, min_points, reduce)


@STRATEGIES.register_module("entropy_mean")
class _VoxelEntropyMean(_MeanOfPoints, VoxelEntropy):
    """`VoxelEntropy` with reduce='mean', under a name of its own for configs."""

    name = "entropy_mean"


@STRATEGIES.register_module("margin_mean")
class _VoxelMarginMean(_MeanOfPoints, VoxelMargin):
    """`VoxelMargin` with reduce='mean', under a name of its own for configs."""

    name = "margin_mean"
