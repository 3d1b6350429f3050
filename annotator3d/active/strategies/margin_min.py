"""Margin of the most doubtful point: what DDAL compares with as "margin", voxel by voxel."""

from __future__ import annotations

from torch import Tensor

from annotator3d.active.point_means import logits_of
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.kernels.score_table import SCORE_ONE
from annotator3d.kernels.scores import entropy_and_margin, voxel_reduce
from annotator3d.kernels.voxels import Voxels
from annotator3d.registry import STRATEGIES


@STRATEGIES.register_module("margin_min")
class VoxelMarginMin(QueryStrategy):
    """Minus the smallest gap ``p_1 - p_2`` of the voxel's points: one point between two classes is
    enough, where `VoxelMargin` wants all of them to be.

    Margin sampling: Scheffer, Decomain and Wrobel, IDA 2001; of single points of a scan, the best
    classical strategy in DDAL's table 5.
    """

    name = "margin_min"

    def utilities(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        """[V] from -1 to 0, from logits [N, C] or the gap [N] of each point."""
        if prediction is not None and prediction.is_floating_point() and prediction.dim() == 1:
            return voxel_reduce(-prediction.double(), voxels, "max")
        _, gap = entropy_and_margin(logits_of(prediction, num_classes, self.name))
        return voxel_reduce(-gap, voxels, "max").double() / SCORE_ONE
