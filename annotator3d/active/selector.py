"""The selector: scores and what was asked before become the next questions.

Selection is a pure function of (scan, prediction, cells asked before, strategy, seed): neither the
order of the points nor other scans, processes or earlier calls have a say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.records import Cell
from annotator3d.active.strategies import Strategy, get_strategy
from annotator3d.kernels import SCORE_ONE, Voxels, top_voxels, voxelize

Array = np.ndarray | Tensor


@dataclass(frozen=True)
class Pick:
    """A voxel to ask about; the ledger takes it as it is."""

    cell: Cell
    score: float  # vcd, entropy: bits; margin: minus the probability gap; random: 0
    num_points: int
    point_rows: NDArray[np.int64] = field(compare=False, repr=False)  # rows of xyz, ascending


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


def scan_seed(seed: int, scan_id: str) -> int:
    """Seed of the tie-break in one scan: 63 bits, the same on every machine."""
    return _hash(seed, scan_id) >> 1


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
) -> ScoredScan:
    """Score every voxel of a raw, un-augmented scan.

    Args:
        xyz: [N, 3] float32 metres, sensor frame, finite.
        strategy: registered name or an instance.
        voxel_size: edge in metres.
        logits: [N, num_classes] float; or instead of it
        labels_pred: [N] integer predicted train ids, 255 = none (vcd); or
        point_scores: [N] float, the strategy's score per point (entropy, margin).

    Raises ValueError, naming the scan, for input that does not fit or is not finite.
    """
    chosen = get_strategy(strategy) if isinstance(strategy, str) else strategy
    given = [p for p in (logits, labels_pred, point_scores) if p is not None]
    if len(given) > 1 or (chosen.needs_model and not given):
        raise ValueError(
            f"scan {scan_id}: strategy {chosen.name!r} needs one of logits, labels_pred and "
            f"point_scores, got {len(given)} of them"
        )
    prediction = _tensor(given[0]) if given else None
    points = _tensor(xyz)
    if prediction is not None:
        points = points.to(prediction.device)
    try:
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
    """The best voxels of a scored scan, at most `budget`, best first; see `select_scan`."""
    voxels, cells = scored.voxels, scored.voxels.cells
    exclude = voxels.counts < min_points
    if asked_cells is not None and len(asked_cells):
        asked = torch.tensor(asked_cells, dtype=torch.int32, device=cells.device)
        exclude |= (cells[:, None] == asked[None]).all(2).any(1)
    if max_range is not None:
        centre = (cells[:, :2].double() + 0.5) * voxel_size
        exclude |= (centre * centre).sum(1) > float(max_range) ** 2
    seeds = torch.tensor([scan_seed(seed, scan_id)], device=cells.device)
    (best,) = top_voxels(scored.scores, voxels, budget, seeds, exclude)
    return [_pick(scored, index) for index in best.tolist()]


def select_scan(
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
    asked_cells: NDArray[np.int32] | None = None,
    max_range: float | None = None,
    min_points: int = 1,
) -> list[Pick]:
    """Choose the voxels of one scan to ask about: `score_scan`, then `pick_voxels`.

    Args:
        xyz, strategy, num_classes, voxel_size, logits, labels_pred, point_scores: `score_scan`.
        seed: of the run; equal scores are ordered by a hash of (seed, scan id, cell).
        budget: most voxels to pick; fewer come back when fewer are left.
        asked_cells: [Q, 3] int32 cells that are never picked (`Ledger.asked_cells`).
        max_range: only voxels whose centre is within this many metres of the sensor, horizontally.
        min_points: only voxels of at least this many points.

    Raises ValueError, naming the scan, for input that does not fit or is not finite.
    """
    scored = score_scan(
        xyz,
        strategy,
        scan_id=scan_id,
        num_classes=num_classes,
        voxel_size=voxel_size,
        logits=logits,
        labels_pred=labels_pred,
        point_scores=point_scores,
    )
    return pick_voxels(
        scored,
        scan_id=scan_id,
        seed=seed,
        budget=budget,
        voxel_size=voxel_size,
        asked_cells=asked_cells,
        max_range=max_range,
        min_points=min_points,
    )


def limit_round(
    picks_by_scan: Mapping[str, Sequence[Pick]], max_queries: int | None, seed: int, round: int
) -> dict[str, list[Pick]]:
    """Keep the `max_queries` best picks of all scans (all if None), scans in order of their id.

    Equal scores: the better rank in its scan first, then a hash of (seed, round, scan id), so that
    ties do not favour the same scans in every round. What is kept of a scan are its first picks.
    """
    ordered = sorted(
        (-pick.score, rank, _hash(seed, f"{round}\0{scan}"), scan)
        for scan, picks in picks_by_scan.items()
        for rank, pick in enumerate(picks)
    )
    kept: dict[str, list[Pick]] = {}
    for _, rank, _, scan in sorted(ordered[:max_queries], key=lambda item: (item[3], item[1])):
        kept.setdefault(scan, []).append(picks_by_scan[scan][rank])
    return kept


def _hash(seed: int, scan_id: str) -> int:
    digest = hashlib.blake2b(f"{seed}\0{scan_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _tensor(values: Array) -> Tensor:
    # A copy: torch warns of numpy arrays that are not writable.
    return values.detach() if isinstance(values, Tensor) else torch.tensor(values)


def _pick(scored: ScoredScan, index: int) -> Pick:
    voxels = scored.voxels
    start, stop = voxels.splits[index : index + 2].tolist()
    x, y, z = voxels.cells[index].tolist()
    rows = voxels.members[start:stop].cpu().numpy()
    return Pick((x, y, z), float(scored.values[index]), stop - start, rows)
