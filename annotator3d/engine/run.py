"""Train one run from its config: source-only, target-only, AL, ASFDA or ADA."""

from __future__ import annotations

import multiprocessing
import os
import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from annotator3d.active.ledger import Ledger
from annotator3d.active.oracles import get_oracle
from annotator3d.data.batch import InputRule, TrainingScans
from annotator3d.engine.build import (
    build_loader,
    build_model,
    input_rule,
    learning_rate,
    load_weights,
    optimiser,
    pick_device,
    read_weights,
)
from annotator3d.engine.config import RunConfig
from annotator3d.engine.datasets import Datasets, open_datasets
from annotator3d.engine.record import RunRecord
from annotator3d.engine.rounds import AdaptHook, RoundHook, WaitingForOracle
from annotator3d.engine.runner import (
    A3dRunner,
    CheckpointHook,
    EpochHook,
    TrainLoop,
    checkpoints,
)
from annotator3d.engine.scoring import evaluate
from annotator3d.engine.screen import Screen
from annotator3d.errors import ConfigError
from annotator3d.mm import Hook
from annotator3d.models.segmentor import Segmentor


def train(
    config: RunConfig,
    work_dir: str | Path,
    *,
    resume: bool = False,
    data_root: str | None = None,
    screen: Screen | None = None,
) -> RunRecord:
    """Run `config` to its last epoch, or until a person has to answer (`WaitingForOracle`).

    Args:
        work_dir: gets the ledger, checkpoints, metrics, predictions of the rounds and the run card.
        resume: go on with what `work_dir` holds. The result is that of the unbroken run.
        data_root: root of the target's and the validation dataset.

    Raises:
        ValueError, FileNotFoundError: bad config or input; nothing is written then.
    """
    screen = screen or Screen()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "this version trains in one process; start it without torchrun, or with "
            "--nproc-per-node 1"
        )
    folder = Path(work_dir)
    found = checkpoints(folder / "checkpoints") if resume else []
    weights = None if found else _initial_weights(config)
    device, optim_wrapper = pick_device(config.device), optimiser(config.schedule)
    datasets = open_datasets(config, data_root, screen)
    taxonomy = datasets.taxonomy
    torch.manual_seed(config.seed)
    model = build_model(config, taxonomy.num_classes)
    if weights is not None:
        load_weights(model, weights, config.init)
    record = RunRecord(folder, config, taxonomy.names)
    record.check_start(resume)
    with ExitStack() as stack:
        stack.enter_context(record.locked())
        record.start(model, {k: d for k, d in vars(datasets).items() if d is not None}, device)
        ledger = None
        if config.is_active:
            path, size = folder / "ledger.sqlite", config.active.voxel_size
            ledger = Ledger.open(path, taxonomy.names, taxonomy.digest(), size)
            stack.enter_context(ledger)
        parts = _Parts(config, record, datasets, model, ledger, screen)
        runner = _runner(parts, optim_wrapper, device)
        if found:
            runner._load_from, runner._resume = str(found[-1]), True
            screen.say(f"going on from {found[-1].name}")
        try:
            runner.train()
        except WaitingForOracle:
            record.update(ledger, "waiting")
            raise
        record.update(ledger, "done")
    return record


def _initial_weights(config: RunConfig) -> dict | None:
    if config.init is None:
        if config.setting in ("asfda", "ada"):
            raise ConfigError(
                f"init: {config.setting} starts from a source checkpoint and none is given; train "
                "one with a source_only config and pass --init WORK_DIR/checkpoints/epoch_N.pth"
            )
        return None
    if config.setting == "al":
        raise ConfigError("init: al starts from nothing; from a source checkpoint, that is asfda")
    return read_weights(config.init)


@dataclass
class _Parts:
    """What the pieces of one run share."""

    config: RunConfig
    record: RunRecord
    datasets: Datasets
    model: Segmentor
    ledger: Ledger | None
    screen: Screen

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
        return build_loader(
            self.training_scans(self.datasets.source, active=False),
            schedule.source_batch_size or schedule.batch_size,
            self.config.seed + 1,  # not the order of the target
            schedule.workers,
        )

    def hooks(self, training: TrainingScans) -> list[Hook]:
        config, schedule, record = self.config, self.config.schedule, self.record
        hooks = [
            EpochHook(training, self.screen),
            CheckpointHook(
                record.checkpoints, schedule.checkpoint_every, schedule.keep_checkpoints
            ),
        ]
        if config.setting in ("asfda", "ada") and config.model.adapt_bn:
            hooks.append(AdaptHook(self.datasets.pool, self.rule, self.screen))
        if self.ledger is not None:
            oracle = get_oracle(config.active.oracle)
            hooks.append(
                RoundHook(
                    config,
                    self.ledger,
                    self.datasets.pool,
                    training,
                    oracle,
                    self.rule,
                    record.rounds,
                    self.screen,
                )
            )
        return hooks


def _runner(parts: _Parts, optim_wrapper: dict, device: torch.device) -> A3dRunner:
    config, schedule, datasets = parts.config, parts.config.schedule, parts.datasets
    scans = datasets.source if config.setting == "source_only" else datasets.pool
    training = parts.training_scans(scans, config.is_active)
    loader = build_loader(training, schedule.batch_size, config.seed, schedule.workers)
    # mmengine keeps loggers by name: two runs of one process must not share one.
    name = f"{config.name or config.setting}_{secrets.token_hex(4)}"
    runner = A3dRunner(
        model=parts.model,
        work_dir=str(parts.record.folder / "logs"),
        train_dataloader=loader,
        train_cfg={"by_epoch": True, "max_epochs": schedule.epochs},
        optim_wrapper=optim_wrapper,
        param_scheduler=learning_rate(schedule, len(loader)),
        default_hooks={"checkpoint": None, "logger": {"type": "LoggerHook", "interval": 10}},
        custom_hooks=parts.hooks(training),
        randomness={"seed": config.seed},
        env_cfg={"mp_cfg": {"mp_start_method": multiprocessing.get_start_method()}},
        visualizer={"type": "Visualizer", "name": name},
        experiment_name=name,
        device=device,
    )
    runner._train_loop = TrainLoop(
        runner,
        loader,
        schedule.epochs,
        parts.source_loader(),
        schedule.source_until,
        _Boundary(parts, runner),
    )
    return runner


class _Boundary:
    """Evaluates where the config asks for it: before each later round and at the end."""

    def __init__(self, parts: _Parts, runner: A3dRunner) -> None:
        self.parts, self.runner = parts, runner
        config = parts.config
        at = config.schedule.evaluate_at
        if at is None:
            at = config.active.rounds_at if config.is_active else []
        self.epochs = {*(epoch for epoch in at if epoch > 0), config.schedule.epochs}

    def __call__(self, finished: int) -> None:
        if finished not in self.epochs:
            return
        parts = self.parts
        confusion = evaluate(
            self.runner.model,
            parts.datasets.val,
            parts.rule,
            lambda done, total: parts.screen.progress("evaluating", done, total),
        )
        rounds = 0
        if parts.ledger is not None:
            rounds = sum(at < finished for at in parts.config.active.rounds_at)
        line = parts.record.add_metrics(finished, rounds, confusion, parts.ledger)
        parts.screen.say(
            f"epoch {finished}: mIoU {line['miou']:.1f} % with {line['voxels']} voxels "
            f"({line['points']} points)"
        )
