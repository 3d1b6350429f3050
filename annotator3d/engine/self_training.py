"""The adaptation before round 1 of ASFDA and ADA: the network trains on what its teacher labels.

It takes no label of the target, and its epochs are beside those of the schedule. The phase has
checkpoints of its own in ``adaptation/`` of the work directory, so that a run that ends within it
continues from there; what it gives is kept in ``adaptation/adapted.pth``.
"""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import torch

from annotator3d._mmengine import Hook
from annotator3d.data.batch import TrainingScans
from annotator3d.data.files import written_whole
from annotator3d.engine.assembly import (
    hooks_of_any_training,
    runner_of,
    source_loader,
    source_scans,
)
from annotator3d.engine.config.schema import ScheduleConfig, TeacherConfig
from annotator3d.engine.context import RunContext
from annotator3d.engine.training.checkpoint_file import STATE, load_weights, read_checkpoint
from annotator3d.engine.training.checkpoints import CheckpointHook, Checkpoints
from annotator3d.engine.training.identity import NETWORK, identity_of
from annotator3d.engine.training.label_free import LabelFreeScore, Look, look_at, score
from annotator3d.engine.training.loading import training_loader
from annotator3d.engine.training.patch_mixing import PatchMixHook, ScansToMix
from annotator3d.engine.training.runner import A3dRunner, EpochHook, TrainLoop
from annotator3d.engine.training.teacher_hook import TeacherHook
from annotator3d.errors import count

KEY = "adaptation"  # in a checkpoint and in run.json
BEST = "best_state_dict"


def adapt_network(context: RunContext) -> None:
    """Give the network of `context` the weights that the phase ends with.

    Raises RunStoppedError on a signal; the place where the phase goes on has been saved.
    """
    path = _result(context)
    if not is_finished(context):
        _train(context, path)
    content = context.world.on_all_ranks(lambda: read_checkpoint(path))
    load_weights(context.model, content[STATE], path)
    context.world.on_rank_zero(lambda: context.record.note(KEY, content[KEY]))
    context.reporter.info(_in_words(content[KEY]))


def is_finished(context: RunContext) -> bool:
    """Whether an earlier start has been through the phase."""
    return context.world.on_rank_zero(_result(context).is_file)


def _result(context: RunContext) -> Path:
    return context.work_dir.adaptation / "adapted.pth"


def _train(context: RunContext, path: Path) -> None:
    files = Checkpoints(path.parent, keep=1)
    runner, judge = _make_runner(context, files)
    say = context.reporter.info
    place = context.world.on_rank_zero(lambda: files.newest(context.world.size, say))
    if place is None:
        settings, steps = context.config.training.adapt, len(runner.train_dataloader)
        say(
            f"adaptation: at most {count(settings.epochs, 'epoch')} of {count(steps, 'step')} "
            "before the first question, without any label of the target"
        )
    else:
        say(f"adaptation: continuing from {place.file_name}")
        runner.resume_from(files.path(place))
    runner.train()
    identity = identity_of(context.config, context.datasets.taxonomy.names)
    content = {STATE: judge.best, KEY: judge.summary(), NETWORK: identity}
    context.world.on_rank_zero(lambda: _write(path, content))
    runner.network.more_losses = None


def _write(path: Path, content: dict) -> None:
    """The result first, then the checkpoints that are no longer needed."""
    with written_whole(path) as part:
        torch.save(content, part)
    for old in path.parent.glob("epoch_*.pth"):
        old.unlink()


def _make_runner(context: RunContext, files: Checkpoints) -> tuple[A3dRunner, Judge]:
    config, world, device = context.config, context.world, context.device
    settings, reporter = config.training.adapt, context.reporter
    teacher = _teacher(config.training.teacher)
    schedule = _schedule(config.schedule, settings.lr_factor)
    classes = context.datasets.taxonomy.names
    teaching = TeacherHook(teacher, classes, reporter, world, by_loss=not settings.mix)
    judge = Judge(context, teaching)
    scans, source = _scans(context, teacher)
    loader = training_loader(scans, schedule.batch_size, config.seed, schedule.workers, device)
    hooks = [
        *hooks_of_any_training(schedule, world),
        EpochHook(reporter, "adapting"),
        CheckpointHook(files, every=1),
        teaching,
        judge,
    ]
    if settings.mix:
        hooks.append(PatchMixHook(scans, source, teaching))
    constant = {"type": "ConstantLR", "factor": 1.0, "begin": 0, "end": 1, "by_epoch": False}
    runner = runner_of(
        context, loader, settings.epochs, schedule, [constant], hooks, files.folder / "logs"
    )
    loop = TrainLoop(
        runner,
        loader,
        settings.epochs,
        source=source_loader(context, source),
        source_until=settings.epochs,
        evaluate=judge,
        files=files,
        stop=context.stop,
    )
    judge.loop = loop
    runner.set_train_loop(loop)
    return runner, judge


def _scans(
    context: RunContext, teacher: TeacherConfig
) -> tuple[TrainingScans, TrainingScans | None]:
    """Those of the target, without labels, and in ADA those of the source."""
    config, datasets = context.config, context.datasets
    common = (context.rule, config.seed, config.schedule.augmentation, config.active.voxel_size)
    if config.training.adapt.mix:
        return ScansToMix(datasets.pool, *common, answers={}), ScansToMix(datasets.source, *common)
    views = {"for_teacher": True, "with_raw": teacher.view == "raw"}
    return TrainingScans(datasets.pool, *common, answers={}, **views), source_scans(context)


def _teacher(given: TeacherConfig) -> TeacherConfig:
    """That of the phase: as the config has it, but it teaches pseudo-labels from the start."""
    return dataclasses.replace(given, pseudo_labels=given.pseudo_labels or 1.0, from_epoch=0)


def _schedule(given: ScheduleConfig, factor: float) -> ScheduleConfig:
    """With that part of the learning rate."""
    kind = getattr(torch.optim, given.optimizer["type"])
    rate = given.optimizer.get("lr", inspect.signature(kind).parameters["lr"].default)
    return dataclasses.replace(given, optimizer={**given.optimizer, "lr": rate * factor})


class Judge(Hook):
    """Looks at the teacher before the phase and after each of its epochs, and keeps the best one.

    Without a label, by `label_free.score`; one that predicts too much otherwise than the network
    did before is none. With ``stop: none`` the last one is kept.
    """

    priority = "LOW"

    def __init__(self, context: RunContext, teaching: TeacherHook) -> None:
        self.context, self.teaching = context, teaching
        self.settings = context.config.training.adapt
        self.scores: list[LabelFreeScore] = []
        self.best: dict[str, torch.Tensor] = {}
        self.kept, self.steps = 0, 0
        self.loop: TrainLoop | None = None
        self.start = self._look(context.model.to(context.device))

    def __call__(self, finished: int) -> None:
        """After so many epochs; ends the phase where it no longer gets better."""
        network = self.teaching.teacher.network
        found = score(finished, self.start, self._look(network))
        self.scores = [*self.scores[:finished], found]
        self.steps = self.loop.iter
        if self.settings.stop == "none" or self._is_best(found):
            self.kept = finished
            self.best = {name: value.cpu().clone() for name, value in network.state_dict().items()}
        self.context.reporter.info(
            f"adaptation, epoch {finished}: entropy {found.entropy:.3f} + drift of the classes "
            f"{found.drift:.3f} = {found.cost:.3f}; {100 * found.changed:.1f} % predicted "
            f"otherwise than before, {count(found.classes, 'class', 'classes')}"
        )
        waited = finished - self.kept
        self.loop.stop_training = self.settings.stop != "none" and waited >= self.settings.patience

    def _is_best(self, found: LabelFreeScore) -> bool:
        agrees = 1 - found.changed >= self.settings.agreement
        return agrees and (found.epoch == 0 or found.cost < self.scores[self.kept].cost)

    def _look(self, network) -> Look:
        context, reporter = self.context, self.context.stoppable_reporter
        return look_at(
            network,
            context.pool,
            context.rule,
            context.world,
            lambda done, total: reporter.progress("looking at the adaptation", done, total),
        )

    def summary(self) -> dict:
        """For run.json: plain values."""
        return {
            "epochs": self.scores[-1].epoch,
            "steps": self.steps,
            "kept_epoch": self.kept,
            "stop": self.settings.stop,
            "scores": [dataclasses.asdict(each) for each in self.scores],
        }

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint[KEY], checkpoint[BEST] = self.summary(), self.best

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        told, self.best = checkpoint[KEY], checkpoint.pop(BEST)
        self.kept, self.steps = told["kept_epoch"], told["steps"]
        self.scores = [LabelFreeScore(**each) for each in told["scores"]]


def _in_words(told: dict) -> str:
    epochs, kept = told["epochs"], told["kept_epoch"]
    which = "the network as it was before" if kept == 0 else f"that of epoch {kept}"
    return (
        f"adaptation: {count(told['steps'], 'step')} in {count(epochs, 'epoch')} without a label "
        f"of the target; kept is {which}"
    )
