"""A control: is a strategy good because it asks about all classes?"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from annotator3d.active.chooser import class_quotas
from annotator3d.active.evidence import Evidence, Moment
from annotator3d.active.point_means import likeliest
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.active.selector import Scores, strata_of_classes
from annotator3d.registry import STRATEGIES


@STRATEGIES.register_module("class_random")
class ClassRandom(QueryStrategy):
    """Random voxels, equally many of each class that is predicted in the pool; a voxel counts as
    the class that most of its points are predicted as.

    The class-aware random baseline that nnActive (TMLR 08/2025, arXiv 2511.19183) found hard to
    beat, for many classes instead of one foreground.
    """

    name = "class_random"
    stratified = True
    only_classes = True

    def score(self, evidence: Evidence) -> Scores:
        """Zeros, a stratum for each class; from logits [N, C] or train ids [N]."""
        prediction, voxels = evidence.prediction, evidence.voxels
        if prediction is None or (prediction.dim() == 1 and prediction.is_floating_point()):
            raise ValueError("strategy 'class_random' needs logits [N, C] or train ids [N]")
        classes = likeliest(prediction) if prediction.dim() == 2 else prediction
        zeros = torch.zeros_like(voxels.counts, dtype=torch.float64)
        return Scores(zeros, strata_of_classes(zeros, voxels, classes, evidence.num_classes))

    def quotas(
        self, pool: None, frequencies: NDArray[np.int64], moment: Moment
    ) -> list[tuple[int, int]]:
        return class_quotas(frequencies, moment.budget, 1.0)
