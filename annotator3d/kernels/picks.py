"""The result of a selection."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class VoxelPick:
    """A voxel chosen in a scan."""

    cell: tuple[int, int, int]
    score: int
    """In units of 1 / SCORE_ONE."""
    count: int
    """Number of points in it."""
    rows: Tensor
    """[count] int64 on the CPU, its rows of the batch's points, ascending."""


@dataclass(frozen=True)
class Selection:
    """The chosen voxels of a batch of B scans with N points, k at most in a scan, best first."""

    cells: Tensor
    """[B, k, 3] int32."""
    scores: Tensor
    """[B, k] int64 in units of 1 / SCORE_ONE."""
    counts: Tensor
    """[B, k] int64, points in each chosen voxel; 0: the scan has no such pick."""
    pick_of_point: Tensor
    """[N] int32, rank of the pick that the point lies in, or -1."""
    point_scores: Tensor | None
    """[N] int64, score of the point's voxel, if asked for."""
    splits: Tensor
    """[B+1] int64 of the points, on the CPU."""

    def picks(self, scan: int = 0) -> list[VoxelPick]:
        """The picks of one scan of the batch, best first."""
        start, stop = self.splits[scan : scan + 2].tolist()
        rank = self.pick_of_point[start:stop].cpu()
        rows = (rank >= 0).nonzero()[:, 0]
        rows = rows[rank[rows].argsort(stable=True)] + start
        counts = self.counts[scan].tolist()
        found = zip(
            self.cells[scan].tolist(),
            self.scores[scan].tolist(),
            counts,
            rows.split([c for c in counts if c]),
            strict=False,  # the first, in cells without a pick, ends early
        )
        return [VoxelPick(tuple(cell), score, n, part) for cell, score, n, part in found]
