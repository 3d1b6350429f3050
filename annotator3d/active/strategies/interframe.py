"""Disagreement of scans about the same place (after LiDAL, ECCV 2022, arXiv 2211.05997)."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.active.evidence import NEIGHBOURS, Evidence
from annotator3d.active.point_means import entropy_of, most_bits
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.registry import STRATEGIES


@STRATEGIES.register_module("interframe")
class InterframeDivergence(QueryStrategy):
    """Jensen-Shannon divergence of what the scans that see a voxel's place predict there, as a
    share of the largest entropy: ``(H(mean_f q_f) - mean_f H(q_f)) / log2 C``, q_f the mean class
    probabilities of the voxel of scan f that lies there.

    Voxels that one scan alone sees come after all others, the highest entropy first: their utility
    is that entropy less 2. LiDAL takes Kullback-Leibler divergences of matched points instead, and
    moving objects disagree without being doubtful. Needs poses.
    """

    name = "interframe"
    needs = (NEIGHBOURS,)

    def score(self, evidence: Evidence) -> Tensor:
        """[V] in 0..1, or in -2..-1 for voxels that one scan sees."""
        seen, device = evidence.neighbours, evidence.voxels.cells.device
        of_mean = entropy_of(torch.from_numpy(seen.means).to(device))
        mean_of = torch.from_numpy(seen.entropy).to(device).double()
        several = torch.from_numpy(seen.scans > 1).to(device)
        most = most_bits(evidence.num_classes)
        divergence = ((of_mean - mean_of) / most).clamp(min=0)
        return torch.where(several, divergence, mean_of / most - 2)
