"""A control: is a strategy good because its voxels are crowded?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.errors import in_yaml
from annotator3d.kernels.voxels import Voxels
from annotator3d.registry import STRATEGIES


@STRATEGIES.register_module("crowded_random")
class CrowdedRandom(QueryStrategy):
    """Draws among the fullest voxels of a scan, as crowded as those that VCD prefers. It needs no
    network, and separates what VCD owes to points from what it owes to their prediction.

    Args:
        voxel_size, max_range, min_points: as `QueryStrategy`.
        share: of the scan's voxels, the fullest; all that are as full as the last of them belong to
            it. The others are drawn once these are used up.
    """

    name = "crowded_random"
    needs_model = False

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        share: float = 0.05,
    ) -> None:
        super().__init__(voxel_size, max_range, min_points)
        if not 0 < share <= 1:
            raise ValueError(f"share: expected above 0 and at most 1, got {in_yaml(share)}")
        self.share = share

    def utilities(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        """[V], 1 for the fullest voxels and 0 for the others: the order of ties draws."""
        if len(voxels) == 0:
            return torch.zeros_like(voxels.counts, dtype=torch.float64)
        fullest = voxels.counts.topk(math.ceil(self.share * len(voxels))).values
        return (voxels.counts >= fullest[-1]).double()
