"""Calls of the C++ library (csrc/cpu) for sparse convolution: see `cpu`."""

from __future__ import annotations

from ctypes import byref, c_void_p

import torch
from torch import Tensor

from annotator3d.kernels import cpu_abi, reference
from annotator3d.kernels.cpu_library import checked, library
from annotator3d.kernels.precision import sum_dtype
from annotator3d.kernels.reference import BLOCK_ROWS, Pairs


def submanifold_pairs(cells: Tensor, splits: Tensor, offsets: Tensor) -> Pairs:
    """As :func:`.reference.submanifold_pairs`."""
    cells, offsets = cells.contiguous(), offsets.contiguous()
    lib, rules = library(), c_void_p()
    found = lib.a3d_rulebook(
        *(cells.data_ptr(), splits.data_ptr(), len(splits) - 1, offsets.data_ptr(), len(offsets)),
        *(BLOCK_ROWS, torch.get_num_threads(), byref(rules)),
    )
    if found == cpu_abi.BAD_VALUE:
        return reference.submanifold_pairs(cells, splits, offsets)
    try:
        out = _empty_pairs(checked(found), len(offsets), len(cells))
        checked(
            lib.a3d_rulebook_write(
                rules, torch.get_num_threads(), *(tensor.data_ptr() for tensor in out)
            )
        )
    finally:
        lib.a3d_rulebook_free(rules)
    return out


def sorted_pairs(
    offset: Tensor, rows_in: Tensor, rows_out: Tensor, offsets: int, num_out: int
) -> Pairs:
    """As :func:`.reference.sorted_pairs`."""
    given = [t.contiguous() for t in (offset, rows_in, rows_out)]
    out = _empty_pairs(len(offset), offsets, num_out)
    status = library().a3d_rulebook_sort(
        *(t.data_ptr() for t in given),
        *(len(offset), offsets, BLOCK_ROWS, num_out),
        *(t.data_ptr() for t in out),
    )
    if status == cpu_abi.BAD_VALUE:
        return reference.sorted_pairs(*given, offsets, num_out)
    checked(status)
    return out


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
    """As :func:`.reference.convolution`."""
    pairs = rows_in, rows_out, starts
    wide = sum_dtype(features)
    source, kernel, *added = (
        t if t is None else t.to(wide).contiguous() for t in (features, weight, bias, residual)
    )
    columns, offsets, depth = kernel.shape
    strides = [1, offsets * depth, depth]  # of depth, column and offset
    if transposed:
        columns, depth, strides = depth, columns, [strides[1], 1, strides[2]]
    first = kernel.data_ptr()
    if mirrored:
        first += (offsets - 1) * strides[2] * kernel.element_size()
        strides[2] = -strides[2]
    out = torch.empty(num_out, columns, dtype=wide)
    question = cpu_abi.Convolution(
        _rulebook(pairs, offsets, len(source), num_out),
        *(source.data_ptr(), first, *strides),
        *(None if t is None else t.data_ptr() for t in added),
        *(relu, out.data_ptr(), depth, columns, out.element_size(), torch.get_num_threads()),
    )
    status = library().a3d_convolve(byref(question))
    if status == cpu_abi.BAD_VALUE:
        reference.check_pairs(*pairs, offsets, len(source), num_out)
    checked(status)
    return out.to(features.dtype)


def convolution_weight_gradient(
    features: Tensor,
    grad: Tensor,
    rows_in: Tensor,
    rows_out: Tensor,
    starts: Tensor,
    offsets: int,
) -> Tensor:
    """As :func:`.reference.convolution_weight_gradient`."""
    pairs = rows_in, rows_out, starts
    wide = sum_dtype(features)
    source, upstream = features.to(wide).contiguous(), grad.to(wide).contiguous()
    out = torch.empty(grad.shape[1], offsets, features.shape[1], dtype=wide)
    question = cpu_abi.WeightGradient(
        _rulebook(pairs, offsets, len(features), len(grad)),
        *(source.data_ptr(), upstream.data_ptr(), out.data_ptr()),
        *(features.shape[1], grad.shape[1], out.element_size(), torch.get_num_threads()),
    )
    status = library().a3d_weight_gradient(byref(question))
    if status == cpu_abi.BAD_VALUE:
        reference.check_pairs(*pairs, offsets, len(features), len(grad))
    checked(status)
    return out.to(features.dtype)


def _empty_pairs(pairs: int, offsets: int, num_out: int) -> Pairs:
    rows_in, rows_out = (torch.empty(pairs, dtype=torch.int32) for _ in range(2))
    blocks = -(-num_out // BLOCK_ROWS)
    return rows_in, rows_out, torch.empty(blocks * offsets + 1, dtype=torch.int64)


def _rulebook(pairs: Pairs, offsets: int, num_in: int, num_out: int) -> cpu_abi.Rulebook:
    """The pairs as the library reads them; they must outlive what this returns."""
    rows_in, rows_out, starts = pairs
    assert all(t.is_contiguous() for t in pairs)
    assert len(starts) == -(-num_out // BLOCK_ROWS) * offsets + 1
    return cpu_abi.Rulebook(
        *(t.data_ptr() for t in pairs), len(rows_in), offsets, BLOCK_ROWS, num_in, num_out
    )
