"""Points to voxels, and the mean of what the points of a voxel carry."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.kernels import checks

VoxelTensors = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def voxelize(points: Tensor, size: float, splits: Tensor) -> VoxelTensors:
    """Voxels of points [N, 3+] float32: see :func:`annotator3d.kernels.voxelize`."""
    return group_cells(floor_cells(points[:, :3], size, splits).to(torch.int32), splits)


def floor_cells(xyz: Tensor, size: float, splits: Tensor) -> Tensor:
    """``floor(xyz / size)`` [N, 3] float32, whole numbers that fit int32, by IEEE division."""
    scan = scan_of_row(splits)
    checks.finite_rows("points", xyz, scan)
    # A tensor on the same device: CUDA multiplies by the reciprocal of a scalar, which moves points
    # to the next cell.
    cells = torch.floor(xyz / torch.full((1,), size, dtype=torch.float32, device=xyz.device))
    checks.int32_cells("points", cells, scan)
    return cells


def group_cells(cells: Tensor, splits: Tensor) -> VoxelTensors:
    """Voxels of integer cells [N, 3] int32, as the six tensors of :class:`Voxels`."""
    n, device = cells.shape[0], cells.device
    key = of_row = scan_of_row(splits)
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
    scan = of_row[first]
    return (
        cells[first],
        scan,
        point_to_voxel,
        members,
        splits_of(torch.bincount(point_to_voxel, minlength=v)),
        splits_of(torch.bincount(scan, minlength=len(splits) - 1)),
    )


def voxel_mean(features: Tensor, point_to_voxel: Tensor, members: Tensor, splits: Tensor) -> Tensor:
    """Mean of features [N, C] over the points of each voxel, [V, C].

    Summed in float64 in the order of the members, divided by their number, rounded to the dtype of
    the features.
    """
    v = len(splits) - 1
    total = torch.zeros(v, features.shape[1], dtype=torch.float64, device=features.device)
    total.index_add_(0, point_to_voxel[members], features[members].double())
    return (total / splits.diff()[:, None]).to(features.dtype)


def scan_of_row(splits: Tensor) -> Tensor:
    """Scan of each row, [N] int64, from row boundaries [B+1]."""
    return torch.arange(len(splits) - 1, device=splits.device).repeat_interleave(splits.diff())


def splits_of(counts: Tensor) -> Tensor:
    """Row boundaries [B+1] from numbers of rows [B]."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
