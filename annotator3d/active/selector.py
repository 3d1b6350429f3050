"""Scoring and choosing voxels step by step: for strategies that the kernels do not know.

A strategy that they do know gets the same picks here as in one pass (`selector.select_scored`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.budget import Pick, limit_round, scan_seed
from annotator3d.active.strategies import Strategy, get_strategy
from annotator3d.kernels import SCORE_ONE, Voxels, cells_in_range, select_voxels, top_voxels
from annotator3d.kernels.grouping import voxelize

__all__ = [
    "Pick",
    "ScanSelection",
    "ScoredScan",
    "limit_round",
    "pick_voxels",
    "scan_seed",
    "score_scan",
    "select_scan",
    "select_scored",
]

Array = np.ndarray | Tensor


@dataclass(frozen=True)
class ScoredScan:
    """The voxels of one scan with their scores."""

    voxels: Voxels
    scores: Tensor  # [V] int64 in units of 1 / SCORE_ONE, or float64

    @property
    def values(self) -> Tensor:
        """[V] float64 scores in the unit of `Pick.score`."""
        fixed = not self.scores.is_floating_point()
        return self.scores.double() / SCORE_ONE if fixed else self.scores

    def per_point(self) -> NDArray[np.float32]:
        """[N] score of the voxel that each point lies in."""
        return self.values[self.voxels.point_to_voxel].float().cpu().numpy()


def score_scan(
    xyz: Array,
    strategy: str | Strategy,
    *,
    scan_id: str,
    num_classes: int,
    voxel_size: float = 0.25,
    logits: Tensor | None = None,
    labels_pred: Array | None = None,
    point_scores: Array | None = None,
    rows: Array | None = None,
) -> ScoredScan:
    """Score every voxel of a raw, un-augmented scan; arguments as `selector.select_scored`.

    Raises ValueError, naming the scan, for input that does not fit or is not finite.
    """
    chosen = get_strategy(strategy) if isinstance(strategy, str) else strategy
    given = [p for p in (logits, labels_pred, point_scores) if p is not None]
    if len(given) > 1 or (chosen.needs_model and not given):
        raise ValueError(
            f"scan {scan_id}: strategy {chosen.name!r} needs one of logits, labels_pred and "
            f"point_scores, got {len(given)} of them"
        )
    prediction = as_tensor(given[0]) if given else None
    points = as_tensor(xyz)
    try:
        if prediction is not None:
            points = points.to(prediction.device)
            prediction = _of_points(prediction, rows)
        voxels = voxelize(points, voxel_size)
        return ScoredScan(voxels, chosen.score(voxels, prediction, num_classes))
    except ValueError as error:
        raise ValueError(f"scan {scan_id}: {error}") from error


def pick_voxels(
    scored: ScoredScan,
    *,
    scan_id: str,
    seed: int,
    budget: int,
    voxel_size: float = 0.25,
    asked_cells: NDArray[np.int32] | None = None,
    max_range: float | None = None,
    min_points: int = 1,
) -> list[Pick]:
    """The best voxels of a scored scan, at most `budget`, best first; see `select_scored`."""
    voxels, cells = scored.voxels, scored.voxels.cells
    exclude = voxels.counts < min_points
    if asked_cells is not None and len(asked_cells):
        exclude |= _among(cells, asked_cells)
    if max_range is not None:
        exclude |= ~cells_in_range(cells, voxel_size, max_range)
    seeds = torch.tensor([scan_seed(seed, scan_id)], device=cells.device)
    (best,) = top_voxels(scored.scores, voxels, budget, seeds, exclude)
    return [_pick(scored, index) for index in best.tolist()]


def as_tensor(values: Array) -> Tensor:
    """A tensor of these values."""
    # A copy: torch warns of numpy arrays that are not writable.
    return values.detach() if isinstance(values, Tensor) else torch.tensor(values)


def _of_points(prediction: Tensor, rows: Array | None) -> Tensor:
    if rows is None:
        return prediction
    rows = as_tensor(rows).to(prediction.device)
    wrong = (rows < 0) | (rows >= len(prediction))
    if wrong.any():
        raise ValueError(
            f"rows: expected row numbers 0..{len(prediction) - 1}, got {int(rows[wrong][0])} "
            f"({int(wrong.sum())} wrong in all)"
        )
    return prediction[rows]


def _among(cells: Tensor, asked: NDArray[np.int32]) -> Tensor:
    """Which of the cells [V, 3] are among those asked: [V] bool."""
    both = torch.cat([cells, torch.tensor(asked, dtype=torch.int32, device=cells.device)])
    _, number = both.unique(dim=0, return_inverse=True)
    return torch.isin(number[: len(cells)], number[len(cells) :])


def _pick(scored: ScoredScan, index: int) -> Pick:
    voxels = scored.voxels
    start, stop = voxels.splits[index : index + 2].tolist()
    x, y, z = voxels.cells[index].tolist()
    rows = voxels.members[start:stop].cpu().numpy()
    return Pick((x, y, z), float(scored.values[index]), stop - start, rows)


Array = np.ndarray | Tensor


@dataclass(frozen=True)
class ScanSelection:
    """The chosen voxels of one scan, best first, and how its points scored."""

    picks: list[Pick]
    point_scores: NDArray[np.float32]  # [N] score of the voxel that each point lies in


def select_scan(xyz: Array, strategy: str | Strategy, **arguments) -> list[Pick]:
    """Choose the voxels of one scan to ask about: the picks of `select_scored`."""
    return select_scored(xyz, strategy, **arguments).picks


def select_scored(
    xyz: Array,
    strategy: str | Strategy,
    *,
    scan_id: str,
    seed: int,
    budget: int,
    num_classes: int,
    voxel_size: float = 0.25,
    logits: Tensor | None = None,
    labels_pred: Array | None = None,
    point_scores: Array | None = None,
    rows: Array | None = None,
    asked_cells: NDArray[np.int32] | None = None,
    max_range: float | None = None,
    min_points: int = 1,
) -> ScanSelection:
    """Score the voxels of a raw, un-augmented scan and choose which to ask about.

    Strategies that the kernels know (`Strategy.fused`) take one pass over the points; others are
    scored step by step (`score_scan`, `pick_voxels`). Both ways give a strategy the same picks.

    Args:
        xyz: [N, 3] float32 metres, sensor frame, finite.
        strategy: registered name or an instance.
        seed: of the run; equal scores are ordered by a hash of (seed, scan id, cell).
        budget: most voxels to pick; fewer come back when fewer are left.
        voxel_size: edge in metres.
        logits: [M, num_classes] float; or instead of it
        labels_pred: [M] integer predicted train ids, 255 = none (vcd); or
        point_scores: [M] float, the strategy's score per point (entropy, margin).
        rows: [N] int64, the row of the prediction of each point, as of a network's voxels; default:
            M = N, point by point.
        asked_cells: [Q, 3] int32 cells that are never picked (`Ledger.asked_cells`).
        max_range: only voxels whose centre is within this many metres of the sensor, horizontally.
        min_points: only voxels of at least this many points.

    Raises ValueError, naming the scan, for input that does not fit or is not finite.
    """
    chosen = get_strategy(strategy) if isinstance(strategy, str) else strategy
    given = {"logits": logits, "labels_pred": labels_pred, "point_scores": point_scores}
    given = {name: as_tensor(p) for name, p in given.items() if p is not None}
    if not _fits_kernels(chosen, given):
        common = {"scan_id": scan_id, "voxel_size": voxel_size}
        scored = score_scan(xyz, chosen, num_classes=num_classes, rows=rows, **given, **common)
        limits = {"asked_cells": asked_cells, "max_range": max_range, "min_points": min_points}
        picks = pick_voxels(scored, seed=seed, budget=budget, **limits, **common)
        return ScanSelection(picks, scored.per_point())
    prediction = next(iter(given.values()), None)
    device = "cpu" if prediction is None else prediction.device
    asked = np.zeros((0, 3), np.int32) if asked_cells is None else asked_cells
    try:
        found = select_voxels(
            as_tensor(xyz).to(device),
            voxel_size,
            prediction,
            num_classes,
            score=chosen.fused,
            reduce=chosen.reduce,
            k=budget,
            seeds=[scan_seed(seed, scan_id)],
            rows=None if rows is None or prediction is None else as_tensor(rows).to(device),
            asked=torch.tensor(asked, dtype=torch.int32),
            asked_splits=torch.tensor([0, len(asked)]),
            min_points=min_points,
            max_range=max_range,
            want_scores=True,
        )
    except ValueError as error:
        raise ValueError(f"scan {scan_id}: {error}") from error
    picks = [
        Pick(pick.cell, pick.score / SCORE_ONE, pick.count, pick.rows.numpy())
        for pick in found.picks()
    ]
    return ScanSelection(picks, (found.point_scores.double() / SCORE_ONE).float().cpu().numpy())


def _fits_kernels(strategy: Strategy, given: Mapping[str, Tensor]) -> bool:
    """Whether the kernels select from this prediction in one pass.

    What they do not take goes step by step: there the strategy says what is wrong with it.
    """
    if strategy.fused is None or len(given) > 1:
        return False
    if strategy.fused == "none":
        return True
    for name, prediction in given.items():
        floats = prediction.is_floating_point()
        if name == "logits":
            return floats and prediction.dim() == 2
        return name == "labels_pred" and strategy.fused == "vcd" and not floats
    return False
