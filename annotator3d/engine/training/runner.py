"""mmengine's Runner as we use it: one process or several, exact resume, source batches."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from annotator3d._mmengine import EpochBasedTrainLoop, Hook, MMDistributedDataParallel, Runner
from annotator3d.engine.distributed import ALONE, World
from annotator3d.engine.training.checkpoint_file import (
    STATE,
    check_resumable,
    load_weights,
    read_checkpoint,
)
from annotator3d.engine.training.checkpoints import Checkpoints, Place
from annotator3d.engine.training.loading import batches, end_workers, endless_batches
from annotator3d.engine.training.signals import StopSignal
from annotator3d.errors import RunPausedError, RunStoppedError
from annotator3d.reporter import Reporter


class A3dRunner(Runner):
    """Runner of one of the processes of `world`, on a given device.

    Its checkpoints hold tensors and plain Python only: they load with ``weights_only=True`` and no
    allow-list.
    """

    def __init__(
        self, *args, device: str | torch.device = "cpu", world: World = ALONE, **kwargs
    ) -> None:
        self.device, self.world = torch.device(device), world
        self._schedule = copy.deepcopy(kwargs.get("param_scheduler"))
        super().__init__(*args, **kwargs)

    @property
    def network(self) -> nn.Module:
        """The model itself, also where it is wrapped for several processes."""
        return getattr(self.model, "module", self.model)

    def build_logger(self, *args, **kwargs):
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:  # the console shows our own progress; the file, everything
            if type(handler) is logging.StreamHandler:
                handler.setLevel(logging.ERROR)
        return logger

    def wrap_model(self, model_wrapper_cfg, model: nn.Module) -> nn.Module:
        return wrap(model, self.device, self.world)

    def dump_config(self) -> None:
        """Nothing: `RunRecord.start` writes the effective config."""

    def load_checkpoint(self, filename, map_location="cpu", *args, **kwargs) -> dict:
        """mmengine's, but strict, by our reader of checkpoints, and silent."""
        checkpoint = read_checkpoint(filename, map_location)
        check_resumable(checkpoint, filename)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        load_weights(self.network, checkpoint[STATE], filename)
        self._has_loaded = True
        return checkpoint

    # mmengine builds its loop from a config and takes the checkpoint to resume from one too; it has
    # no public way to hand over either. These two methods are the only ones that set its privates.

    def set_train_loop(self, loop: TrainLoop) -> None:
        """Train with this loop; before `train`."""
        self._train_loop = loop

    def resume_from(self, checkpoint: Path) -> None:
        """Let `train` continue from this checkpoint."""
        self._load_from, self._resume = str(checkpoint), True

    def resume(self, filename, *args, **kwargs) -> None:
        schedules = [_length(scheduler) for scheduler in self.param_schedulers]
        try:
            super().resume(filename, *args, **kwargs)
        except (KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ValueError(
                f"{filename} cannot be continued from: what it holds is not of this run "
                f"({type(error).__name__}: {error})"
            ) from error
        self.train_loop.step = Place.of(Path(filename).name).step
        if schedules != [_length(scheduler) for scheduler in self.param_schedulers]:
            self._follow_longer_schedule()

    def _follow_longer_schedule(self) -> None:
        """Let the learning rate be what it would be at this step of the schedule as it is now.

        A checkpoint keeps the schedule by which it was trained, at whose end the rate is near 0.
        """
        for group in self.optim_wrapper.param_groups:
            group["lr"] = group.get("initial_lr", group["lr"])
        self.param_schedulers = self.build_param_scheduler(self._schedule)
        with warnings.catch_warnings():  # of rates that move before the first update
            warnings.simplefilter("ignore", UserWarning)
            for _ in range(self.iter):
                for scheduler in self.param_schedulers:
                    scheduler.step()

    def save(self, files: Checkpoints, place: Place) -> None:
        """Write a checkpoint; `Checkpoints.save` on rank 0."""
        self.world.on_rank_zero(lambda: files.save(self, place))


def _length(scheduler) -> tuple:
    """The steps of a schedule's phase; its state says where in it the training is."""
    return tuple(getattr(scheduler, name, None) for name in ("begin", "end", "T_max"))


def wrap(model: nn.Module, device: torch.device, world: World) -> nn.Module:
    """The model on `device`, its gradients averaged over the processes of `world`.

    A backbone of which some parameters get no gradient in some steps has an attribute
    ``unused_parameters = True``: each step then looks for them.
    """
    model = model.to(device)
    if world.size == 1:
        return model
    if device.type == "cuda":  # torch has it for CUDA only
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    with warnings.catch_warnings():  # of the name of an option in newer versions of torch
        warnings.simplefilter("ignore", FutureWarning)
        return MMDistributedDataParallel(
            model,
            broadcast_buffers=False,  # `StatisticsHook` brings them together
            find_unused_parameters=getattr(model.backbone, "unused_parameters", False),
        )


class EpochHook(Hook):
    """Tell the user how far the training has come."""

    def __init__(self, reporter: Reporter, task: str = "training") -> None:
        self.reporter, self.task = reporter, task

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        steps = len(runner.train_dataloader)
        total = runner.max_epochs * steps
        self.reporter.progress(self.task, runner.epoch * steps + batch_idx + 1, total)


class StatisticsHook(Hook):
    """After each step of several processes: the mean of their running statistics, on all of them.

    Batch norm outside CUDA knows only the scans of its own process. `SyncBatchNorm` needs nothing.
    """

    priority = "VERY_HIGH"  # before anything looks at the network after a step

    def before_train(self, runner) -> None:
        self._statistics = [
            buffer
            for module in runner.network.modules()
            if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm)
            for buffer in (module.running_mean, module.running_var)
            if buffer is not None
        ]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._statistics:
            runner.world.average(self._statistics)


class TrainLoop(EpochBasedTrainLoop):
    """Epochs over the target with, in ADA, a source batch beside each target batch.

    Evaluation happens at the boundary between epochs, and again on resume at the boundary where
    the run stopped: a kill between the checkpoint and the evaluation loses no number.

    Args:
        source: loader of source batches, or None; used in epochs below `source_until`.
        evaluate: called with the number of finished epochs.
        files: where the place is saved at which a signal stops the run.
        stop: the signal.

    Attributes:
        step: steps of this epoch that have been taken.
    """

    def __init__(
        self,
        runner: A3dRunner,
        dataloader: DataLoader,
        max_epochs: int,
        source: DataLoader | None,
        source_until: int,
        evaluate: Callable[[int], None],
        files: Checkpoints,
        stop: StopSignal,
    ) -> None:
        super().__init__(runner, dataloader, max_epochs)
        self.source, self.source_until, self.evaluate = source, source_until, evaluate
        self.files, self.stop, self.step = files, stop, 0

    def run(self) -> nn.Module:
        """Train to the last epoch.

        Raises:
            RunPausedError: on a signal, or where a person has to answer; the place where training
                goes on has been saved.
        """
        try:
            self.runner.call_hook("before_train")
            while not self._is_over():
                self.run_epoch()
        except RunPausedError as paused:
            saved = self._save_place()
            if isinstance(paused, RunStoppedError):
                paused.saved = saved
            raise
        finally:
            end_workers(self.dataloader)
            end_workers(self.source)
        self.runner.call_hook("after_train")
        return self.runner.model

    def _is_over(self) -> bool:
        """Evaluate between two epochs; it may set `stop_training`."""
        if self.step == 0:
            self.evaluate(self._epoch)
        return self.stop_training or self._epoch >= self._max_epochs

    def run_epoch(self) -> None:
        runner, steps = self.runner, len(self.dataloader)
        runner.call_hook("before_train_epoch")
        if self.step:  # hooks that count the steps of an epoch have begun at 0
            runner.optim_wrapper.initialize_count_status(nn.Identity(), self.step, steps)
        runner.model.train()
        for index, data in enumerate(self._batches(self.step), start=self.step):
            self._seed_step(index)
            self.run_iter(index, data)
            self.step = index + 1
            if self.step < steps:
                self._stop_if_asked()
        runner.call_hook("after_train_epoch")
        self._epoch, self.step = self._epoch + 1, 0
        self._stop_if_asked()

    def _seed_step(self, step: int) -> None:
        """Random numbers of a step, such as dropout's, depend on its place and the process alone.

        So a resumed run, which begins with a new generator, draws those of the unbroken one.
        """
        place = [self.runner.seed, self._epoch, step, self.runner.world.rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1))

    def _batches(self, step: int) -> Iterator[dict]:
        mixed = self.source is not None and self._epoch < self.source_until
        source = endless_batches(self.source, self._epoch, step) if mixed else None
        for batch in batches(self.dataloader, self._epoch, step):
            yield {"batch": batch} if source is None else {"batch": batch, "source": next(source)}

    def _stop_if_asked(self) -> None:
        """Leave if a process got a signal, unless accumulated gradients would be lost."""
        signal = self.runner.world.highest(self.stop.number)
        if signal and self.runner.optim_wrapper.should_update():
            raise RunStoppedError(signal)

    def _save_place(self) -> str:
        place = Place(self._epoch, self.step)
        if place == Place(0):
            return "nothing was trained yet"
        if self.runner.world.on_rank_zero(lambda: place not in self.files.places()):
            self.runner.save(self.files, place)
        return f"saved as {place.file_name}"
