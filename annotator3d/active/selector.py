"""Choose the voxels of one scan to ask about.

It knows no strategy: it takes the score of a kernel, or the utilities that a strategy has computed;
the same numbers give the same voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.budget import scan_seed
from annotator3d.kernels.score_table import SCORE_ONE
from annotator3d.kernels.selection import VoxelPick, cells_in_range, select_voxels, top_voxels
from annotator3d.kernels.voxels import Voxels

Array = np.ndarray | Tensor


@dataclass(frozen=True)
class ScanSelection:
    """The voxels picked in one scan of N points, best first."""

    picks: list[VoxelPick]
    point_utilities: NDArray[np.float32]
    """[N] utility of the voxel that each point lies in."""


@dataclass(frozen=True)
class PickRule:
    """Which voxels of a scan may be picked, how many, and how ties are ordered."""

    batch_size: int
    exclude: NDArray[np.int32]
    """[Q, 3] cells that are not picked."""
    random_state: int
    scan_id: str
    voxel_size: float  # metres
    max_range: float | None  # metres
    min_points: int

    @property
    def seed(self) -> int:
        """Seed of the order of equal utilities, different for each scan."""
        return scan_seed(self.random_state, self.scan_id)


def select_fused(
    points: Tensor,
    prediction: Tensor | None,
    rows: Tensor | None,
    num_classes: int,
    score: str,
    reduce: str,
    rule: PickRule,
) -> ScanSelection:
    """Score and pick in one pass of a kernel; arguments as `kernels.selection.select_voxels`."""
    found = select_voxels(
        points,
        rule.voxel_size,
        prediction,
        num_classes,
        score=score,
        reduce=reduce,
        k=rule.batch_size,
        seeds=[rule.seed],
        rows=rows,
        asked=torch.from_numpy(rule.exclude),
        asked_splits=torch.tensor([0, len(rule.exclude)]),
        min_points=rule.min_points,
        max_range=rule.max_range,
        want_scores=True,
    )
    per_point = (found.point_utilities.double() / SCORE_ONE).float().cpu().numpy()
    return ScanSelection(found.picks(), per_point)


def select_by_utilities(voxels: Voxels, utilities: Tensor, rule: PickRule) -> ScanSelection:
    """Pick the voxels of highest utility; utilities [V] float or integer, in any unit."""
    exclude = voxels.counts < rule.min_points
    if len(rule.exclude):
        exclude |= _among(voxels.cells, rule.exclude)
    if rule.max_range is not None:
        exclude |= ~cells_in_range(voxels.cells, rule.voxel_size, rule.max_range)
    seeds = torch.tensor([rule.seed], device=utilities.device)
    (best,) = top_voxels(utilities, voxels, rule.batch_size, seeds, exclude)
    picks = [_pick(voxels, utilities, index) for index in best.tolist()]
    return ScanSelection(picks, utilities[voxels.point_to_voxel].float().cpu().numpy())


def _among(cells: Tensor, excluded: NDArray[np.int32]) -> Tensor:
    """Whether each of the cells [V, 3] is excluded: [V] bool."""
    both = torch.cat([cells, torch.from_numpy(excluded).to(cells.device)])
    _, number = both.unique(dim=0, return_inverse=True)
    return torch.isin(number[: len(cells)], number[len(cells) :])


def _pick(voxels: Voxels, utilities: Tensor, index: int) -> VoxelPick:
    start, stop = voxels.splits[index : index + 2].tolist()
    x, y, z = voxels.cells[index].tolist()
    points = voxels.members[start:stop].cpu().numpy()
    return VoxelPick((x, y, z), float(utilities[index]), stop - start, points)
