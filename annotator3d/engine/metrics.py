"""Exact confusion matrices and intersection over union, counted over every raw point once."""

from __future__ import annotations

import numpy as np

from annotator3d.data.scan import IGNORE


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Count points by true and predicted class.

    Args:
        truth: [N] uint8, 0..C-1 or 255 (not counted).
        predicted: [N] uint8, 0..C-1 or 255 (no prediction: a miss of the true class).

    Returns:
        [C, C + 1] int64; the last column counts points without a prediction.

    Raises:
        ValueError: the lengths differ, or a class is out of range.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth has {len(truth)} points, predicted has {len(predicted)}")
    counted = truth != IGNORE
    row = truth[counted].astype(np.int64)
    column = predicted[counted].astype(np.int64)
    column[column == IGNORE] = num_classes
    for name, values, limit in (
        ("truth", row, num_classes),
        ("predicted", column, num_classes + 1),
    ):
        if len(values) and values.max() >= limit:
            raise ValueError(f"{name}: class {values.max()} is out of range 0..{num_classes - 1}")
    size = num_classes * (num_classes + 1)
    flat = np.bincount(row * (num_classes + 1) + column, minlength=size)
    return flat.reshape(num_classes, num_classes + 1)


def iou_from_confusion(confusion: np.ndarray, min_points: int = 1) -> tuple[np.ndarray, float]:
    """IoU of each class, and their mean.

    A class is left out (nan) only if the ground truth holds fewer than `min_points` of its points:
    the same set for every run on a split. Predictions of a left-out class still count as misses of
    the others.

    Args:
        confusion: [C, C + 1] int64 of `confusion_matrix`.

    Returns:
        ([C] float64 in 0..1 or nan, mean over the classes that are not nan; nan if there is none).
    """
    confusion = np.asarray(confusion, dtype=np.int64)
    truth = confusion.sum(1)
    classes = len(confusion)
    hits = np.diagonal(confusion[:, :classes])
    union = truth + confusion[:, :classes].sum(0) - hits
    counted = truth >= max(1, min_points)
    iou = np.where(counted, hits / np.maximum(union, 1), np.nan)
    return iou, float(iou[counted].mean()) if counted.any() else float("nan")


def describe(confusion: np.ndarray, names: list[str]) -> dict:
    """A confusion matrix [C, C + 1] in percent and words.

    Returns a dict with ``miou``, ``iou_per_class`` (None = absent from the ground truth),
    ``points_per_class``, ``absent``, ``confusion`` (the last column counts points without a
    prediction).

    Raises:
        ValueError: no point has a label.
    """
    if not confusion.any():
        raise ValueError("data.val has no labelled points, so there is nothing to evaluate on")
    iou, mean = iou_from_confusion(confusion)
    per_class = {
        name: None if np.isnan(value) else 100 * float(value)
        for name, value in zip(names, iou, strict=True)
    }
    return {
        "miou": 100 * mean,
        "iou_per_class": per_class,
        "points_per_class": dict(zip(names, confusion.sum(1).tolist(), strict=True)),
        "absent": [name for name, value in per_class.items() if value is None],
        "confusion": confusion.tolist(),
    }
