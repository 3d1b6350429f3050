"""The runner of a run, made of its loop, its loaders and its hooks."""

from __future__ import annotations

import multiprocessing
import secrets
from pathlib import Path

from torch.utils.data import DataLoader

from annotator3d._mmengine import Hook
from annotator3d.data.batch import TrainingScans
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.mixing.plan import MixPlan
from annotator3d.engine.build import build_mix
from annotator3d.engine.config.schema import ScheduleConfig, TeacherConfig
from annotator3d.engine.context import RunContext
from annotator3d.engine.distributed import World
from annotator3d.engine.evaluation import EvaluationSchedule
from annotator3d.engine.rounds.hook import RoundHook
from annotator3d.engine.rounds.online import OnlineHook
from annotator3d.engine.teaching.hook import TeachingHook
from annotator3d.engine.teaching.renew import open_teaching
from annotator3d.engine.training.averaging import AveragingHook
from annotator3d.engine.training.checkpoints import CheckpointHook
from annotator3d.engine.training.class_weights import ClassWeightsHook
from annotator3d.engine.training.finite import FiniteLossHook
from annotator3d.engine.training.identity import IdentityHook
from annotator3d.engine.training.loading import training_loader
from annotator3d.engine.training.logs import EVERY, SpentHook, backends
from annotator3d.engine.training.optim import AccumulationHook, learning_rate, optimiser
from annotator3d.engine.training.prototypes import PrototypesHook
from annotator3d.engine.training.runner import A3dRunner, EpochHook, StatisticsHook, TrainLoop
from annotator3d.engine.training.teacher_hook import TeacherHook


def make_runner(context: RunContext) -> A3dRunner:
    """The runner of a run, its loop and its hooks included."""
    config, schedule, datasets = context.config, context.config.schedule, context.datasets
    scans = datasets.source if config.setting == "source_only" else datasets.pool
    training = _training_scans(context, scans, config.is_active)
    training.balance = config.training.balance.scans
    source = source_scans(context)
    if config.training.mix is not None:
        _mix(context, training, source)
    loader = training_loader(
        training, schedule.batch_size, config.seed, schedule.workers, context.device
    )
    rates, hooks = learning_rate(schedule, len(loader)), _hooks(context, training)
    logs = context.work_dir.logs
    runner = runner_of(context, loader, schedule.epochs, schedule, rates, hooks, logs)
    runner.set_train_loop(
        TrainLoop(
            runner,
            loader,
            schedule.epochs,
            source=source_loader(context, source),
            source_until=schedule.source_until,
            evaluate=EvaluationSchedule(context, runner),
            files=context.checkpoints,
            stop=context.stop,
        )
    )
    if context.resumed_at is not None:
        runner.resume_from(context.checkpoints.path(context.resumed_at))
    return runner


def runner_of(
    context: RunContext,
    loader: DataLoader,
    epochs: int,
    schedule: ScheduleConfig,
    rates: list[dict],
    hooks: list[Hook],
    logs: Path,
) -> A3dRunner:
    """A runner of the network of `context`, without a loop yet.

    Args:
        schedule: its optimiser. rates: configs of the schedulers of its learning rate.
        logs: folder of what is written while it trains.
    """
    config = context.config
    # mmengine keeps loggers by name: two runs of one process must not share one.
    name = f"{config.name or config.setting}_{secrets.token_hex(4)}"
    return A3dRunner(
        model=context.model,
        work_dir=str(logs),
        train_dataloader=loader,
        train_cfg={"by_epoch": True, "max_epochs": epochs},
        optim_wrapper=optimiser(schedule, context.device),
        param_scheduler=rates,
        default_hooks={"checkpoint": None, "logger": {"type": "LoggerHook", "interval": EVERY}},
        custom_hooks=hooks,
        randomness={"seed": config.seed},
        env_cfg={"mp_cfg": {"mp_start_method": multiprocessing.get_start_method()}},
        visualizer={
            "type": "Visualizer",
            "name": name,
            "vis_backends": backends(config.logs),
            "save_dir": str(logs),
        },
        experiment_name=name,
        device=context.device,
        world=context.world,
    )


def _training_scans(context: RunContext, dataset: ScanDataset, active: bool) -> TrainingScans:
    """Scans with the oracle's answers if `active`, else with all their labels."""
    config = context.config
    return TrainingScans(
        dataset,
        context.rule,
        config.seed,
        config.schedule.augmentation,
        config.active.voxel_size,
        answers={} if active else None,
        **_for_teacher(config.training.teacher) if active else {},
    )


def _for_teacher(teacher: TeacherConfig) -> dict[str, bool]:
    """What samples carry besides, as keywords of `TrainingScans`."""
    if not teacher.is_on:
        return {}
    return {"for_teacher": True, "with_raw": teacher.view == "raw"}


def source_scans(context: RunContext) -> TrainingScans | None:
    """Those that ADA trains on beside the target."""
    if context.config.setting != "ada":
        return None
    return _training_scans(context, context.datasets.source, active=False)


def _mix(context: RunContext, training: TrainingScans, source: TrainingScans | None) -> None:
    """Let each scan be mixed with one of the other domain (ADA), or with another of the pool."""
    config = context.config
    recipe = build_mix(config, context.datasets.taxonomy)
    if source is None:
        training.mixing = MixPlan(recipe, training, config.seed)
        return
    until = config.schedule.source_until
    training.mixing = MixPlan(recipe, source, config.seed, source=False, until=until)
    source.mixing = MixPlan(recipe, training, config.seed, source=True, until=until)


def source_loader(context: RunContext, source: TrainingScans | None) -> DataLoader | None:
    """Batches of the source beside those of the target (ADA)."""
    config, schedule = context.config, context.config.schedule
    if source is None or not (source.mixing is None or source.mixing.recipe.keeps_source):
        return None
    return training_loader(
        source,
        schedule.source_batch_size or schedule.batch_size,
        config.seed + 1,  # not the order of the target
        schedule.workers,
        context.device,
    )


def hooks_of_any_training(schedule: ScheduleConfig, world: World) -> list[Hook]:
    """What no training does without."""
    hooks: list[Hook] = [FiniteLossHook()]
    if world.size > 1:
        hooks.append(StatisticsHook())
    if schedule.accumulate > 1:
        hooks.append(AccumulationHook())
    return hooks


def _hooks(context: RunContext, training: TrainingScans) -> list[Hook]:
    config, schedule = context.config, context.config.schedule
    hooks: list[Hook] = [
        *hooks_of_any_training(schedule, context.world),
        EpochHook(context.reporter),
        CheckpointHook(context.checkpoints, schedule.checkpoint_every),
        IdentityHook(config, context.datasets.taxonomy.names),
        PrototypesHook(context),
        SpentHook(context.ledger, config.active.rounds_at, context.world.size),
    ]
    if schedule.ema is not None:
        hooks.append(AveragingHook(schedule.ema))
    if config.training.teacher.is_on:
        classes, world = context.datasets.taxonomy.names, context.world
        hooks.append(TeacherHook(config.training.teacher, classes, context.reporter, world))
    if config.training.balance.classes:
        hooks.append(ClassWeightsHook(training, config.training.balance.classes))
    if config.is_active:
        rounds = OnlineHook if config.active.when == "online" else RoundHook
        hooks.append(rounds(context, training))
        teaching = open_teaching(config, context.pool, context.work_dir)
        if teaching is not None:
            hooks.append(TeachingHook(context, training, teaching))
    return hooks
