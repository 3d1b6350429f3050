"""Predictions scan by scan: for selection and for evaluation.

One scan per forward pass, in eval mode, on the raw scan: the bits of a matrix product depend on
its number of rows, so any batching would make the picks depend on how scans were grouped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from annotator3d.active.evidence import FEATURES, PROTOTYPES, VIEWS
from annotator3d.data.batch import InputRule, collate, make_sample
from annotator3d.data.scan import IGNORE, Scan
from annotator3d.engine.distributed import ALONE, World
from annotator3d.engine.metrics import confusion_matrix
from annotator3d.engine.training.finite import refuse_infinite_logits

VIEWS_OF_A_SCAN = ((0.0, False), (45.0, True), (90.0, False), (225.0, True))
"""Degrees about the vertical, and whether mirrored: as the training augmentation does."""


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


def strategy_inputs(
    model,
    scan: Scan,
    rule: InputRule,
    needs: Sequence[str] = (),
    prototypes: Tensor | None = None,
) -> dict[str, Tensor]:
    """What a strategy with these `needs` gets from the network: `voxel_logits`; with FEATURES also
    `features` [V, D] float32 of the same rows; with VIEWS also `views` [A, N, C], the logits of the
    points in each of `VIEWS_OF_A_SCAN`; with PROTOTYPES also `prototypes` as given.

    Raises ValueError for logits that are not finite, and for a backbone without features.
    """
    featured = FEATURES in needs and len(scan.xyz) > 0
    found = _with_features(model, scan, rule) if featured else voxel_logits(model, scan, rule)
    if VIEWS in needs:
        turned = [_turned(scan, *view) for view in VIEWS_OF_A_SCAN]
        logits = [point_logits(model, view, rule) for view in turned]
        found["views"] = torch.stack(logits).to(found["prediction"].device)
    if FEATURES in needs:
        found.setdefault("features", torch.zeros(0, 1))  # of a scan without points
    if PROTOTYPES in needs:
        found["prototypes"] = prototypes
    return found


def _with_features(model, scan: Scan, rule: InputRule) -> dict[str, Tensor]:
    batch = model.data_preprocessor(collate([make_sample(scan, rule)]), False)
    logits, features = (each.float() for each in model.voxel_logits_and_features(batch))
    refuse_infinite_logits(logits, scan.id)
    return {"prediction": logits, "rows": batch["point_to_voxel"], "features": features}


def _turned(scan: Scan, degrees: float, mirrored: bool) -> Scan:
    """The scan turned about the vertical through the sensor, and then mirrored in y."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    xyz = scan.xyz.copy()
    xyz[:, :2] = scan.xyz[:, :2] @ turn * (1, -1 if mirrored else 1)
    return replace(scan, xyz=xyz)


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
