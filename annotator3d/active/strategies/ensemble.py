"""Uncertainty of a test-time ensemble: the scan turned and mirrored, seen by the same network."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from annotator3d.active.evidence import VIEWS, Evidence
from annotator3d.active.point_means import class_probabilities, entropy_of
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.errors import in_yaml
from annotator3d.kernels.scores import voxel_reduce
from annotator3d.registry import STRATEGIES


@STRATEGIES.register_module("ensemble")
class EnsembleUncertainty(QueryStrategy):
    """Mean over a voxel's points of the entropy, in bits, of their class probabilities averaged
    over the views of the scan: ``H(mean_a p_a)``; or of BALD, which of that entropy leaves what the
    views disagree about: ``H(mean_a p_a) - mean_a H(p_a)``.

    It costs a pass of the network for each view. Entropy of an ensemble's mean: the best classical
    strategy of nnActive (TMLR 08/2025, arXiv 2511.19183). BALD: Houlsby et al., arXiv 1112.5745.

    Args:
        voxel_size, max_range, min_points: as `QueryStrategy`.
        measure: 'entropy' or 'bald'.
    """

    name = "ensemble"
    needs = (VIEWS,)

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        measure: Literal["entropy", "bald"] = "entropy",
    ) -> None:
        super().__init__(voxel_size, max_range, min_points)
        if measure not in ("entropy", "bald"):
            raise ValueError(f"measure: expected 'entropy' or 'bald', got {in_yaml(measure)}")
        self.measure = measure

    def score(self, evidence: Evidence) -> Tensor:
        """[V] bits, from the views' logits [A, N, C]."""
        views = class_probabilities(evidence.views)
        bits = entropy_of(views.double().mean(0))
        if self.measure == "bald":
            bits = bits - entropy_of(views).mean(0)
        return voxel_reduce(bits, evidence.voxels, "mean")
