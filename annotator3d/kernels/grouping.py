"""Public kernels that group points into voxels. Arguments are checked here once."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.kernels import checks, ops
from annotator3d.kernels.voxels import Voxels


def voxelize(points: Tensor, size: float, splits: Tensor | None = None) -> Voxels:
    """Group points into cubic voxels: cell = floor(xyz / size), both float32, IEEE division.

    Args:
        points: [N, 3+] float32, xyz in metres first; further columns are not read.
        size: edge of a voxel in metres.
        splits: [B+1] int64, scan b has the rows ``splits[b]:splits[b+1]``; default one scan.

    Raises:
        ValueError: wrong type, shape or device; NaN or Inf coordinates; cells beyond 32 bits.
    """
    checks.tensor("points", points, (None, None), (torch.float32,))
    if points.shape[1] < 3:
        checks.fail("points", "shape [N, 3 or more]", list(points.shape))
    splits = checks.row_splits("splits", splits, points.shape[0], points)
    return Voxels(*ops.voxelize(points.detach(), checks.voxel_size(size), splits))


def group_cells(cells: Tensor, splits: Tensor | None = None) -> Voxels:
    """Group points whose integer cells [N, 3] int32 are known; otherwise as :func:`voxelize`."""
    checks.tensor("cells", cells, (None, 3), (torch.int32,))
    splits = checks.row_splits("splits", splits, cells.shape[0], cells)
    return Voxels(*ops.group_cells(cells, splits))


def voxel_features(features: Tensor, voxels: Voxels, how: str = "mean") -> Tensor:
    """What a voxel carries of its points: a network's input from features, or a voxel branch's
    from a point branch's. Has a gradient.

    Args:
        features: [N, C] float of any precision.
        voxels: of these N points.
        how: 'first': the features of the voxel's first point; 'mean': their mean over its points,
            summed in float64 in the order of the points.

    Returns:
        [V, C], dtype of the features.

    Raises:
        ValueError: wrong type, shape, device or ``how``.
    """
    shape = (voxels.members.shape[0], None)
    checks.tensor("features", features, shape, checks.FLOATS, voxels.members)
    if checks.choice("how", how, ("first", "mean")) == "first":
        return features[voxels.first]
    return ops.voxel_mean(features, voxels.point_to_voxel, voxels.members, voxels.splits)


def voxel_mean(features: Tensor, voxels: Voxels) -> Tensor:
    """Mean of features [N, C] over the points of each voxel: :func:`voxel_features`."""
    return voxel_features(features, voxels, "mean")
