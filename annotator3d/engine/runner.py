"""mmengine's Runner as we use it: atomic checkpoints, exact resume, source batches."""

from __future__ import annotations

import logging
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from annotator3d.data.files import fsync_folder
from annotator3d.engine.screen import Screen
from annotator3d.mm import EpochBasedTrainLoop, Hook, Runner

EMPTY_HUB = {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}}


class A3dRunner(Runner):
    """Runner on a given device whose checkpoints hold tensors and plain Python only.

    Such a checkpoint loads with ``weights_only=True`` and no allow-list. (mmengine's own message
    hub does not, and allow-listing what it needs would let a crafted file run code.)
    """

    def __init__(self, *args, device: str = "cpu", **kwargs) -> None:
        self.device = torch.device(device)
        super().__init__(*args, **kwargs)

    def build_logger(self, *args, **kwargs):
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:  # the console shows our own progress; the file, everything
            if type(handler) is logging.StreamHandler:
                handler.setLevel(logging.ERROR)
        return logger

    def wrap_model(self, model_wrapper_cfg, model):
        return model.to(self.device)

    def dump_config(self) -> None:
        """Nothing: `run.py` writes the effective config."""

    def load_checkpoint(self, filename, map_location="cpu", *args, **kwargs) -> dict:
        """mmengine's, but strict, with ``weights_only=True`` said aloud, and silent."""
        try:
            checkpoint = torch.load(filename, map_location=map_location, weights_only=True)
        except Exception as error:
            raise ValueError(
                f"{filename} is damaged ({str(error).splitlines()[0]}); delete it, and the run "
                "goes on from the checkpoint before it, to the same result"
            ) from error
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        self.model.load_state_dict(checkpoint["state_dict"])
        self._has_loaded = True
        return checkpoint

    def save_epoch(self, folder: Path, epoch: int) -> Path:
        """Write ``epoch_{epoch}.pth`` so that a kill at any time leaves it whole or absent."""
        folder.mkdir(parents=True, exist_ok=True)
        part = f".epoch_{epoch}.{os.getpid()}.part"
        self.save_checkpoint(str(folder), part, meta={"epoch": epoch, "iter": self.iter})
        with open(folder / part, "rb") as file:
            os.fsync(file.fileno())
        path = folder / f"epoch_{epoch}.pth"
        os.replace(folder / part, path)
        fsync_folder(folder)
        return path


class CheckpointHook(Hook):
    """Save after every n-th epoch and after the last, keep the newest few, restore random state."""

    priority = "VERY_LOW"

    def __init__(self, folder: Path, every: int, keep: int) -> None:
        self.folder, self.every, self.keep = folder, every, keep
        self._random_state: dict | None = None

    def before_run(self, runner) -> None:
        for part in self.folder.glob(".epoch_*.part"):  # of a process that was killed
            part.unlink()

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint["message_hub"] = EMPTY_HUB
        checkpoint["random_state"] = _random_state()

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._random_state = checkpoint.get("random_state")

    def before_train(self, runner) -> None:
        if self._random_state is not None and runner.iter > 0:
            _restore_random_state(self._random_state)

    def after_train_epoch(self, runner) -> None:
        epoch = runner.epoch + 1
        if epoch % self.every and epoch != runner.max_epochs:
            return
        runner.save_epoch(self.folder, epoch)
        for old in checkpoints(self.folder)[: -self.keep]:
            old.unlink()


class EpochHook(Hook):
    """Tell the training scans which epoch it is, and the user how far it has come."""

    def __init__(self, training, screen: Screen) -> None:
        self.training, self.screen = training, screen

    def before_train_epoch(self, runner) -> None:
        self.training.epoch = runner.epoch

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        steps = len(runner.train_dataloader)
        total = runner.max_epochs * steps
        self.screen.progress("training", runner.epoch * steps + batch_idx + 1, total)


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints in `folder`, oldest first."""
    found = [
        (int(match[1]), path)
        for path in folder.glob("epoch_*.pth")
        if (match := re.fullmatch(r"epoch_(\d+)\.pth", path.name))
    ]
    return [path for _, path in sorted(found)]


def _random_state() -> dict:
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [kind, keys.tolist(), int(position), int(has_gauss), float(gauss)],
        "python": [version, list(internal), gauss_next],
    }


def _restore_random_state(state: dict) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))


class TrainLoop(EpochBasedTrainLoop):
    """Epochs over the target with, in ADA, a source batch beside each target batch.

    Evaluation happens at the boundary between epochs, and again on resume at the boundary where
    the run stopped: a kill between the checkpoint and the evaluation loses no number.

    Args:
        source: loader of source batches, or None; used in epochs below `source_until`.
        evaluate: called with the number of finished epochs.
    """

    def __init__(self, runner, dataloader, max_epochs, source, source_until, evaluate) -> None:
        super().__init__(runner, dataloader, max_epochs)
        self.source, self.source_until, self.evaluate = source, source_until, evaluate

    def run(self) -> torch.nn.Module:
        self.runner.call_hook("before_train")
        while self._epoch < self._max_epochs:
            self.evaluate(self._epoch)
            self.run_epoch()
        self.evaluate(self._epoch)
        self.runner.call_hook("after_train")
        return self.runner.model

    def run_epoch(self) -> None:
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        mixed = self.source is not None and self._epoch < self.source_until
        source = _endless(self.source, self._epoch) if mixed else None
        for index, batch in enumerate(self.dataloader):
            data = {"batch": batch}
            if source is not None:
                data["source"] = next(source)
            self.run_iter(index, data)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1


def _endless(loader: DataLoader, epoch: int) -> Iterator[dict]:
    """Batches of a fresh shuffle for this epoch, from its start again if they run out."""
    loader.sampler.set_epoch(epoch)
    loader.dataset.epoch = epoch
    while True:
        yield from loader
