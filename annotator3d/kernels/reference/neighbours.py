"""Neighbours: cells that a convolution gathers, and cells around a point."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from annotator3d.kernels import checks
from annotator3d.kernels.precision import sum_dtype
from annotator3d.kernels.reference.grouping import floor_cells, scan_of_row


def kernel_map(
    cells: Tensor,
    scan_splits: Tensor,
    offsets: Tensor,
    out_cells: Tensor,
    out_splits: Tensor,
    stride: int,
) -> Tensor:
    """``table[k, v]``: row of the cell ``out_cells[v] * stride + offsets[k]``, or -1."""
    wanted = out_cells.long() * stride + offsets.long()[:, None]  # [K, Vout, 3]
    return rows_of(cells, scan_splits, wanted, out_splits)


def interpolation(
    points: Tensor, point_splits: Tensor, cells: Tensor, splits: Tensor, stride: int
) -> tuple[Tensor, Tensor]:
    """Rows and weights of the 8 cells around each point: see :func:`annotator3d.kernels`.

    With q = points / stride and f = q - floor(q), all float32: corner j is the cell
    ``floor(q) + (j >> 2 & 1, j >> 1 & 1, j & 1)``. Its weight is ``(wx * wy) * wz`` with f where
    its bit is set and 1 - f where not, and 0 where there is no such cell; then each is divided by
    the sum of the eight (added in the order of j), unless that is 0.
    """
    base = floor_cells(points[:, :3], float(stride), point_splits)
    one = torch.ones(1, dtype=torch.float32, device=points.device)
    f = points[:, :3] / (one * stride) - base
    near = torch.stack([1 - f, f])  # [2, N, 3]
    corners = list(product((0, 1), repeat=3))
    offsets = torch.tensor(corners, device=points.device)
    index = rows_of(cells, splits, base.long() + offsets[:, None], point_splits)
    weights, total = [], torch.zeros_like(f[:, 0])
    for row, (x, y, z) in zip(index, corners, strict=True):
        weight = near[x, :, 0] * near[y, :, 1] * near[z, :, 2]
        weights.append(torch.where(row >= 0, weight, 0.0))
        total = total + weights[-1]
    weight = torch.stack(weights, 1) / torch.where(total > 0, total, 1.0)[:, None]
    return index.t().contiguous(), weight


def devoxelize(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """``out[n] = sum_k weight[n, k] * features[index[n, k]]``, [N, C]; index -1 adds nothing.

    Added in the order of k, in float32 (float64 for float64 features), rounded to their dtype.
    """
    checks.row_range("index", index, len(features))
    wide = sum_dtype(features)
    weight = weight.to(wide)
    padded = torch.cat([features.to(wide), weight.new_zeros(1, features.shape[1])])  # row -1
    out = weight.new_zeros(len(index), features.shape[1])
    for k in range(index.shape[1]):
        out = out + weight[:, k, None] * padded[index[:, k]]
    return out.to(features.dtype)


def devoxelize_backward(grad: Tensor, index: Tensor, weight: Tensor, rows: int) -> Tensor:
    """Gradient [rows, C] of the features from that of the output, grad [N, C].

    Added point by point, in the precision of :func:`devoxelize`.
    """
    wide = sum_dtype(grad)
    out = torch.zeros(rows + 1, grad.shape[1], dtype=wide, device=grad.device)  # one for index -1
    chunk = max(1, 2**22 // max(1, index.shape[1] * grad.shape[1]))  # bounds the memory
    for g, i, w in zip(grad.split(chunk), index.split(chunk), weight.split(chunk), strict=True):
        parts = g.to(wide)[:, None] * w.to(wide)[:, :, None]
        out.index_add_(0, torch.where(i < 0, rows, i).flatten(), parts.flatten(0, 1))
    return out[:rows].to(grad.dtype)


def rows_of(cells: Tensor, splits: Tensor, wanted: Tensor, wanted_splits: Tensor) -> Tensor:
    """Row in ``cells`` of each wanted cell [K, M, 3] int64 of the same scan, or -1: [K, M]."""
    k, m, device = *wanted.shape[:2], cells.device
    if not len(cells):
        return torch.full((k, m), -1, device=device)
    key = scan_of_row(splits)
    wanted_key = scan_of_row(wanted_splits).expand(k, m)
    found = torch.ones(k, m, dtype=torch.bool, device=device)
    for axis, wanted_axis in zip(cells.long().unbind(1), wanted.unbind(2), strict=True):
        low, high = axis.min(), axis.max()
        found &= (wanted_axis >= low) & (wanted_axis <= high)
        span = high - low + 1
        known, key = (key * span + (axis - low)).unique(return_inverse=True)
        query = torch.where(found, wanted_key * span + (wanted_axis - low), known[0])
        wanted_key = torch.searchsorted(known, query).clamp(max=len(known) - 1)
        found &= known[wanted_key] == query
    if len(known) < len(cells):
        checks.fail(
            "cells", "unique cells within a scan", f"{len(cells) - len(known)} repeated ones"
        )
    row = torch.empty_like(key)
    row[key] = torch.arange(len(cells), device=device)
    return torch.where(found, row[wanted_key], -1)
