"""Public kernel of batch norm. Arguments are checked here once."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.kernels import checks
from annotator3d.kernels.dispatch import run
from annotator3d.kernels.operators import differentiable, fake, operator


def batch_norm(
    rows: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None = None,
    relu: bool = False,
    epsilon: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise rows by their own statistics, then add to them, then a ReLU: in two passes.

    ``relu((rows - mean) / sqrt(variance + epsilon) * weight + bias + residual)``; the output has a
    gradient for rows, weight, bias and residual.

    Args:
        rows: [N, C] float32 or float64, N >= 2.
        weight, bias: [C], dtype of the rows. residual: [N, C] or None.
        relu: negative results become 0.
        epsilon: > 0.

    Returns:
        output [N, C]; mean [C] and variance [C] (the biased one) of the rows, without a gradient.
        The same bits on any number of threads.

    Raises:
        ValueError: wrong type, shape or device; fewer than 2 rows.
    """
    checks.tensor("rows", rows, (None, None), checks.FULL_FLOATS)
    if len(rows) < 2:
        checks.fail("rows", "at least 2: one has no variance", len(rows))
    for name, values in (("weight", weight), ("bias", bias)):
        checks.tensor(name, values, (rows.shape[1],), (rows.dtype,), rows)
    if residual is not None:
        checks.tensor("residual", residual, tuple(rows.shape), (rows.dtype,), rows)
    return normalized(rows, weight, bias, residual, relu, epsilon)


@operator
def normalized(
    rows: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None, relu: bool, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Output [N, C], mean [C], variance [C]."""
    return run("batch_norm", rows, weight, bias, residual, relu, epsilon)


@operator
def normalized_gradient(
    grad: Tensor,
    rows: Tensor,
    out: Tensor,
    weight: Tensor,
    mean: Tensor,
    variance: Tensor,
    relu: bool,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :func:`.reference.batch_norm_gradient`."""
    return run("batch_norm_gradient", grad, rows, out, weight, mean, variance, relu, epsilon)


@fake(normalized)
def _(rows, weight, bias, residual, relu, epsilon):
    return torch.empty_like(rows), torch.empty_like(weight), torch.empty_like(weight)


@fake(normalized_gradient)
def _(grad, rows, out, weight, mean, variance, relu, epsilon):
    before = torch.empty_like(rows) if relu else rows.new_empty(0)
    return torch.empty_like(rows), before, torch.empty_like(weight), torch.empty_like(weight)


def _keep(ctx, inputs, output) -> None:
    rows, weight, _, _, ctx.relu, ctx.epsilon = inputs
    out, mean, variance = output
    ctx.save_for_backward(rows, out, weight, mean, variance)
    ctx.mark_non_differentiable(mean, variance)


def _gradients(ctx, grad, _of_mean, _of_variance):
    of_rows, of_residual, of_weight, of_bias = normalized_gradient(
        grad, *ctx.saved_tensors, ctx.relu, ctx.epsilon
    )
    if not ctx.needs_input_grad[3]:
        of_residual = None
    elif not ctx.relu:
        of_residual = grad
    return of_rows, of_weight, of_bias, of_residual, None, None


differentiable(normalized, _keep, _gradients)
