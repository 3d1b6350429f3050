"""Batch norm of rows: the specification. See `annotator3d.kernels.normalization`."""

from __future__ import annotations

import torch
from torch import Tensor


def batch_norm(
    rows: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None, relu: bool, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Output [N, C], mean [C] and biased variance [C] of the rows [N, C]."""
    variance, mean = torch.var_mean(rows, 0, correction=0)
    out = (rows - mean) * (weight / (variance + epsilon).sqrt()) + bias
    if residual is not None:
        out = out + residual
    return out.relu() if relu else out, mean, variance


def batch_norm_gradient(
    grad: Tensor,
    rows: Tensor,
    out: Tensor,
    weight: Tensor,
    mean: Tensor,
    variance: Tensor,
    relu: bool,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the rows [N, C], of the residual, of weight [C] and bias [C].

    That of the residual is [N, C] with a ReLU; else it is `grad`, and here [0].
    """
    before = torch.where(out <= 0, torch.zeros_like(grad), grad) if relu else grad
    inverse = (variance + epsilon).rsqrt()
    normed = (rows - mean) * inverse
    of_weight, of_bias = (before * normed).sum(0), before.sum(0)
    of_rows = weight * inverse * (before - (of_bias + normed * of_weight) / len(rows))
    return of_rows, before if relu else grad.new_empty(0), of_weight, of_bias
