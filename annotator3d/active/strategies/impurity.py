"""Region impurity times prediction uncertainty (RIPU, CVPR 2022, arXiv 2111.12940)."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from annotator3d.active.point_means import confusion, likeliest, logits_of, mean_entropy, most_bits
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.errors import in_yaml
from annotator3d.kernels.neighbours import devoxelize, kernel_map
from annotator3d.kernels.score_table import SCORE_ONE, score_table
from annotator3d.kernels.scores import voxel_class_histogram
from annotator3d.kernels.voxels import Voxels
from annotator3d.registry import STRATEGIES


@STRATEGIES.register_module("impurity")
class ImpurityUncertainty(QueryStrategy):
    """Entropy of the classes predicted in a voxel times the mean entropy of its points, each as a
    share of the largest one: ``H(h) / log2 C * mean_i H(p_i) / log2 C``.

    Voxels of one predicted class come after all others, the highest mean entropy first: their
    utility is that mean less 2.

    Args:
        voxel_size, max_range, min_points: as `QueryStrategy`.
        neighbourhood: 1: classes of the voxel's own points; 3: of the points in the 3 x 3 x 3 cells
            around it, so that thin voxels at a border compete with crowded ones.
    """

    name = "impurity"

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        neighbourhood: int = 1,
    ) -> None:
        super().__init__(voxel_size, max_range, min_points)
        if neighbourhood not in (1, 3):
            raise ValueError(f"neighbourhood: expected 1 or 3, got {in_yaml(neighbourhood)}")
        self.neighbourhood = neighbourhood

    def utilities(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        """[V] in 0..1, or in -2..-1 for voxels of one predicted class; from logits [N, C]."""
        logits = logits_of(prediction, num_classes, self.name)
        uncertainty = mean_entropy(logits, voxels)
        if self.neighbourhood == 1:
            impurity = confusion(logits, voxels, num_classes)
        else:
            impurity = confusion_around(likeliest(logits), voxels, num_classes)
        return torch.where(impurity > 0, impurity * uncertainty, uncertainty - 2)


def confusion_around(classes: Tensor, voxels: Voxels, num_classes: int) -> Tensor:
    """Entropy of the classes that are predicted in the 3 x 3 x 3 cells around each voxel, as a
    share of the largest one: [V] float64 in 0..1.

    Args:
        classes: [N] train ids, 255 for none.
    """
    own = voxel_class_histogram(classes, voxels, num_classes).float()  # exact up to 2^24 points
    offsets = torch.tensor([*product((-1, 0, 1), repeat=3)], dtype=torch.int32, device=own.device)
    rows = kernel_map(voxels.cells, voxels.scan_splits, offsets).T.contiguous()
    around = devoxelize(own, rows, torch.ones_like(rows, dtype=torch.float32)).long()
    points = around.sum(1)
    table = score_table(int(points.max()) if len(points) else 0, own.device)  # n log2 n, exact
    bits = (table[points] - table[around].sum(1)) // points.clamp(min=1)
    return bits.double() / SCORE_ONE / most_bits(num_classes)
