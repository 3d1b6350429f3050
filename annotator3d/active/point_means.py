"""What the logits of a voxel's points say together, with bits that no order of the points changes.

The sum of floats depends on their order, and so would picks. Here every term is first rounded to a
multiple of 2^-24 in 0..1, of which float64 sums 2^29 without any error; or it is an integer, as the
scores of the kernels are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from annotator3d.kernels.grouping import voxel_mean
from annotator3d.kernels.score_table import SCORE_ONE
from annotator3d.kernels.scores import entropy_and_margin, voxel_confusion, voxel_reduce
from annotator3d.kernels.voxels import Voxels

_STEPS = 2.0**24


def logits_of(prediction: Tensor | None, num_classes: int, strategy: str) -> Tensor:
    """The prediction, if it is logits [N, num_classes].

    Raises ValueError that names the strategy, for train ids, scores of points or nothing.
    """
    if prediction is None or not prediction.is_floating_point() or prediction.dim() != 2:
        got = "none" if prediction is None else f"{prediction.dtype} {list(prediction.shape)}"
        raise ValueError(
            f"strategy {strategy!r} needs logits [N, {num_classes}] as floats, got {got}; from "
            "predicted labels 'vcd' can choose"
        )
    if prediction.shape[1] != num_classes:
        raise ValueError(f"logits must be [N, {num_classes}], got {list(prediction.shape)}")
    return prediction.detach()


def likeliest(logits: Tensor) -> Tensor:
    """[N] class of the highest logit, the lowest of several; twice as fast as `argmax`."""
    return logits.max(1).indices


def most_bits(num_classes: int) -> float:
    """The largest entropy of so many classes, in bits; 1 for a single class, whose entropy is 0."""
    return math.log2(max(num_classes, 2))


def mean_entropy(logits: Tensor, voxels: Voxels) -> Tensor:
    """Mean over the points of a voxel of their softmax entropy, as a share of the largest one.

    Args:
        logits: [N, C], finite. voxels: of these N points.

    Returns:
        [V] float64 in 0..1.
    """
    entropy, _ = entropy_and_margin(logits)
    total = voxel_reduce(entropy, voxels, "mean").double() / SCORE_ONE
    return total / most_bits(logits.shape[1])


def confusion(prediction: Tensor, voxels: Voxels, num_classes: int) -> Tensor:
    """Entropy of the classes that are predicted in a voxel, as a share of the largest one.

    Args:
        prediction: logits [N, C] or train ids [N], 255 for none.

    Returns:
        [V] float64 in 0..1.
    """
    bits = voxel_confusion(prediction, voxels, num_classes).double() / SCORE_ONE
    return bits / most_bits(num_classes)


def class_probabilities(logits: Tensor) -> Tensor:
    """Softmax of logits [..., C] as float32, in float32. Raises ValueError for NaN or Inf."""
    p = logits.detach().float().softmax(-1)
    if not p.sum().isfinite():  # a tenth of the time of looking at each logit
        raise ValueError("logits: expected finite values, got NaN or Inf")
    return p


def mean_of_points(values: Tensor, voxels: Voxels) -> Tensor:
    """Mean over the points of each voxel.

    Args:
        values: [N, D] float32 in 0..1; they are changed.

    Returns:
        [V, D] float64.
    """
    return voxel_mean(values.mul_(_STEPS).round_().div_(_STEPS), voxels).double()


def entropy_of(p: Tensor) -> Tensor:
    """Entropy of distributions [..., C], in bits: [...] float64, rounded to 2^-32.

    Logarithms may differ in the last bit between places in memory; rounding forgets that.
    """
    bits = -torch.special.xlogy(p.double(), p.double()).sum(-1) / math.log(2)
    return (bits * SCORE_ONE).round() / SCORE_ONE
