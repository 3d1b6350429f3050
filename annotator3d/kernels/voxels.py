"""The result of grouping points into voxels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Voxels:
    """Points of a batch of scans, grouped by voxel.

    B scans, N points, V occupied voxels; all tensors live on the device of the points. Voxels are
    numbered in the order of their first point, hence scan by scan.
    """

    cells: Tensor
    """[V, 3] int32, integer cell of each voxel."""
    scan: Tensor
    """[V] int64, scan of the batch that the voxel belongs to."""
    point_to_voxel: Tensor
    """[N] int64, voxel of each point."""
    members: Tensor
    """[N] int64, point rows grouped by voxel, ascending inside a voxel."""
    splits: Tensor
    """[V+1] int64: voxel v has ``members[splits[v]:splits[v+1]]``."""
    scan_splits: Tensor
    """[B+1] int64: scan b has the voxels ``scan_splits[b]:scan_splits[b+1]``."""

    def __len__(self) -> int:
        return self.cells.shape[0]

    @property
    def counts(self) -> Tensor:
        """[V] int64, number of points in each voxel (at least 1)."""
        return self.splits.diff()

    @property
    def first(self) -> Tensor:
        """[V] int64, row of the first point of each voxel."""
        return self.members[self.splits[:-1]]
