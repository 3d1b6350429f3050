"""The checkpoints of a run: written whole or not at all, checked before they are used, kept few."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from annotator3d._mmengine import Hook
from annotator3d.data.files import fsync_folder
from annotator3d.engine.training.averaging import TRAINED
from annotator3d.engine.training.checkpoint_file import (
    STATE,
    damage,
    read_checkpoint,
)
from annotator3d.engine.training.finite import refuse_infinite_weights

EMPTY_HUB = {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}}


@dataclass(frozen=True, order=True)
class Place:
    """Where in the training a checkpoint was made: finished epochs, steps of the next one."""

    epoch: int
    step: int = 0

    @property
    def file_name(self) -> str:
        return f"epoch_{self.epoch}{f'_step_{self.step}' if self.step else ''}.pth"

    @classmethod
    def of(cls, file_name: str) -> Place | None:
        """The place that a file is named after; None if it is no checkpoint."""
        name = re.fullmatch(r"epoch_(\d+)(?:_step_(\d+))?\.pth", file_name)
        return cls(int(name[1]), int(name[2] or 0)) if name else None


class Checkpoints:
    """The checkpoints in a folder, which need not exist yet.

    Args:
        keep: how many ends of an epoch are kept. One in the middle of an epoch, made when the run
            was asked to stop, is kept until the next end of an epoch is there.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def places(self) -> list[Place]:
        """Of the checkpoints that are there, oldest first."""
        found = (Place.of(path.name) for path in self.folder.glob("epoch_*.pth"))
        return sorted(place for place in found if place)

    def path(self, place: Place) -> Path:
        return self.folder / place.file_name

    def newest(self, processes: int, say: Callable[[str], None]) -> Place | None:
        """The newest checkpoint that is whole and can be gone on from; None if there is none.

        Args:
            processes: of this run. One in the middle of an epoch knows which scans as many
                processes had trained on, so another number starts that epoch again.
            say: told of each checkpoint that is passed over, and why.
        """
        found = self.places()
        passed = False
        for place in reversed(found):
            fault = damage(self.path(place))
            if fault is None and place.step:
                fault = self._other_processes(place, processes)
            if fault is None:
                if passed:
                    say(f"continuing from {place.file_name} instead: the same training is repeated")
                return place
            say(f"{self.path(place)} {fault}")
            passed = True
        if found:
            say("no checkpoint can be used: training starts again; the ledger's rounds are kept")
        return None

    def _other_processes(self, place: Place, processes: int) -> str | None:
        made_by = read_checkpoint(self.path(place)).get("meta", {}).get("processes")
        if made_by == processes:
            return None
        return f"is from the middle of an epoch of {made_by} processes, this run has {processes}"

    def save(self, runner, place: Place) -> None:
        """Write one; a kill or a full disk at any time leaves it whole or absent, and the others.

        Raises:
            OSError: it cannot be written.
        """
        part = self.folder / f".{place.file_name}.{os.getpid()}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            meta = {"epoch": place.epoch, "iter": runner.iter, "step": place.step}
            runner.save_checkpoint(
                str(self.folder), part.name, meta={**meta, "processes": runner.world_size}
            )
            with open(part, "rb") as file:
                os.fsync(file.fileno())
            os.replace(part, self.path(place))
            fsync_folder(self.folder)
        except OSError as error:
            part.unlink(missing_ok=True)
            kept = [other.file_name for other in self.places()]
            raise OSError(
                f"{self.path(place)} could not be written ({error.strerror or error}); "
                f"{kept[-1] if kept else 'no earlier checkpoint'} is kept; free some space, "
                "then continue with --resume"
            ) from error
        self._prune()

    def _prune(self) -> None:
        places = self.places()
        ends = [place for place in places if not place.step][-self.keep :]
        for place in places:
            if ends and place < ends[-1] and place not in ends:
                self.path(place).unlink()

    def clear_parts(self) -> None:
        """Remove what a killed process had begun to write."""
        for part in self.folder.glob(".epoch_*.part"):
            part.unlink()


def newest_whole(folder: Path) -> Path:
    """The newest checkpoint of a folder that is not damaged.

    Raises FileNotFoundError if there is none.
    """
    files = Checkpoints(folder, keep=1)
    for place in reversed(files.places()):
        if damage(files.path(place)) is None:
            return files.path(place)
    raise FileNotFoundError(
        f"{folder} holds no whole checkpoint; train first, or pass --checkpoint FILE"
    )


class CheckpointHook(Hook):
    """Save after every n-th epoch and after the last; restore the random state on resume."""

    priority = "VERY_LOW"

    def __init__(self, files: Checkpoints, every: int) -> None:
        self.files, self.every = files, every
        self._random_state: dict | None = None

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        for weights in (checkpoint[STATE], checkpoint.get(TRAINED, {})):
            refuse_infinite_weights(weights, "they are not saved")
        # mmengine's message hub would need an allow-list that lets a crafted file run code.
        checkpoint["message_hub"] = EMPTY_HUB
        checkpoint["random_state"] = _random_state()

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._random_state = checkpoint.get("random_state")

    def before_train(self, runner) -> None:
        if self._random_state is not None and runner.iter > 0:
            _restore_random_state(self._random_state)

    def after_train_epoch(self, runner) -> None:
        epoch = runner.epoch + 1
        if epoch % self.every == 0 or epoch == runner.max_epochs:
            runner.save(self.files, Place(epoch))


def _random_state() -> dict:
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
        "numpy": [kind, keys.tolist(), int(position), int(has_gauss), float(gauss)],
        "python": [version, list(internal), gauss_next],
    }


def _restore_random_state(state: dict) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if isinstance(state["cuda"], torch.Tensor) and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(state["cuda"].cpu())
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
