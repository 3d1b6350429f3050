"""Sparse convolution over the pairs of a rulebook, offset by offset."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.kernels import checks
from annotator3d.kernels.precision import sum_dtype
from annotator3d.kernels.reference.neighbours import kernel_map

BLOCK_ROWS = 1024
"""Output rows whose pairs stand together: their features and sums fit the cache of a core."""

Pairs = tuple[Tensor, Tensor, Tensor]
"""Input rows [P] int32, output rows [P] int32, and where each list of them begins: the pairs of
kernel offset k whose output row lies in block b of BLOCK_ROWS rows are those from
``starts[b * K + k]`` to ``starts[b * K + k + 1]``; starts [blocks * K + 1] int64."""


def submanifold_pairs(cells: Tensor, splits: Tensor, offsets: Tensor) -> Pairs:
    """Pairs of the convolution whose output cells are its input cells, in the order of the rows."""
    table = kernel_map(cells, splits, offsets, cells, splits, 1)
    offset, rows_out = (table >= 0).nonzero(as_tuple=True)
    return sorted_pairs(offset, table[offset, rows_out], rows_out, len(offsets), len(cells))


def sorted_pairs(
    offset: Tensor, rows_in: Tensor, rows_out: Tensor, offsets: int, num_out: int
) -> Pairs:
    """Pairs [P] int64, each with its kernel offset, sorted by block and offset; stable."""
    checks.row_range("offset", offset, offsets, missing=False)
    checks.row_range("rows_out", rows_out, num_out, missing=False)
    blocks = -(-num_out // BLOCK_ROWS)
    of_list = rows_out // BLOCK_ROWS * offsets + offset
    order = torch.argsort(of_list, stable=True)
    counts = torch.bincount(of_list, minlength=blocks * offsets)
    starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    return rows_in[order].int(), rows_out[order].int(), starts


def convolution(
    features: Tensor,
    weight: Tensor,
    rows_in: Tensor,
    rows_out: Tensor,
    starts: Tensor,
    num_out: int,
    transposed: bool,
    mirrored: bool,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """``out[o] = sum over the pairs (i, o) of features[i] @ weight[:, k].T``, and what is added.

    Args:
        features: [Vin, C]; half precision is computed in float32.
        weight: [D, K, C]; `transposed`: [C, K, D], used as its transpose; `mirrored`: offset k
            takes the weights of K - 1 - k.
        rows_in, rows_out, starts: see `Pairs`.
        bias: [D] or None. residual: [num_out, D] or None. relu: of the sum.

    Returns:
        [num_out, D], dtype of the features.
    """
    offsets = weight.shape[1]
    check_pairs(rows_in, rows_out, starts, offsets, len(features), num_out)
    wide = sum_dtype(features)
    source, kernel = features.to(wide), weight.to(wide)
    kernel = (kernel.flip(1) if mirrored else kernel).transpose(0, 1)
    kernel = kernel if transposed else kernel.transpose(1, 2)  # [K, in, out]
    out = source.new_zeros(num_out, kernel.shape[2])
    for k, ins, outs in _by_offset(rows_in, rows_out, starts, offsets):
        out.index_add_(0, outs, source.index_select(0, ins) @ kernel[k])
    out = out if bias is None else out + bias
    out = out if residual is None else out + residual
    return (out.relu() if relu else out).to(features.dtype)


def convolution_weight_gradient(
    features: Tensor,
    grad: Tensor,
    rows_in: Tensor,
    rows_out: Tensor,
    starts: Tensor,
    offsets: int,
) -> Tensor:
    """Gradient [D, K, C] of the weights, from features [Vin, C] and grad [Vout, D]."""
    check_pairs(rows_in, rows_out, starts, offsets, len(features), len(grad))
    wide = sum_dtype(features)
    source, upstream = features.to(wide), grad.to(wide)
    out = source.new_zeros(offsets, grad.shape[1], features.shape[1])
    for k, ins, outs in _by_offset(rows_in, rows_out, starts, offsets):
        out[k] = upstream.index_select(0, outs).T @ source.index_select(0, ins)
    return out.transpose(0, 1).contiguous().to(features.dtype)


def check_pairs(
    rows_in: Tensor, rows_out: Tensor, starts: Tensor, offsets: int, num_in: int, num_out: int
) -> None:
    """Raises a ValueError where a rulebook has rows or starts that are none."""
    steps = starts.diff()
    if len(starts) and (int(starts[0]) or int(starts[-1]) != len(rows_in) or (steps < 0).any()):
        checks.fail("starts", f"non-decreasing numbers from 0 to {len(rows_in)}", "others")
    checks.row_range("rows_in", rows_in, num_in, missing=False)
    checks.row_range("rows_out", rows_out, num_out, missing=False)
    blocks = torch.arange(len(steps) // max(1, offsets), device=steps.device)
    block = torch.repeat_interleave(blocks.repeat_interleave(offsets), steps)
    wrong = int((rows_out // BLOCK_ROWS != block).sum())
    if wrong:
        checks.fail("rows_out", f"rows of their block of {BLOCK_ROWS}", f"{wrong} of other blocks")


def _by_offset(rows_in: Tensor, rows_out: Tensor, starts: Tensor, offsets: int):
    """Each kernel offset that has pairs, with its input and output rows."""
    steps = starts.diff()
    lists = torch.arange(len(steps), device=steps.device) % max(1, offsets)
    offset = torch.repeat_interleave(lists, steps)
    order = torch.argsort(offset, stable=True)
    counts = torch.bincount(offset, minlength=offsets).tolist()
    ins, outs = rows_in[order].long().split(counts), rows_out[order].long().split(counts)
    for k, count in enumerate(counts):
        if count:
            yield k, ins[k], outs[k]
