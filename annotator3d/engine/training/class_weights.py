"""Before each epoch: the weights of the classes in the target's cross-entropy, by its answers."""

from __future__ import annotations

import torch

from annotator3d._mmengine import Hook
from annotator3d.data.balance import class_weights, points_of_classes
from annotator3d.data.batch import TrainingScans


class ClassWeightsHook(Hook):
    """Sets `Segmentor.class_weights` from the points that are answered as each class.

    Args:
        training: the scans with the answers of the epoch, which an earlier hook has set.
        power: see `data.balance.class_weights`.
    """

    priority = "LOW"  # after the hook of the rounds

    def __init__(self, training: TrainingScans, power: float) -> None:
        self.training, self.power = training, power

    def before_train_epoch(self, runner) -> None:
        network = runner.network
        counts = sum(map(points_of_classes, (self.training.answers or {}).values()))
        if not isinstance(counts, int):  # nobody has answered yet
            weights = class_weights(counts[: network.num_classes], self.power)
            network.class_weights = torch.from_numpy(weights).float().to(runner.device)
