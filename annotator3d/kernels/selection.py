"""Public kernels that choose voxels. Arguments are checked here once, :mod:`.ops` does the work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import sub

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.kernels import checks, ops, reference
from annotator3d.kernels.labels import IGNORE
from annotator3d.kernels.request import SelectionRequest
from annotator3d.kernels.score_table import MAX_POPULATION, SCORE_ONE, score_table
from annotator3d.kernels.voxels import Voxels


@dataclass(frozen=True)
class VoxelPick:
    """A voxel chosen in a scan."""

    cell: tuple[int, int, int]
    """floor(xyz / voxel_size) of each axis."""
    utility: float
    """What it was picked by. Kernels: vcd, entropy: bits; margin: minus the gap; none: 0."""
    num_points: int
    point_indices: NDArray[np.int64] = field(compare=False, repr=False)
    """[num_points] rows of its points, ascending."""
    label_points: tuple[int, ...] | None = None
    """Places, among its points in file order from 0, of those that an answer labels; None: all. A
    strategy may name some, the best first; how many are asked about is up to the run."""

    @property
    def num_labels(self) -> int:
        """How many labels an answer has."""
        return self.num_points if self.label_points is None else len(self.label_points)


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
    point_utilities: Tensor | None
    """[N] int64, score of the voxel that the point lies in, if asked for."""
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
        return [
            VoxelPick(tuple(cell), score / SCORE_ONE, n, part.numpy())
            for cell, score, n, part in found
        ]


SCORES = ("none", "vcd", "entropy", "margin")


def top_voxels(
    scores: Tensor, voxels: Voxels, k: int, seeds: Tensor, exclude: Tensor | None = None
) -> list[Tensor]:
    """The best k voxels of each scan.

    Order: higher score, then a hash of (seed of the scan, cell), then lower voxel index. What is
    picked in a scan hence depends on that scan, its scores and its seed only.

    Args:
        scores: [V] int64 or float.
        voxels: of B scans.
        k: voxels per scan, >= 0.
        seeds: [B] int64.
        exclude: [V] bool, True where a voxel may not be picked.

    Returns:
        B int64 tensors of at most k voxel indices each, best first.

    Raises:
        ValueError: wrong type, shape or device; NaN scores.
    """
    v, b = len(voxels), len(voxels.scan_splits) - 1
    checks.tensor("scores", scores, (v,), (torch.int64, *checks.FLOATS), voxels.cells)
    checks.tensor("seeds", seeds, (b,), (torch.int64,), voxels.cells)
    checks.integer("k", k, 0, 2**31 - 1)
    scores = scores.detach()
    if (wrong := int(scores.isnan().sum())) > 0:
        checks.fail("scores", "no NaN", f"{wrong} of them")
    allowed = None
    if exclude is not None:
        allowed = ~checks.tensor("exclude", exclude, (v,), (torch.bool,), voxels.cells)
    picks = []
    bounds = voxels.scan_splits.tolist()
    for scan, (start, stop) in enumerate(zip(bounds, bounds[1:], strict=False)):
        rows = torch.arange(start, stop, device=scores.device)
        if allowed is not None:
            rows = rows[allowed[start:stop]]
        picks.append(reference.top_rows(scores, voxels.cells, rows, k, seeds[scan]))
    return picks


def select_voxels(
    points: Tensor,
    size: float,
    prediction: Tensor | None = None,
    num_classes: int = 1,
    *,
    score: str = "vcd",
    k: int,
    seeds: Tensor | Sequence[int],
    splits: Tensor | None = None,
    rows: Tensor | None = None,
    asked: Tensor | None = None,
    asked_splits: Tensor | None = None,
    reduce: str = "max",
    min_points: int = 1,
    max_range: float | None = None,
    want_scores: bool = False,
) -> Selection:
    """Score the voxels of each scan and choose the best k, in one pass.

    The same as :func:`voxelize`, then :func:`voxel_confusion` or :func:`entropy_and_margin` and
    :func:`voxel_reduce`, then :func:`top_voxels`, whose order of equal scores it has.

    Args:
        points: [N, 3+] float32, xyz in metres first; further columns are not read.
        size: edge of a voxel in metres.
        prediction: logits [M, num_classes] float of any precision; or, for 'vcd', labels [M]
            integer, 0..num_classes-1 or 255; not read for 'none'.
        num_classes: 1..255.
        score: 'vcd' (entropy of the predicted classes in a voxel), 'entropy', 'margin' (minus the
            reduced margin of its points: the lowest is asked first) or 'none' (all 0).
        k: most voxels per scan, >= 0.
        seeds: [B] int64, of the tie-break.
        splits: [B+1] int64, scan b has the points ``splits[b]:splits[b+1]``; default one scan.
        rows: [N] int64, the row of the prediction of each point (its network voxel); default: row
            i is point i's, M = N.
        asked, asked_splits: [Q, 3] int32 cells that are not chosen again, and [B+1] int64 of them.
        reduce: 'max' or 'mean' (rounded down) of the points' entropy or margin.
        min_points: only voxels of at least this many points.
        max_range: only voxels whose centre lies horizontally within this many metres of the origin.
        want_scores: fill ``Selection.point_utilities``.

    Raises:
        ValueError: wrong type, shape, device or word; NaN or Inf coordinates or logits; cells
            beyond 32 bits; a label that is neither a class nor 255; a row of no prediction; more
            points in a voxel than can be scored.
    """
    checks.tensor("points", points, (None, None), (torch.float32,))
    if points.shape[1] < 3:
        checks.fail("points", "shape [N, 3 or more]", list(points.shape))
    n = points.shape[0]
    ends = checks.row_bounds("splits", splits, n, points)
    longest = max(map(sub, ends[1:], ends), default=0)
    bounds = torch.from_numpy(np.array(ends, np.int64))
    prediction, rows = _scoring(points, prediction, rows, num_classes, score, reduce, longest)
    choice = _choice(points, len(ends) - 1, asked, asked_splits, seeds, k, longest)
    limits = (checks.integer("min_points", min_points, 0, 2**31), _range(max_range), want_scores)
    population = min(longest, MAX_POPULATION) if score == "vcd" else 0
    table = score_table(population, points.device)
    splits = checks.on_device(bounds, points)
    edge = checks.voxel_size(size)
    scoring = (prediction, rows, num_classes, score, reduce, table)
    request = SelectionRequest(points.detach(), splits, edge, *scoring, *choice, *limits)
    *found, status = ops.select(*request)
    if int(status):
        reference.select(request)
        raise AssertionError("a compiled path refuses a value that the reference takes")
    cells, scores, counts, pick_of_point, per_point = found
    per_point = per_point if want_scores else None
    return Selection(cells, scores, counts, pick_of_point, per_point, bounds)


def cells_in_range(cells: Tensor, size: float, max_range: float | None) -> Tensor:
    """Whether the centre of a cell [V, 3] int32 lies horizontally within max_range metres of the
    origin, [V] bool: the filter of :func:`select_voxels`.

    Raises:
        ValueError: wrong type, shape or range.
    """
    checks.tensor("cells", cells, (None, 3), (torch.int32,))
    return reference.in_range(cells, checks.voxel_size(size), _range(max_range))


def _scoring(
    points: Tensor,
    prediction: Tensor | None,
    rows: Tensor | None,
    num_classes: int,
    score: str,
    reduce: str,
    longest: int,
) -> tuple[Tensor, Tensor]:
    """Prediction and rows as the paths take them."""
    checks.choice("score", score, SCORES)
    checks.choice("reduce", reduce, ("max", "mean"))
    checks.integer("num_classes", num_classes, 1, IGNORE)
    nothing = points.new_zeros(0, dtype=torch.int64)
    if score == "none":
        return points.new_zeros(0), nothing
    if rows is not None:
        checks.tensor("rows", rows, (points.shape[0],), (torch.int64,), points)
    m = points.shape[0] if rows is None else None
    if score != "vcd" or (isinstance(prediction, Tensor) and prediction.dim() == 2):
        checks.tensor("prediction", prediction, (m, num_classes), checks.FLOATS, points)
        if score != "vcd" or prediction.dtype != torch.float64:
            prediction = prediction.float()  # halves: exact
    else:
        checks.tensor("prediction", prediction, (m,), checks.INTEGERS, points)
        if prediction.dtype in (torch.int8, torch.int16):
            prediction = prediction.long()
    if reduce == "mean" and longest >= 2**27:  # times 8 bits: below 2^63 in fixed point
        checks.fail("splits", "fewer than 2^27 points in a scan to take means over", longest)
    return prediction.detach().contiguous(), nothing if rows is None else rows.contiguous()


def _choice(
    points: Tensor,
    scans: int,
    asked: Tensor | None,
    asked_splits: Tensor | None,
    seeds: Tensor | Sequence[int],
    k: int,
    longest: int,
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Asked cells, their splits, seeds and k as the paths take them."""
    if asked is None:
        if asked_splits is not None:
            checks.fail("asked, asked_splits", "both or neither", "one of them")
        asked = points.new_zeros(0, 3, dtype=torch.int32)
        asked_splits = torch.zeros(scans + 1, dtype=torch.int64)
    checks.tensor("asked", asked, (None, 3), (torch.int32,))
    asked_splits = checks.row_splits("asked_splits", asked_splits, asked.shape[0], points)
    if (given := asked_splits.shape[0] - 1) != scans:
        checks.fail("asked_splits", f"{scans} scans", given)
    seeds = seeds if isinstance(seeds, Tensor) else torch.tensor(seeds, dtype=torch.int64)
    checks.tensor("seeds", seeds, (scans,), (torch.int64,))
    k = min(checks.integer("k", k, 0, 2**31 - 1), longest)
    asked = checks.on_device(asked.contiguous(), points)
    return asked, asked_splits, checks.on_device(seeds, points), k


def _range(max_range: float | None) -> float:
    if max_range is None:
        return math.inf
    number = isinstance(max_range, int | float) and not isinstance(max_range, bool)
    if not number or not max_range >= 0:
        checks.fail("max_range", "metres >= 0", repr(max_range))
    return float(max_range)
