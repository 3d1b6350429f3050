"""Class-stratified uncertainty with noise that fades (ClaSP PE, TMLR 01/2026, arXiv 2601.13677)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.chooser import class_quotas
from annotator3d.active.draws import gumbel
from annotator3d.active.evidence import Evidence, Moment
from annotator3d.active.point_means import (
    class_probabilities,
    confusion,
    logits_of,
    mean_entropy,
    mean_of_points,
    most_bits,
)
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.active.selector import Scores
from annotator3d.errors import in_yaml
from annotator3d.kernels.score_table import SCORE_ONE
from annotator3d.kernels.scores import entropy_and_margin, voxel_reduce
from annotator3d.registry import STRATEGIES

_LAST_BETA = 100.0  # of the first round: 1
_LEAST = 2.0**-33  # half of the smallest uncertainty that is not 0


@STRATEGIES.register_module("class_stratified")
class ClassStratified(QueryStrategy):
    """Uncertainty, part of the round spread over the classes: ``log s + g / beta``.

    The uncertainty of a voxel is s, and of its part in class c ``s_c = mean_i u_i p_ic``. g is
    drawn from the standard Gumbel distribution for each voxel and round, so that voxels are drawn
    with chances in proportion to s^beta; beta grows exponentially over the rounds, from 1 to 100. A
    share of the round is split equally over the classes that are predicted in the pool, of which
    the rarest chooses first; the rest goes to the highest s.

    Args:
        voxel_size, max_range, min_points: as `QueryStrategy`.
        share: of the round that is split over the classes.
        uncertainty: what u_i is, s being its mean: 'entropy': of point i; or, for the whole voxel,
            'vcd', or 'impurity': VCD times the mean entropy (RIPU, without its second order). A
            voxel with 0 there is of no class.
    """

    name = "class_stratified"
    stratified = True

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        share: float = 0.66,
        uncertainty: Literal["entropy", "impurity", "vcd"] = "entropy",
    ) -> None:
        super().__init__(voxel_size, max_range, min_points)
        if not 0 <= share <= 1:
            raise ValueError(f"share: expected 0 to 1, got {in_yaml(share)}")
        if uncertainty not in ("entropy", "impurity", "vcd"):
            raise ValueError(
                f"uncertainty: expected 'entropy', 'impurity' or 'vcd', got {in_yaml(uncertainty)}"
            )
        self.share, self.uncertainty = share, uncertainty

    def score(self, evidence: Evidence) -> Scores:
        """log s + g / beta of each voxel, and log s_c + g / beta as strata; from logits [N, C]."""
        whole, parts = self._uncertainties(evidence)
        moment, cells = evidence.moment, evidence.voxels.cells
        draw = gumbel(cells, moment.seed, evidence.scan_id, f"{self.name} {moment.round}")
        noise = draw / beta_of(moment)
        strata = torch.where(parts > 0, parts.log() + noise[:, None], -torch.inf)
        return Scores(whole.clamp(min=_LEAST).log() + noise, strata)

    def quotas(
        self, pool: None, frequencies: NDArray[np.int64], moment: Moment
    ) -> list[tuple[int, int]]:
        return class_quotas(frequencies, moment.budget, self.share)

    def _uncertainties(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """s [V] and s_c [V, C], in 0..1."""
        voxels, classes = evidence.voxels, evidence.num_classes
        logits = logits_of(evidence.prediction, classes, self.name)
        p = class_probabilities(logits)
        if self.uncertainty == "entropy":
            entropy, _ = entropy_and_margin(logits)
            whole = voxel_reduce(entropy, voxels, "mean").double() / SCORE_ONE
            p *= (entropy.double() / SCORE_ONE / most_bits(classes)).float()[:, None]
            return whole / most_bits(classes), mean_of_points(p, voxels)
        whole = confusion(logits, voxels, classes)
        if self.uncertainty == "impurity":
            whole = whole * mean_entropy(logits, voxels)
        return whole, whole[:, None] * mean_of_points(p, voxels)


def beta_of(moment: Moment) -> float:
    """How sharply a round draws: 1 in the first, 100 in the last one of the run."""
    passed = (moment.round - 1) / max(moment.rounds - 1, 1)
    return _LAST_BETA ** min(passed, 1.0)
