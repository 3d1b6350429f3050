"""Public kernels that score points and voxels. Arguments are checked here once."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.kernels import checks, ops, reference
from annotator3d.kernels.labels import IGNORE
from annotator3d.kernels.score_table import SCORE_ONE, score_table
from annotator3d.kernels.voxels import Voxels


def voxel_class_histogram(labels: Tensor, voxels: Voxels, num_classes: int) -> Tensor:
    """Number of points of each class in each voxel.

    Args:
        labels: [N] integer train ids, 0..num_classes-1; 255 (ignore) counts nowhere.
        voxels: of these N points.
        num_classes: 1..255.

    Returns:
        [V, num_classes] int32.

    Raises:
        ValueError: wrong type, shape or device; a label that is neither a class nor 255.
    """
    checks.integer("num_classes", num_classes, 1, IGNORE)
    checks.tensor("labels", labels, tuple(voxels.members.shape), checks.INTEGERS, voxels.members)
    return ops.histogram(labels, *_layout(voxels), num_classes)


def voxel_confusion(prediction: Tensor, voxels: Voxels, num_classes: int) -> Tensor:
    """Voxel confusion degree: entropy in bits of the predicted classes of a voxel's points.

    ``-sum_c p_c log2 p_c`` with p_c the share of class c (Annotator, NeurIPS 2023), over all points
    of the voxel whose label is not 255; 0 where there is none. Computed in integers, so every
    order of the points, number of threads and device gives the same bits.

    Args:
        prediction: logits [N, num_classes] float of any precision (the lowest of equally good
            classes counts) or labels [N] integer, 0..num_classes-1 or 255.
        voxels: of these N points.
        num_classes: 1..255.

    Returns:
        [V] int64, one bit is ``SCORE_ONE``.

    Raises:
        ValueError: wrong type, shape or device; NaN or Inf logits; a label that is neither a class
            nor 255; more points in a voxel than can be scored.
    """
    checks.integer("num_classes", num_classes, 1, IGNORE)
    rows = voxels.members.shape[0]
    if isinstance(prediction, Tensor) and prediction.dim() == 2:
        checks.tensor("prediction", prediction, (rows, num_classes), checks.FLOATS, voxels.members)
    else:
        checks.tensor("prediction", prediction, (rows,), checks.INTEGERS, voxels.members)
    table = score_table(int(voxels.counts.max()) if len(voxels) else 0)
    return ops.confusion(prediction.detach(), *_layout(voxels), table, num_classes)


def entropy_and_margin(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax entropy in bits, and margin (gap between the two likeliest classes), of each point.

    The compiled paths compute in float32 with one polynomial for exp and log, so they agree with
    each other bit for bit; the reference computes in float64 and is within 1e-6 of them.

    Args:
        logits: [N, C] float of any precision, rounded to float32; C in 1..255.

    Returns:
        entropy, margin: [N] int64 each, one bit and one are ``SCORE_ONE``. If C = 1, they are 0
        and ``SCORE_ONE``.

    Raises:
        ValueError: wrong type or shape; NaN or Inf logits.
    """
    checks.tensor("logits", logits, (None, None), checks.FLOATS)
    checks.integer("number of columns of logits", logits.shape[1], 1, IGNORE)
    return ops.entropy_and_margin(logits.detach().float())


def voxel_reduce(values: Tensor, voxels: Voxels, how: str) -> Tensor:
    """Maximum or mean of a point score over the points of each voxel.

    The mean sums multiples of 2^-32, so that it does not depend on the order of the points: its
    error is below 2^-33 plus the rounding to the dtype of the values.

    Args:
        values: [N] float of any precision, or int64 (as of :func:`entropy_and_margin`; the mean is
            then rounded down).
        voxels: of these N points.
        how: 'max' or 'mean'.

    Returns:
        [V], dtype of the values.

    Raises:
        ValueError: wrong type, shape, device or ``how``; NaN or Inf; values too large to sum.
    """
    dtypes = (*checks.FLOATS, torch.int64)
    checks.tensor("values", values, tuple(voxels.members.shape), dtypes, voxels.members)
    checks.choice("how", how, ("max", "mean"))
    values, index = values.detach(), voxels.point_to_voxel
    if values.is_floating_point():
        checks.finite_rows("values", values, voxels.scan[index])
        if how == "max":
            lowest = values.new_full((len(voxels),), float("-inf"))
            return lowest.scatter_reduce(0, index, values, "amax")
        fixed = (values.double() * SCORE_ONE).round()
    else:
        fixed = values
    if how == "mean" and len(fixed):
        largest = float(fixed.double().abs().max())
        if largest * int(voxels.counts.max()) >= 2.0**63:
            checks.fail("values", "a sum over each voxel below 2^31", largest / SCORE_ONE)
    if not values.is_floating_point():
        return reference.reduce_fixed(values, index, voxels.counts, how)
    total = torch.zeros_like(voxels.counts).index_add(0, index, fixed.long())
    return (total.double() / voxels.counts / SCORE_ONE).to(values.dtype)


def _layout(voxels: Voxels) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return voxels.point_to_voxel, voxels.members, voxels.splits, voxels.scan
