"""Sparse convolution as torch.library operators ``annotator3d::*``: see `ops`."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.kernels.dispatch import run
from annotator3d.kernels.operators import differentiable, fake, operator
from annotator3d.kernels.reference import BLOCK_ROWS


@operator
def submanifold_pairs(
    cells: Tensor, splits: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The tensors of :class:`.reference.Pairs`."""
    return run("submanifold_pairs", cells, splits, offsets)


@operator
def sorted_pairs(
    offset: Tensor, rows_in: Tensor, rows_out: Tensor, offsets: int, num_out: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The tensors of :class:`.reference.Pairs`."""
    return run("sorted_pairs", offset, rows_in, rows_out, offsets, num_out)


@operator
def sparse_convolution(
    features: Tensor,
    weight: Tensor,
    rows_in: Tensor,
    rows_out: Tensor,
    starts: Tensor,
    back_in: Tensor,
    back_out: Tensor,
    back_starts: Tensor,
    mirrored: bool,
    num_out: int,
) -> Tensor:
    """[num_out, D]; the pairs `back_*` are those of the transposed convolution, for the gradient
    (`mirrored`: with the offsets in reverse)."""
    return run("convolution", features, weight, rows_in, rows_out, starts, num_out, False, False)


@operator
def sparse_convolution_input_gradient(
    grad: Tensor,
    weight: Tensor,
    back_in: Tensor,
    back_out: Tensor,
    back_starts: Tensor,
    mirrored: bool,
    num_in: int,
) -> Tensor:
    """[num_in, C], dtype of the gradient [Vout, D]."""
    return run("convolution", grad, weight, back_in, back_out, back_starts, num_in, True, mirrored)


@operator
def sparse_convolution_weight_gradient(
    features: Tensor,
    grad: Tensor,
    rows_in: Tensor,
    rows_out: Tensor,
    starts: Tensor,
    offsets: int,
) -> Tensor:
    """[D, K, C], dtype of the features."""
    return run("convolution_weight_gradient", features, grad, rows_in, rows_out, starts, offsets)


@operator
def sparse_convolution_inference(
    features: Tensor,
    weight: Tensor,
    rows_in: Tensor,
    rows_out: Tensor,
    starts: Tensor,
    num_out: int,
    bias: Tensor | None,
    residual: Tensor | None,
    relu: bool,
) -> Tensor:
    """[num_out, D]: the convolution, what is added to it and its ReLU; has no gradient."""
    pairs = (rows_in, rows_out, starts)
    return run("convolution", features, weight, *pairs, num_out, False, False, bias, residual, relu)


@fake(submanifold_pairs)
def _(cells, splits, offsets):
    pairs = torch.library.get_ctx().new_dynamic_size()
    return _fake_pairs(cells, pairs, offsets.shape[0], cells.shape[0])


@fake(sorted_pairs)
def _(offset, rows_in, rows_out, offsets, num_out):
    return _fake_pairs(offset, offset.shape[0], offsets, num_out)


def _fake_pairs(like: Tensor, pairs, offsets, num_out):
    rows = [like.new_empty((pairs,), dtype=torch.int32) for _ in range(2)]
    starts = (num_out + BLOCK_ROWS - 1) // BLOCK_ROWS * offsets + 1
    return *rows, like.new_empty((starts,), dtype=torch.int64)


@fake(sparse_convolution)
def _(features, weight, rows_in, rows_out, starts, b_in, b_out, b_starts, mirrored, num_out):
    return features.new_empty((num_out, weight.shape[0]))


@fake(sparse_convolution_input_gradient)
def _(grad, weight, back_in, back_out, back_starts, mirrored, num_in):
    return grad.new_empty((num_in, weight.shape[2]))


@fake(sparse_convolution_weight_gradient)
def _(features, grad, rows_in, rows_out, starts, offsets):
    return features.new_empty((grad.shape[1], offsets, features.shape[1]))


@fake(sparse_convolution_inference)
def _(features, weight, rows_in, rows_out, starts, num_out, bias, residual, relu):
    return features.new_empty((num_out, weight.shape[0]))


def _keep(ctx, inputs, output) -> None:
    features, weight, *pairs, ctx.mirrored, _ = inputs
    ctx.save_for_backward(features, weight, *pairs)


def _gradients(ctx, grad):
    features, weight, *pairs = ctx.saved_tensors
    grad = grad.contiguous()
    of_features = of_weight = None
    if ctx.needs_input_grad[0]:  # the scan itself needs none
        of_features = sparse_convolution_input_gradient(
            grad, weight, *pairs[3:], ctx.mirrored, features.shape[0]
        )
    if ctx.needs_input_grad[1]:
        of_weight = sparse_convolution_weight_gradient(features, grad, *pairs[:3], weight.shape[1])
    return of_features, of_weight, *([None] * 8)


differentiable(sparse_convolution, _keep, _gradients)
