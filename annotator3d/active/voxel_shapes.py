"""What the points around a voxel look like, without any network."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from annotator3d.kernels.grouping import group_cells, voxel_mean
from annotator3d.kernels.neighbours import kernel_map
from annotator3d.kernels.voxels import Voxels

SHAPES = ("linear", "planar", "scattered")
_GROUND = 4.0  # metres, edge of the squares in which the lowest voxel is the ground
_STEPS = 2**16  # of a voxel's edge: whole numbers, so that no order of the points changes a sum


def heights(voxels: Voxels, size: float) -> Tensor:
    """Height of each voxel above the lowest one of its square of 4 m: [V] float64 metres.

    Args:
        size: edge of a voxel in metres.
    """
    z = (voxels.cells[:, 2].double() + 0.5) * size
    squares = ((voxels.cells.double() + 0.5) * size / _GROUND).floor().int()
    squares[:, 2] = 0
    square = group_cells(squares).point_to_voxel
    lowest = z.new_full((len(voxels),), torch.inf).scatter_reduce(0, square, z, "amin")
    return z - lowest[square]


def shapes(xyz: Tensor, voxels: Voxels, size: float) -> Tensor:
    """Whether the points in the 3 x 3 x 3 cells around a voxel lie on a line, on a plane or in all
    directions: [V] int64, number in `SHAPES`. Fewer than three points are scattered.

    By the standard deviations s1 >= s2 >= s3 along the principal axes: the largest of (s1 - s2) /
    s1, (s2 - s3) / s1 and s3 / s1 (Demantke et al., Laser Scanning 2011).

    Args:
        xyz: [N, 3] float32 metres. voxels: of these points. size: edge of a voxel in metres.
    """
    points, covariance = _around(xyz, voxels, size)
    deviations = torch.linalg.eigvalsh(covariance).clamp(min=0).sqrt()
    s3, s2, s1 = deviations.unbind(1)
    shape = torch.stack([s1 - s2, s2 - s3, s3], 1).argmax(1)
    return torch.where((points < 3) | (s1 == 0), SHAPES.index("scattered"), shape)


def _around(xyz: Tensor, voxels: Voxels, size: float) -> tuple[Tensor, Tensor]:
    """Number [V] and covariance [V, 3, 3], in edges of a voxel, of the points around each voxel."""
    cells = voxels.cells.double()
    local = xyz.double() / size - cells[voxels.point_to_voxel] - 0.5  # from the centre
    local = (local * _STEPS).round()
    squares = (local[:, :, None] * local[:, None, :]).flatten(1)
    means = voxel_mean(torch.cat([local / _STEPS, squares / _STEPS**2], 1), voxels)
    n = torch.nn.functional.pad(voxels.counts.double(), (0, 1))  # row -1 is that of an empty cell
    means = torch.nn.functional.pad(means, (0, 0, 0, 1))
    offsets = torch.tensor([*product((-1, 0, 1), repeat=3)], dtype=torch.int32)
    offsets = offsets.to(cells.device)
    count = torch.zeros_like(n[:-1])
    first = cells.new_zeros(len(cells), 3)
    second = cells.new_zeros(len(cells), 3, 3)
    rows_of_offset = kernel_map(voxels.cells, voxels.scan_splits, offsets)
    for offset, rows in zip(offsets.double(), rows_of_offset, strict=True):
        weight, mean = n[rows], means[rows]
        here = mean[:, :3] + offset
        outer = mean[:, 3:].view(-1, 3, 3) - mean[:, :3, None] * mean[:, None, :3]
        outer = outer + here[:, :, None] * here[:, None, :]
        count += weight
        first += weight[:, None] * here
        second += weight[:, None, None] * outer
    first /= count[:, None]
    second /= count[:, None, None]
    return count, second - first[:, :, None] * first[:, None, :]
