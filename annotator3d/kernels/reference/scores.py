"""Predictions to scores: of a point, and of a voxel from its points. All integers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from annotator3d.kernels import checks
from annotator3d.kernels.labels import IGNORE
from annotator3d.kernels.score_table import SCORE_ONE


def histogram(
    labels: Tensor,
    point_to_voxel: Tensor,
    members: Tensor,
    splits: Tensor,
    scan: Tensor,
    num_classes: int,
) -> Tensor:
    """Points of each class in each voxel, [V, num_classes] int32; label 255 counts nowhere."""
    labels = labels.long()  # 255 is -1 to int8
    checks.label_range("labels", labels, num_classes)
    v = len(scan)
    keep = labels != IGNORE
    bins = point_to_voxel[keep] * num_classes + labels[keep]
    return torch.bincount(bins, minlength=v * num_classes).view(v, num_classes).int()


def confusion(
    prediction: Tensor,
    point_to_voxel: Tensor,
    members: Tensor,
    splits: Tensor,
    scan: Tensor,
    table: Tensor,
    num_classes: int,
) -> Tensor:
    """Entropy of the predicted classes of each voxel, [V] int64 in units of 2^-32 bit.

    With h_c members of class c, n of them in all and T the table of :mod:`.score`:
    ``(T[n] - sum_c T[h_c]) // n``, and 0 where n = 0. The numerator is never negative: it is
    exactly 0 for one class, and far larger than the rounding of T for more.
    """
    if prediction.dim() == 2:
        checks.finite_rows("prediction", prediction, scan[point_to_voxel])
        prediction = prediction.argmax(1)  # the first of equal ones
    else:
        prediction = prediction.long()
        checks.label_range("prediction", prediction, num_classes)
    h = histogram(prediction, point_to_voxel, members, splits, scan, num_classes).long()
    n = h.sum(1)
    table = table.to(h.device)
    return (table[n] - table[h].sum(1)) // n.clamp(min=1)


def entropy_and_margin(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax entropy in bits and margin of each row of logits [N, C], C >= 1, computed in float64.

    With m the largest logit, d_c = l_c - m, Z = sum_c exp(d_c) and d' the second largest d:
    entropy = log2 Z - log2(e) / Z * sum_c d_c exp(d_c), margin = (1 - exp(d')) / Z, the gap between
    the two likeliest classes (1 if C = 1). Where exp(d_c) is 0, so is its part of the sum.

    Returns:
        entropy, margin: [N] int64 in units of 1 / SCORE_ONE, rounded to the nearest.
    """
    checks.finite_rows("logits", logits, None)
    logits = logits.double()
    if not len(logits):
        return tuple(torch.zeros(0, dtype=torch.int64, device=logits.device) for _ in range(2))
    d = logits - logits.max(1, keepdim=True).values
    e = d.exp()
    z = e.sum(1)
    parts = torch.where(e > 0, d * e, 0.0).sum(1)
    entropy = z.log2() - parts / z * (1 / math.log(2))
    second = e.topk(2, dim=1).values[:, 1] if e.shape[1] > 1 else 0.0
    return _fixed(entropy), _fixed((1 - second) / z)


def reduce_fixed(values: Tensor, point_to_voxel: Tensor, counts: Tensor, how: str) -> Tensor:
    """Maximum ('max') or mean ('mean', rounded down) of values [N] int64 in each voxel, [V]."""
    if how == "max":
        lowest = torch.full_like(counts, torch.iinfo(torch.int64).min)
        return lowest.scatter_reduce(0, point_to_voxel, values, "amax")
    total = torch.zeros_like(counts).index_add_(0, point_to_voxel, values)
    return total.div(counts, rounding_mode="floor")


def _fixed(values: Tensor) -> Tensor:
    return (values * SCORE_ONE).round().long()  # halves to even, as llrint
