"""Evaluate a checkpoint, or a run at the epochs of its schedule."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from annotator3d.engine.build import input_rule, load_model
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.context import RunContext
from annotator3d.engine.datasets import open_dataset
from annotator3d.engine.metrics import describe
from annotator3d.engine.prediction import evaluate
from annotator3d.engine.record import RunRecord
from annotator3d.engine.training.averaging import scoring_weights
from annotator3d.engine.training.checkpoint_file import read_checkpoint
from annotator3d.engine.training.identity import read_weights_for, weights_for
from annotator3d.engine.training.runner import A3dRunner
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import count
from annotator3d.models.segmentor import Segmentor
from annotator3d.reporter import Reporter


def evaluate_checkpoint(
    config: RunConfig, checkpoint: str, data_root: str | None, reporter: Reporter
) -> dict:
    """mIoU and IoU of each class on ``data.val``: see `metrics.describe`."""
    content = read_checkpoint(checkpoint)  # before any scan is made
    dataset = open_dataset(config, "val", data_root, reporter)
    names = dataset.taxonomy.names
    weights = weights_for(content, config, names, checkpoint)
    model = load_model(config, len(names), weights, checkpoint)
    return describe(_confusion(model, config, dataset, reporter), names)


def evaluate_into(
    work_dir: WorkDir, config: RunConfig, checkpoint: Path, reporter: Reporter
) -> None:
    """Leave the evaluation of a checkpoint in `work_dir` as that of a run, unless it is there.

    For a network that is tested on more than one split, such as source-only on each fold.
    """
    dataset = open_dataset(config, "val", None, reporter)
    record = RunRecord(work_dir, config, dataset.taxonomy.names)
    if record.is_done():
        return
    weights = read_weights_for(config, dataset.taxonomy.names, checkpoint)
    model = load_model(config, dataset.taxonomy.num_classes, weights, checkpoint)
    with work_dir.lock():
        record.start(model, {"val": dataset}, next(model.parameters()).device)
        confusion = _confusion(model, config, dataset, reporter)
        record.add_metrics(config.schedule.epochs, 0, confusion, None)
        record.update(None, "done")


def _confusion(model: Segmentor, config: RunConfig, dataset, reporter: Reporter) -> np.ndarray:
    rule = input_rule(config, dataset.taxonomy.num_classes)
    return evaluate(
        model, dataset, rule, lambda done, total: reporter.progress("evaluating", done, total)
    )


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
        """Evaluate if it is the time: `finished` epochs are one of `epochs`."""
        context = self.context
        if finished not in self.epochs or context.datasets.val is None:
            return
        confusion = self._confusion()
        rounds = 0
        if context.config.is_active:
            rounds = sum(at < finished for at in context.config.active.rounds_at)
        line = context.world.on_rank_zero(
            lambda: context.record.add_metrics(finished, rounds, confusion, context.ledger)
        )
        kept = {f"val/{name}": line[name] for name in ("miou", "voxels", "points")}
        self.runner.visualizer.add_scalars(kept, step=self.runner.iter)
        context.reporter.info(
            f"epoch {finished}: mIoU {line['miou']:.1f} %{_spent(context.config, line)}"
        )

    def _confusion(self) -> np.ndarray:
        context, reporter = self.context, self.context.stoppable_reporter
        with scoring_weights(self.runner):
            return evaluate(
                self.runner.network,
                context.datasets.val,
                context.rule,
                lambda done, total: reporter.progress("evaluating", done, total),
                context.world,
            )


def _spent(config: RunConfig, line: dict) -> str:
    """What the answers up to an evaluation cost and gave, in words; empty where nobody is asked."""
    if not config.is_active:
        return ""
    return (
        f" with {count(line['voxels'], 'voxel')} asked, {line['answered']:,} answered "
        f"({count(line['labelled_points'], 'labelled point')})"
    )
