"""What the pieces of one run share, and the runner that is made of them."""

from __future__ import annotations

import multiprocessing
import secrets
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader

from annotator3d._mmengine import Hook
from annotator3d.active.oracle import Oracle
from annotator3d.data.batch import InputRule, TrainingScans
from annotator3d.engine.build import input_rule
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.datasets import Datasets
from annotator3d.engine.distributed import World
from annotator3d.engine.prediction import evaluate
from annotator3d.engine.record import RunRecord
from annotator3d.engine.rounds.hook import RoundHook
from annotator3d.engine.rounds.online import OnlineHook
from annotator3d.engine.training.checkpoints import CheckpointHook, Checkpoints
from annotator3d.engine.training.loading import training_loader
from annotator3d.engine.training.logs import EVERY, SpentHook, backends
from annotator3d.engine.training.optim import (
    AccumulationHook,
    AveragingHook,
    learning_rate,
    optimiser,
    scoring_weights,
)
from annotator3d.engine.training.runner import A3dRunner, EpochHook, StatisticsHook, TrainLoop
from annotator3d.engine.training.signals import StopSignal
from annotator3d.ledger.ledger import Ledger
from annotator3d.models.segmentor import Segmentor
from annotator3d.reporter import Reporter


@dataclass
class RunContext:
    """Attributes:
    ledger: open for writing, on rank 0 of an active run; else None.
    oracle: who answers; None if nothing is asked.
    reporter: what the user sees.
    stoppable: the same; its `progress` raises RunStoppedError once a signal has come.
    """

    config: RunConfig
    record: RunRecord
    datasets: Datasets
    model: Segmentor
    ledger: Ledger | None
    oracle: Oracle | None
    files: Checkpoints
    device: torch.device
    world: World
    reporter: Reporter
    stoppable: Reporter
    stop: StopSignal

    @property
    def rule(self) -> InputRule:
        return input_rule(self.config, self.datasets.taxonomy.num_classes)

    def training_scans(self, dataset, active: bool) -> TrainingScans:
        """Scans with the oracle's answers if `active`, else with all their labels."""
        config = self.config
        return TrainingScans(
            dataset,
            self.rule,
            config.seed,
            config.schedule.augmentation,
            config.active.voxel_size,
            answers={} if active else None,
        )

    def source_loader(self) -> DataLoader | None:
        """Batches of the source beside those of the target (ADA)."""
        schedule = self.config.schedule
        if self.config.setting != "ada":
            return None
        return training_loader(
            self.training_scans(self.datasets.source, active=False),
            schedule.source_batch_size or schedule.batch_size,
            self.config.seed + 1,  # not the order of the target
            schedule.workers,
            self.device,
        )

    def hooks(self, training: TrainingScans) -> list[Hook]:
        schedule = self.config.schedule
        hooks: list[Hook] = [
            EpochHook(self.reporter),
            CheckpointHook(self.files, schedule.checkpoint_every),
        ]
        hooks.append(SpentHook(self.ledger, self.config.active.rounds_at, self.world.size))
        if self.world.size > 1:
            hooks.append(StatisticsHook())
        if schedule.accumulate > 1:
            hooks.append(AccumulationHook())
        if schedule.ema is not None:
            hooks.append(AveragingHook(schedule.ema))
        if self.config.is_active:
            rounds = OnlineHook if self.config.active.when == "online" else RoundHook
            hooks.append(
                rounds(
                    self.config,
                    self.ledger,
                    self.datasets.pool,
                    training,
                    self.oracle,
                    self.rule,
                    self.record.work_dir.rounds,
                    self.stoppable,
                    self.world,
                )
            )
        return hooks


def make_runner(context: RunContext) -> A3dRunner:
    """The runner of a run, its loop and its hooks included."""
    config, schedule, datasets = context.config, context.config.schedule, context.datasets
    scans = datasets.source if config.setting == "source_only" else datasets.pool
    training = context.training_scans(scans, config.is_active)
    loader = training_loader(
        training, schedule.batch_size, config.seed, schedule.workers, context.device
    )
    # mmengine keeps loggers by name: two runs of one process must not share one.
    name = f"{config.name or config.setting}_{secrets.token_hex(4)}"
    runner = A3dRunner(
        model=context.model,
        work_dir=str(context.record.work_dir.logs),
        train_dataloader=loader,
        train_cfg={"by_epoch": True, "max_epochs": schedule.epochs},
        optim_wrapper=optimiser(schedule, context.device),
        param_scheduler=learning_rate(schedule, len(loader)),
        default_hooks={"checkpoint": None, "logger": {"type": "LoggerHook", "interval": EVERY}},
        custom_hooks=context.hooks(training),
        randomness={"seed": config.seed},
        env_cfg={"mp_cfg": {"mp_start_method": multiprocessing.get_start_method()}},
        visualizer={
            "type": "Visualizer",
            "name": name,
            "vis_backends": backends(config.logs),
            "save_dir": str(context.record.work_dir.logs),
        },
        experiment_name=name,
        device=context.device,
        world=context.world,
    )
    runner._train_loop = TrainLoop(
        runner,
        loader,
        schedule.epochs,
        context.source_loader(),
        schedule.source_until,
        EvaluationSchedule(context, runner),
        context.files,
        context.stop,
    )
    return runner


class EvaluationSchedule:
    """Evaluates where the config asks for it: before each later round and at the end."""

    def __init__(self, context: RunContext, runner: A3dRunner) -> None:
        self.context, self.runner = context, runner
        config = context.config
        at = config.schedule.evaluate_at
        if at is None:
            at = config.active.rounds_at if config.is_active else []
        self.epochs = {*(epoch for epoch in at if epoch > 0), config.schedule.epochs}

    def __call__(self, finished: int) -> None:
        """Evaluate if `finished` epochs are one of the times."""
        context = self.context
        if finished not in self.epochs or context.datasets.val is None:
            return
        with scoring_weights(self.runner):
            confusion = evaluate(
                self.runner.network,
                context.datasets.val,
                context.rule,
                lambda done, total: context.stoppable.progress("evaluating", done, total),
                context.world,
            )
        rounds = 0
        if context.config.is_active:
            rounds = sum(at < finished for at in context.config.active.rounds_at)
        line = context.world.on_rank_zero(
            lambda: context.record.add_metrics(finished, rounds, confusion, context.ledger)
        )
        kept = {f"val/{name}": line[name] for name in ("miou", "voxels", "points")}
        self.runner.visualizer.add_scalars(kept, step=self.runner.iter)
        context.reporter.info(
            f"epoch {finished}: mIoU {line['miou']:.1f} % with {line['voxels']} voxels "
            f"({line['points']} points)"
        )
