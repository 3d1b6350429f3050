"""Evaluate a checkpoint."""

from __future__ import annotations

import math

from annotator3d.engine.build import (
    build_dataset,
    build_model,
    input_rule,
    load_weights,
    pick_device,
    read_weights,
)
from annotator3d.engine.config import RunConfig
from annotator3d.engine.metrics import iou_from_confusion
from annotator3d.engine.scoring import evaluate
from annotator3d.engine.screen import Screen


def evaluate_checkpoint(
    config: RunConfig, checkpoint: str, data_root: str | None, screen: Screen
) -> dict:
    """mIoU and IoU per class (percent, None = absent from the ground truth) on ``data.val``.

    Returns a dict with ``miou``, ``iou_per_class``, ``points_per_class``, ``absent``,
    ``confusion`` ([C][C + 1]; the last column counts points without a prediction).
    """
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


def describe(confusion, names: list[str]) -> dict:
    """A confusion matrix in words: see `evaluate_checkpoint`."""
    iou, mean = iou_from_confusion(confusion)
    per_class = {
        name: None if math.isnan(value) else 100 * float(value)
        for name, value in zip(names, iou, strict=True)
    }
    return {
        "miou": 100 * mean,
        "iou_per_class": per_class,
        "points_per_class": dict(zip(names, confusion.sum(1).tolist(), strict=True)),
        "absent": [name for name, value in per_class.items() if value is None],
        "confusion": confusion.tolist(),
    }
