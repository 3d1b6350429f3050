"""The hook that gives a training its teacher, keeps it in checkpoints and tells what it taught."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d._mmengine import Hook
from annotator3d.engine.config.schema import TeacherConfig
from annotator3d.engine.distributed import World
from annotator3d.engine.training.teacher import Teacher
from annotator3d.errors import some
from annotator3d.reporter import Reporter

WEIGHTS, STATE = "teacher_state_dict", "teacher"  # in a checkpoint


class TeacherHook(Hook):
    """Trains on the labels of a `Teacher`, which follows after every update.

    At the end of an epoch the shares of the points without an answer that it has labelled, in all
    and as each class, go to the logs; a class that it labels no more is told.

    Args:
        classes: names, in the order of the train ids.
        by_loss: whether it adds to the loss; False where another hook uses the teacher's labels.
    """

    priority = "LOW"  # after the update, before anything is saved

    def __init__(
        self,
        config: TeacherConfig,
        classes: list[str],
        reporter: Reporter,
        world: World,
        by_loss: bool = True,
    ) -> None:
        self.by_loss = by_loss
        self.config, self.classes, self.reporter, self.world = config, classes, reporter, world
        self.teacher: Teacher | None = None
        self._kept: tuple[dict, dict] | None = None
        self._before = np.zeros(len(classes), np.int64)  # pseudo-labels of the epoch before

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if WEIGHTS in checkpoint:
            self._kept = checkpoint.pop(WEIGHTS), checkpoint[STATE]

    def before_train(self, runner) -> None:
        """Raises ValueError where a training continues from a checkpoint without a teacher."""
        self.teacher = Teacher(runner.network, self.config, self.world)
        if self._kept is not None:
            weights, state = self._kept
            self.teacher.load(weights, state)
            self._before = state["before"].cpu().numpy()
        elif runner.iter > 0:
            raise ValueError(
                "this checkpoint holds no teacher, and training.teacher needs the one that it had "
                "there; continue with another checkpoint, or begin again in another --work-dir"
            )

    def before_train_epoch(self, runner) -> None:
        is_on = self.by_loss and runner.epoch >= self.config.from_epoch
        runner.network.more_losses = self._losses(runner.network) if is_on else None

    def _losses(self, network):
        def losses(batch: dict, outputs: Tensor, target: Tensor) -> dict[str, Tensor]:
            return self.teacher.losses(batch, outputs, target, network)

        return losses

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.optim_wrapper.should_update():
            self.teacher.update(runner.network)

    def after_train_epoch(self, runner) -> None:
        if runner.epoch < self.config.from_epoch:
            return
        predicted, labelled = self.teacher.counts.copy()
        points = max(int(predicted.sum()), 1)
        names = {"labelled": labelled.sum(), **dict(zip(self.classes, labelled, strict=True))}
        shares = {f"teacher/{name}_percent": 100 * float(n) / points for name, n in names.items()}
        runner.visualizer.add_scalars(shares, step=runner.iter)
        for line in remarks(predicted, labelled, self._before, self.classes):
            self.reporter.info(f"warning: teacher, epoch {runner.epoch + 1}: {line}")
        self._before = labelled
        self.teacher.counts[:] = 0

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        weights = self.teacher.network.state_dict()
        checkpoint[WEIGHTS] = {name: value.cpu().clone() for name, value in weights.items()}
        before = torch.from_numpy(self._before.copy())
        checkpoint[STATE] = {**self.teacher.state(), "before": before}


def remarks(
    predicted: NDArray[np.int64],
    labelled: NDArray[np.int64],
    before: NDArray[np.int64],
    classes: list[str],
) -> list[str]:
    """What is wrong with the pseudo-labels of an epoch, in words.

    Args:
        predicted: [C] points without an answer that the teacher predicts as each class.
        labelled: [C] those of them that got a pseudo-label. before: in the epoch before.
    """
    if predicted.sum() == 0:
        return []
    if labelled.sum() == 0:
        return [
            "no point is labelled: the teacher is nowhere as sure as training.teacher.floor asks; "
            "lower it, or let training.teacher.from_epoch be later"
        ]
    found = []
    used = [name for name, n in zip(classes, labelled, strict=True) if n]
    gone = [n for n, now, then in zip(classes, labelled, before, strict=True) if then and not now]
    if len(used) == 1:
        found.append(
            f"every label is {used[0]}: what is learnt from them is that all is {used[0]}; stop, "
            "and train from an earlier checkpoint with a lower training.teacher.pseudo_labels"
        )
    if gone:
        found.append(
            f"nothing is labelled any more as {some(gone)}; a class that vanishes here is "
            "forgotten: ask about it (active.class_quota), or lower training.teacher.pseudo_labels"
        )
    return found
