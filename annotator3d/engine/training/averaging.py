"""The average of the weights over the updates of a training (EMA)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from annotator3d._mmengine import Hook

TRAINED = "trained_state_dict"


class AveragingHook(Hook):
    """Averages the weights after every update; the average selects and is evaluated.

    A checkpoint's ``state_dict`` is the average, so that `evaluate`, `select` and ``--init`` see
    the network that the run has reported on; trained weights are stored with it, to resume from.
    The running statistics of batch norm are averaged as the weights are, so that the two agree.

    Args:
        decay: share of the average that an update keeps. The first update is copied.
    """

    priority = "LOW"  # after the update, before anything is saved

    def __init__(self, decay: float) -> None:
        self.average: dict[str, Tensor] | None = None
        self.decay = decay

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if not runner.optim_wrapper.should_update():  # gradients are being accumulated
            return
        state = _state(runner.model)
        if self.average is None:
            self.average = {name: value.detach().clone() for name, value in state.items()}
            return
        move_average(self.average, state, self.decay)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if self.average is not None:
            checkpoint[TRAINED] = checkpoint["state_dict"]
            checkpoint["state_dict"] = {n: value.cpu() for n, value in self.average.items()}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if TRAINED in checkpoint:
            device = next(runner.model.parameters()).device
            average, checkpoint["state_dict"] = checkpoint["state_dict"], checkpoint.pop(TRAINED)
            self.average = {n: value.to(device, copy=True) for n, value in average.items()}

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        own = {name: value.detach().clone() for name, value in _state(model).items()}
        _load(model, self.average)
        try:
            yield
        finally:
            _load(model, own)


def move_average(average: dict[str, Tensor], state: dict[str, Tensor], decay: float) -> None:
    """Move the average of a network's state, in place; `decay` of it stays."""
    floats = [name for name, value in state.items() if value.is_floating_point()]
    update = get_ema_multi_avg_fn(decay)
    update([average[name] for name in floats], [state[name].detach() for name in floats], None)
    for name in state.keys() - set(floats):  # batch norm's counters
        average[name].copy_(state[name])


@contextmanager
def scoring_weights(runner) -> Iterator[None]:
    """Within, the network has the weights that select and are evaluated.

    These are the averaged ones where there are any yet, else its own.
    """
    hook = next((hook for hook in runner.hooks if isinstance(hook, AveragingHook)), None)
    if hook is None or hook.average is None:
        yield
        return
    with hook.in_place(runner.model):
        yield


def _state(model: nn.Module) -> dict[str, Tensor]:
    """Of the network itself, also where it is wrapped for several processes."""
    return getattr(model, "module", model).state_dict()


@torch.no_grad()
def _load(model: nn.Module, values: dict[str, Tensor]) -> None:
    for name, value in _state(model).items():
        value.copy_(values[name])
