"""A mean teacher: a moving average of the network labels the points that nobody has answered.

Source: Tarvainen and Valpola, Mean teachers are better role models, NIPS 2017 (arXiv 1703.01780);
for LiDAR scans, the mean teacher of LaserMix (Kong et al., CVPR 2023, arXiv 2207.00026).
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from annotator3d.data.scan import IGNORE
from annotator3d.engine.config.schema import TeacherConfig
from annotator3d.engine.distributed import World
from annotator3d.engine.training.averaging import move_average
from annotator3d.engine.training.thresholds import ClassThresholds
from annotator3d.models.losses import consistency_loss, segmentation_loss
from annotator3d.models.segmentor import Segmentor


class Teacher:
    """The averaged copy of a network, in eval mode, and what it teaches.

    Its weights are the mean over those of the start and of all updates, until that mean would be
    over more than 1 / (1 - decay) of them; from there on it moves. Running batch-norm statistics
    are averaged as weights are.

    Args:
        network: the student; it is copied.
        world: whose processes share the thresholds.

    Attributes:
        counts: [2, C] int64 of this epoch and all processes: points without an answer that are
            predicted as each class, and those of them that got a pseudo-label.
    """

    def __init__(self, network: Segmentor, config: TeacherConfig, world: World) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.config, self.world, self.updates = config, world, 0
        self.thresholds = ClassThresholds(network.num_classes, config.floor, config.threshold_decay)
        self.counts = np.zeros((2, network.num_classes), np.int64)

    def update(self, student: nn.Module) -> None:
        """After an update of the student's weights."""
        decay = min(self.config.decay, (self.updates + 1) / (self.updates + 2))
        move_average(self.network.state_dict(), student.state_dict(), decay)
        self.updates += 1

    @torch.no_grad()
    def probabilities(self, batch: dict) -> Tensor:
        """[V, C] float32: what it gives the points that stand for the voxels of a batch.

        With ``view: raw`` it reads ``batch["raw"]``, the same points as they were recorded.
        """
        view = batch["raw"] if self.config.view == "raw" else batch
        logits = self.network(view)
        if self.network.tells_points_apart:
            logits = self.network.at_points(logits, view)[batch["first"]]
        elif view is not batch:
            logits = logits[view["point_to_voxel"][batch["first"]]]
        return logits.float().softmax(1)

    def pseudo_labels(self, probabilities: Tensor, free: Tensor) -> Tensor:
        """[V] int64: the class of each row that is sure enough and `free` [V], 255 elsewhere."""
        confidence, classes = probabilities.max(1)
        self.thresholds.update(confidence, classes, self.world)
        sure = self.thresholds.accept(confidence, classes)
        return torch.where(sure & free, classes, IGNORE)

    @torch.no_grad()
    def labels_of_points(self, batch: dict) -> Tensor:
        """[N] int64: the class of each point of scans as recorded where it is sure, 255 elsewhere.

        Of scans in which nobody has answered.
        """
        logits, rows = self.network(batch), batch["point_to_voxel"]
        if self.network.tells_points_apart:
            logits = self.network.at_points(logits, batch)
            rows = torch.arange(len(rows), device=rows.device)
        probabilities = logits.float().softmax(1)
        free = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        labels = self.pseudo_labels(probabilities, free)
        self._count(rows, probabilities.argmax(1), free, labels)
        return labels[rows]

    def losses(self, batch: dict, outputs: Tensor, target: Tensor, student: Segmentor) -> dict:
        """What is added to the loss of a target batch.

        Args:
            batch: with ``answered`` [V] bool, voxels in which somebody has answered.
            outputs: [V, C or C + 1] of the student. target: [V] int64, 255 where nothing is known.
        """
        probabilities = self.probabilities(batch)
        free = (target == IGNORE) & ~batch["answered"]
        labels = self.pseudo_labels(probabilities, free)
        self._count(batch["point_to_voxel"], probabilities.argmax(1), free, labels)
        found = {}
        if weight := self.config.pseudo_labels:
            parts = segmentation_loss(outputs, labels, student.label_smoothing, student.lovasz)
            found |= {f"teacher_{name}": weight * value for name, value in parts.items()}
        if weight := self.config.consistency:
            logits = outputs[free, : student.num_classes]
            value = consistency_loss(logits, probabilities[free])
            found["teacher_loss_consistency"] = weight * value
        return found

    def _count(self, rows: Tensor, classes: Tensor, free: Tensor, labels: Tensor) -> None:
        num_classes = self.counts.shape[1]
        found = [
            classes[rows[chosen[rows]]].bincount(minlength=num_classes)
            for chosen in (free, labels != IGNORE)
        ]
        self.counts += self.world.total(torch.stack(found).cpu().numpy())

    def state(self) -> dict:
        """Beside the weights, for a checkpoint: tensors and plain Python."""
        return {
            "updates": self.updates,
            "counts": torch.from_numpy(self.counts.copy()),
            **self.thresholds.state(),
        }

    def load(self, weights: dict[str, Tensor], state: dict) -> None:
        self.network.load_state_dict(weights)
        self.updates = int(state["updates"])
        self.counts = state["counts"].cpu().numpy().copy()
        self.thresholds.load(state)
