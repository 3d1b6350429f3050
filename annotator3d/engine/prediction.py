"""Predictions scan by scan: for selection and for evaluation.

One scan per forward pass, in eval mode, on the raw scan: the bits of a matrix product depend on
its number of rows, so any batching would make the picks depend on how scans were grouped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from annotator3d.data.batch import InputRule, collate, make_sample
from annotator3d.data.scan import IGNORE, Scan
from annotator3d.engine.distributed import ALONE, World
from annotator3d.engine.metrics import confusion_matrix
from annotator3d.engine.training.finite import refuse_infinite_logits


def point_logits(model, scan: Scan, rule: InputRule) -> Tensor:
    """Logits [N, C] float32 on CPU of the points of `scan` (finite ones, file order)."""
    found = voxel_logits(model, scan, rule)
    rows, logits = found.get("rows"), found["prediction"]
    return (logits if rows is None else logits[rows]).cpu()


def voxel_logits(model, scan: Scan, rule: InputRule) -> dict[str, Tensor]:
    """Arguments of `QueryStrategy.select`, on the device of the model: `prediction` [V, C], float32
    logits of the voxels of the network, and `rows` [N] int64, the voxel of each point. Of a network
    that tells the points of a voxel apart: `prediction` [N, C] alone, the logits of the points.

    Raises ValueError for logits that are not finite.
    """
    if len(scan.xyz) == 0:
        return {"prediction": torch.zeros(0, rule.num_classes)}
    batch = model.data_preprocessor(collate([make_sample(scan, rule)]), False)
    logits = model.voxel_logits(batch).float()
    refuse_infinite_logits(logits, scan.id)
    if model.tells_points_apart:
        return {"prediction": model.at_points(logits, batch)}
    return {"prediction": logits, "rows": batch["point_to_voxel"]}


def predict_raw(model, scan: Scan, rule: InputRule) -> np.ndarray:
    """Classes [num_raw] uint8 of every raw point; 255 where a point is not finite."""
    predicted = np.full(scan.num_raw, IGNORE, np.uint8)
    predicted[scan.rows] = point_logits(model, scan, rule).argmax(1).numpy()
    return predicted


def evaluate(
    model,
    dataset,
    rule: InputRule,
    progress: Callable[[int, int], None] | None = None,
    world: World = ALONE,
) -> np.ndarray:
    """Confusion matrix [C, C + 1] int64 over every raw point of `dataset`, each once.

    Each process of `world` evaluates its share of the scans; nothing is padded.
    """
    share = world.share(range(len(dataset)))
    mine = world.on_all_ranks(lambda: _confusion(model, dataset, share, rule, progress))
    return world.total(mine)


def _confusion(
    model,
    dataset,
    share: Sequence[int],
    rule: InputRule,
    progress: Callable[[int, int], None] | None,
) -> np.ndarray:
    total = np.zeros((rule.num_classes, rule.num_classes + 1), np.int64)
    for done, index in enumerate(share, start=1):
        scan = dataset.read(index)
        if scan.raw_labels is None:
            raise ValueError(f"scan {scan.id} has no labels, so it cannot be evaluated on")
        predicted = predict_raw(model, scan, rule)
        total += confusion_matrix(scan.raw_labels, predicted, rule.num_classes)
        if progress:
            progress(done, len(share))
    return total
