"""The specification of the kernels in plain torch, for any device.

Slow and obvious where the C++ is fast; both give the same integers. Arguments have the right
types and shapes here (:mod:`.api` saw to it); what depends on values is checked here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import checks
from .voxels import IGNORE

Group = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def voxelize(points: Tensor, size: float, splits: Tensor) -> Group:
    """Voxels of points [N, 3+] float32: see :func:`annotator3d.kernels.voxelize`."""
    xyz = points[:, :3]
    scan_of_row = _scan_of_row(splits)
    checks.finite_rows("points", xyz, scan_of_row)
    # A tensor on the same device: CUDA multiplies by the reciprocal of a scalar, which moves points
    # to the next cell.
    cells = torch.floor(xyz / torch.full((1,), size, dtype=torch.float32, device=xyz.device))
    checks.int32_cells("points", cells, scan_of_row)
    return group_cells(cells.to(torch.int32), splits)


def group_cells(cells: Tensor, splits: Tensor) -> Group:
    """Voxels of integer cells [N, 3] int32, as the six tensors of :class:`Voxels`."""
    n, device = cells.shape[0], cells.device
    key = scan_of_row = _scan_of_row(splits)
    if n:
        for axis in cells.long().unbind(1):  # key < 2^31, range <= 2^32: exact in 63 bits
            low = axis.min()
            key = (key * (axis.max() - low + 1) + (axis - low)).unique(return_inverse=True)[1]
    rows = torch.arange(n, device=device)
    v = int(key.max()) + 1 if n else 0
    first = torch.full((v,), n, device=device).scatter_reduce(0, key, rows, "amin")
    first, order = first.sort()
    rank = torch.empty_like(order)
    rank[order] = torch.arange(v, device=device)
    point_to_voxel = rank[key]
    members = point_to_voxel.argsort(stable=True)
    scan = scan_of_row[first]
    return (
        cells[first],
        scan,
        point_to_voxel,
        members,
        _splits_of(torch.bincount(point_to_voxel, minlength=v)),
        _splits_of(torch.bincount(scan, minlength=len(splits) - 1)),
    )


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


def kernel_map(
    cells: Tensor,
    scan_splits: Tensor,
    offsets: Tensor,
    out_cells: Tensor,
    out_splits: Tensor,
    stride: int,
) -> Tensor:
    """``table[k, v]``: row of the cell ``out_cells[v] * stride + offsets[k]``, or -1."""
    k, v, device = len(offsets), len(out_cells), cells.device
    if not len(cells):
        return torch.full((k, v), -1, device=device)
    wanted = out_cells.long() * stride + offsets.long()[:, None]  # [K, Vout, 3]
    key = _scan_of_row(scan_splits)
    wanted_key = _scan_of_row(out_splits).expand(k, v)
    found = torch.ones(k, v, dtype=torch.bool, device=device)
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


def tie_hash(seed: Tensor, cells: Tensor) -> Tensor:
    """Order of equally good voxels: [V] int64 from seed (one int64) and cells [V, 3] int32.

    Three rounds of splitmix64 over the coordinates, wrapping in int64 on every device.
    """
    state = _splitmix64(seed)
    for axis in cells.long().unbind(1):
        state = _splitmix64(state ^ axis)
    return state


def _splitmix64(x: Tensor) -> Tensor:
    def shifted(x: Tensor, bits: int) -> Tensor:  # a logical shift: int64 shifts the sign in
        return (x >> bits) & ((1 << (64 - bits)) - 1)

    x = x - 0x61C8864680B583EB  # + 0x9E3779B97F4A7C15 modulo 2^64
    x = (x ^ shifted(x, 30)) * -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
    x = (x ^ shifted(x, 27)) * -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB
    return x ^ shifted(x, 31)


def _scan_of_row(splits: Tensor) -> Tensor:
    return torch.arange(len(splits) - 1, device=splits.device).repeat_interleave(splits.diff())


def _splits_of(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
