"""The point branch of point-voxel networks: points read voxels and are averaged into them."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.kernels import Voxels, devoxelize, interpolation
from annotator3d.kernels.grouping import voxel_mean
from annotator3d.models.sparse import SparseTensor


class PointView:
    """The finest cells of a batch, seen as points at their integer coordinates.

    A point reads the voxels of a coarser level by trilinear interpolation between the (up to 8)
    occupied ones around it, and belongs to the one it lies in when points are averaged into voxels
    (Tang et al., SPVNAS, ECCV 2020; the corner convention of torchsparse). At the finest level both
    are the identity.

    Args:
        cells: [V, 3] int32, the finest cells. splits: [B + 1] int64, their rows by scan.
    """

    def __init__(self, cells: Tensor, splits: Tensor) -> None:
        self.cells, self.splits = cells, splits
        self._around: dict[int, tuple[Tensor, Tensor]] = {}
        self._inside: dict[int, Voxels] = {}

    def read(self, x: SparseTensor) -> Tensor:
        """Features [V, C] of the points from those of the voxels of the level of `x`."""
        if x.level == 0:
            return x.features
        return devoxelize(x.features, *self._neighbours(x))

    def write(self, features: Tensor, x: SparseTensor) -> SparseTensor:
        """`x` with the mean of the features [V, C] of the points in each voxel."""
        if x.level == 0:
            return x.with_features(features)
        return x.with_features(voxel_mean(features, self._members(x)))

    def _neighbours(self, x: SparseTensor) -> tuple[Tensor, Tensor]:
        if x.level not in self._around:
            cells, splits, rows = x.geometry.occupied(x.level)
            points = self.cells.float()
            index, weight = interpolation(
                points, cells, splits, 2**x.level, point_splits=self.splits
            )
            if rows is not None and len(rows):
                index = torch.where(index < 0, index, rows[index])
            self._around[x.level] = index, weight
        return self._around[x.level]

    def _members(self, x: SparseTensor) -> Voxels:
        if x.level not in self._inside:
            own = self._neighbours(x)[0][:, 0].contiguous()  # the first corner: where it lies
            cells, splits, _ = x.geometry.occupied(x.level)
            counts = torch.bincount(own, minlength=len(cells))
            self._inside[x.level] = Voxels(
                cells=cells,
                scan=torch.repeat_interleave(
                    torch.arange(len(splits) - 1, device=cells.device),
                    splits.to(cells.device).diff(),
                ),
                point_to_voxel=own,
                members=torch.argsort(own, stable=True),
                splits=torch.nn.functional.pad(counts.cumsum(0), (1, 0)),
                scan_splits=splits,
            )
        return self._inside[x.level]
