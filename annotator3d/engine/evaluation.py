"""Evaluate a checkpoint."""

from __future__ import annotations

from pathlib import Path

from annotator3d.engine.build import (
    build_dataset,
    build_model,
    input_rule,
    load_weights,
    pick_device,
    read_weights,
)
from annotator3d.engine.config import RunConfig
from annotator3d.engine.metrics import describe
from annotator3d.engine.record import RunRecord
from annotator3d.engine.scoring import evaluate
from annotator3d.engine.screen import Screen


def evaluate_checkpoint(
    config: RunConfig, checkpoint: str, data_root: str | None, screen: Screen
) -> dict:
    """mIoU and IoU of each class on ``data.val``: see `metrics.describe`."""
    weights = read_weights(checkpoint)
    dataset = build_dataset(config.data.val, "data.val", data_root, screen.progress)
    names = dataset.taxonomy.names
    model = build_model(config, len(names))
    load_weights(model, weights, checkpoint)
    model.to(pick_device(config.device))
    confusion = evaluate(
        model,
        dataset,
        input_rule(config, len(names)),
        lambda done, total: screen.progress("evaluating", done, total),
    )
    return describe(confusion, names)


def evaluate_into(folder: Path, config: RunConfig, checkpoint: Path, screen: Screen) -> None:
    """Leave the evaluation of a checkpoint in `folder` as that of a run, unless it is there.

    For a network that is tested on more than one split, such as source-only on each fold.
    """
    dataset = build_dataset(config.data.val, "data.val", progress=screen.progress)
    record = RunRecord(folder, config, dataset.taxonomy.names)
    if record.is_done():
        return
    model = build_model(config, dataset.taxonomy.num_classes)
    load_weights(model, read_weights(checkpoint), checkpoint)
    device = pick_device(config.device)
    model.to(device)
    with record.locked():
        record.start(model, {"val": dataset}, device)
        confusion = evaluate(
            model,
            dataset,
            input_rule(config, dataset.taxonomy.num_classes),
            lambda done, total: screen.progress("evaluating", done, total),
        )
        record.add_metrics(config.schedule.epochs, 0, confusion, None)
        record.update(None, "done")
