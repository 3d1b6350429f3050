"""Evaluate a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from annotator3d.engine.build import input_rule, load_model, read_weights
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.datasets import open_dataset
from annotator3d.engine.metrics import describe
from annotator3d.engine.prediction import evaluate
from annotator3d.engine.record import RunRecord
from annotator3d.engine.workdir import WorkDir
from annotator3d.models.segmentor import Segmentor
from annotator3d.reporter import Reporter


def evaluate_checkpoint(
    config: RunConfig, checkpoint: str, data_root: str | None, reporter: Reporter
) -> dict:
    """mIoU and IoU of each class on ``data.val``: see `metrics.describe`."""
    weights = read_weights(checkpoint)  # before any scan is made
    dataset = open_dataset(config, "val", data_root, reporter)
    names = dataset.taxonomy.names
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
    model = load_model(config, dataset.taxonomy.num_classes, read_weights(checkpoint), checkpoint)
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
