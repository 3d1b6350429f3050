"""Numbers that are not finite end a training before anything of them is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from annotator3d._mmengine import Hook

ADVICE = (
    "lower schedule.optimizer.lr, set schedule.clip_norm, or look at the data with "
    "`annotator3d check`"
)


class FiniteLossHook(Hook):
    """After each step: refuses a loss that is NaN or infinite. Checkpoints before it are kept."""

    priority = "VERY_HIGH"  # before anything is written down

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Raises ValueError, with the place and the parts of the loss."""
        parts = {name: float(torch.as_tensor(v).detach()) for name, v in (outputs or {}).items()}
        wrong = {name: value for name, value in parts.items() if not math.isfinite(value)}
        if wrong:
            found = ", ".join(f"{name} is {value:g}" for name, value in wrong.items())
            steps = len(runner.train_dataloader)
            raise ValueError(
                f"training stops in epoch {runner.epoch + 1}, step {batch_idx + 1} of {steps}: "
                f"{found}. Nothing of this epoch is saved; {ADVICE}"
            )


def refuse_infinite_weights(weights: Mapping[str, Tensor], consequence: str) -> None:
    """Raise ValueError for the first weight that holds a NaN or an infinite value."""
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            wrong = int((~torch.isfinite(value)).sum())
            raise ValueError(
                f"the network's weight {name!r} has {wrong:,} of {value.numel():,} values that are "
                f"not finite (NaN or infinite), so {consequence}; {ADVICE}"
            )


def refuse_infinite_logits(logits: Tensor, scan: str) -> None:
    """Raise ValueError if the logits [V, C] of a scan's voxels are not finite."""
    rows = ~torch.isfinite(logits).all(1)
    if bool(rows.any()):
        raise ValueError(
            f"scan {scan}: the network gives {int(rows.sum()):,} of {len(rows):,} voxels logits "
            "that are not finite (NaN or infinite), so it predicts nothing there; take an earlier "
            "checkpoint, or train with a lower schedule.optimizer.lr"
        )
