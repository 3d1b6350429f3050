"""From which confidence on a prediction is taken for a label: one threshold a class, which moves.

The threshold of a class is the moving mean of the confidence (the largest softmax) of what is
predicted as it, and never below a floor. So a class in which the network is not yet sure, as rare
ones are, is not left out by a threshold that the road sets. After the dynamic filter of DPGLA (Li
et al., 2025, arXiv 2510.23525), without its second, global threshold and its variances. The moving
thresholds of FreeMatch (Wang et al., ICLR 2023, arXiv 2205.07246) go by how often a class is
predicted, which in a LiDAR scan differs a thousandfold: nearly every point of a rare class passes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.engine.distributed import World

_ONE = 2**24  # a confidence of 1 in whole numbers, whose sums no order changes


class ClassThresholds:
    """The thresholds of C classes.

    Args:
        floor: the lowest confidence that is ever enough.
        decay: how much an earlier batch counts beside the one after it.
    """

    def __init__(self, num_classes: int, floor: float, decay: float) -> None:
        self.floor, self.decay = floor, decay
        self.means = torch.zeros(num_classes, dtype=torch.float64)
        self.rows = torch.zeros(num_classes, dtype=torch.float64)  # that a mean is over, faded

    @property
    def values(self) -> Tensor:
        """[C] float64 on CPU; the floor for a class that was never predicted."""
        return self.means.clamp(min=self.floor)

    def update(self, confidence: Tensor, classes: Tensor, world: World) -> None:
        """Take in the predictions of a batch: of those of all processes, the same everywhere.

        A class that none of them has keeps its threshold.

        Args:
            confidence: [V] float in 0..1. classes: [V] int64.
        """
        num_classes = len(self.rows)
        whole = (confidence.double() * _ONE).round()
        sums = classes.bincount(whole, minlength=num_classes)
        counts = classes.bincount(minlength=num_classes)
        found = torch.stack([sums.to(counts.dtype), counts]).cpu().numpy()
        sums, counts = torch.from_numpy(world.total(found)).double()
        new = (1 - self.decay) * counts
        self.rows.mul_(self.decay).add_(new)
        seen = counts > 0
        steps = sums[seen] / counts[seen] / _ONE - self.means[seen]
        self.means[seen] += new[seen] / self.rows[seen] * steps

    def accept(self, confidence: Tensor, classes: Tensor) -> Tensor:
        """[V] bool: which predictions are sure enough for their class."""
        return confidence.double() >= self.values.to(confidence.device)[classes]

    def state(self) -> dict[str, Tensor]:
        return {"means": self.means.clone(), "rows": self.rows.clone()}

    def load(self, state: dict[str, Tensor]) -> None:
        self.means, self.rows = (state[name].cpu().clone() for name in ("means", "rows"))
