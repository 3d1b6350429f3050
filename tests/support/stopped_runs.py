"""Runs of this process: from a source network, and stopped after a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tiny_runs import tiny_config

from annotator3d.engine.run import train
from annotator3d.engine.training.runner import TrainLoop
from annotator3d.errors import RunStoppedError


def train_source(root: Path, folder: Path) -> str:
    """The checkpoint of a source training of one epoch."""
    train(tiny_config(root, "source_only", schedule={"epochs": 1}), folder / "source")
    return str(folder / "source" / "checkpoints" / "epoch_1.pth")


@contextmanager
def stopped_after(step: int) -> Iterator[None]:
    """What trains within is stopped after this step of it, as by SIGTERM."""
    taken = TrainLoop.run_iter

    def stopping(self, index, data):
        taken(self, index, data)
        if self.iter == step:
            self.stop.number = 15

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TrainLoop, "run_iter", stopping)
        with pytest.raises(RunStoppedError, match="saved as epoch_"):
            yield
