"""Choose the voxels of one scan to ask about.

It knows no strategy: it takes the score of a kernel, or the utilities that a strategy has computed;
the same numbers give the same voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.budget import scan_seed
from annotator3d.kernels.neighbours import kernel_map
from annotator3d.kernels.reference.selection import tie_hash
from annotator3d.kernels.score_table import SCORE_ONE
from annotator3d.kernels.scores import voxel_class_histogram
from annotator3d.kernels.selection import VoxelPick, cells_in_range, select_voxels, top_voxels
from annotator3d.kernels.voxels import Voxels

Array = np.ndarray | Tensor


@dataclass(frozen=True)
class ScanSelection:
    """The voxels picked in one scan of N points, best first."""

    picks: list[VoxelPick]
    point_utilities: NDArray[np.float32]
    """[N] utility of the voxel that each point lies in."""
    strata: tuple[tuple[VoxelPick, ...], ...] = ()
    """The best voxels of each stratum, for a chooser that has quotas of these."""


class Scores(NamedTuple):
    """What a strategy says of the V voxels of a scan."""

    utilities: Tensor
    """[V] float64, finite; the highest is asked first."""
    strata: Tensor | None = None
    """[V, G] float64, utility within each of G strata (classes, clusters); -inf: not part of it."""


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


def select_by_scores(voxels: Voxels, scores: Scores, rule: PickRule) -> ScanSelection:
    """Pick the voxels of highest utility, and of each stratum those highest in it."""
    utilities = scores.utilities
    exclude = ~may_be_picked(voxels, rule.voxel_size, rule.max_range, rule.min_points)
    exclude |= among(voxels.cells, rule.exclude)
    seeds = torch.tensor([rule.seed], device=utilities.device)
    (best,) = top_voxels(utilities, voxels, rule.batch_size, seeds, exclude)
    return ScanSelection(
        _picks(voxels, best, utilities[best]),
        utilities[voxels.point_to_voxel].float().cpu().numpy(),
        () if scores.strata is None else _best_of_strata(voxels, scores.strata, exclude, rule),
    )


def may_be_picked(
    voxels: Voxels, voxel_size: float, max_range: float | None, min_points: int
) -> Tensor:
    """Whether each voxel has the points and lies in the range that are asked for: [V] bool."""
    allowed = voxels.counts >= min_points
    if max_range is not None:
        allowed &= cells_in_range(voxels.cells, voxel_size, max_range)
    return allowed


def among(cells: Tensor, others: NDArray[np.int32]) -> Tensor:
    """Whether each of the cells [V, 3], which differ, is one of the others [Q, 3]: [V] bool."""
    found = torch.zeros(len(cells), dtype=torch.bool, device=cells.device)
    if len(others) and len(cells):
        here = torch.zeros(1, 3, dtype=torch.int32, device=cells.device)
        splits, wanted = (torch.tensor([0, len(part)]) for part in (cells, others))
        (rows,) = kernel_map(cells, splits, here, torch.from_numpy(others).to(cells.device), wanted)
        found[rows[rows >= 0]] = True
    return found


def strata_of_classes(utilities: Tensor, voxels: Voxels, classes: Tensor, count: int) -> Tensor:
    """[V, count]: the utility of a voxel in the column of the class that most of its points are
    predicted as (the lowest of several), -inf in the others. A voxel without any is in none.

    Args:
        classes: [N] train ids, 255 for none.
    """
    histogram = voxel_class_histogram(classes, voxels, count)
    most, where = histogram.max(1)
    columns = torch.arange(count, device=where.device)
    inside = (columns == where[:, None]) & (most > 0)[:, None]
    return torch.where(inside, utilities.double()[:, None], -torch.inf)


def _best_of_strata(
    voxels: Voxels, strata: Tensor, exclude: Tensor, rule: PickRule
) -> tuple[tuple[VoxelPick, ...], ...]:
    """As `top_voxels` of each column of strata [V, G], of all columns at once."""
    if strata.isnan().any():
        raise ValueError("strata: expected no NaN")
    rows = (~exclude).nonzero()[:, 0]
    columns = strata[rows].T.contiguous()
    most = min(rule.batch_size, len(rows))
    if most == 0:
        return ((),) * len(columns)
    least = columns.topk(most, 1).values[:, -1:]  # only from here on a hash and a sort are needed
    stratum, at = ((columns >= least) & (columns > -torch.inf)).nonzero().unbind(1)
    utilities, found = columns[stratum, at], rows[at]
    seed = torch.tensor(rule.seed, device=strata.device)
    order = tie_hash(seed, voxels.cells[found]).argsort(stable=True)
    order = order[utilities[order].argsort(descending=True, stable=True)]
    order = order[stratum[order].argsort(stable=True)]
    sizes = stratum.bincount(minlength=len(columns)).tolist()
    parts = [part[:most] for part in order.split(sizes)]
    order = torch.cat(parts)
    picks = iter(_picks(voxels, found[order], utilities[order]))
    return tuple(tuple(islice(picks, len(part))) for part in parts)


def _picks(voxels: Voxels, best: Tensor, utilities: Tensor) -> list[VoxelPick]:
    """Of the voxels `best` [n] with these utilities [n]."""
    members = voxels.members.cpu().numpy()  # no copy of what is on the CPU
    found = zip(
        *(values.tolist() for values in (voxels.cells[best], utilities)),
        *(voxels.splits[rows].tolist() for rows in (best, best + 1)),
        strict=True,
    )
    return [
        VoxelPick(tuple(cell), float(utility), stop - start, members[start:stop])
        for cell, utility, start, stop in found
    ]
