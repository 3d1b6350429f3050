"""The whole selection of a batch: voxels, their scores, the best of each scan."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.kernels import checks
from annotator3d.kernels.reference.grouping import Group, scan_of_row, voxelize
from annotator3d.kernels.reference.neighbours import rows_of
from annotator3d.kernels.reference.scores import confusion, point_scores, reduce_fixed
from annotator3d.kernels.score_table import score_table

Selected = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def select(
    points: Tensor,
    splits: Tensor,
    size: float,
    prediction: Tensor,
    rows: Tensor,
    num_classes: int,
    score: str,
    reduce: str,
    table: Tensor,
    asked: Tensor,
    asked_splits: Tensor,
    seeds: Tensor,
    k: int,
    min_points: int,
    max_range: float,
    want_scores: bool,
) -> Selected:
    """The best k voxels of each scan: see :func:`annotator3d.kernels.select_voxels`.

    Args:
        prediction: logits [M, C] float32 (or float64 with score 'vcd'), labels [M] uint8, int32 or
            int64, or anything empty with score 'none'.
        rows: [N] int64, row of the prediction of each point; empty: row i is point i's (M = N).
        table: of :mod:`annotator3d.kernels.score_table`, long enough for the most crowded voxel of
            score 'vcd' unless that is beyond what can be scored; not read here.
        asked, asked_splits: [Q, 3] int32 and [B+1]: cells of each scan that are never picked.
        max_range: metres, inf for no limit.

    Returns:
        cells [B, k, 3] int32, scores [B, k] int64, counts [B, k] int64 (all 0 where fewer than k
        voxels may be picked), pick_of_point [N] int32 (rank of the pick that the point lies in, or
        -1), point_scores [N] int64 (of the point's voxel; [0] unless asked for), status [1] int64:
        0, or else the path met a bad value, and the other tensors mean nothing.
    """
    group = voxelize(points, size, splits)
    cells, _, point_to_voxel, _, members_splits, scan_splits = group
    counts = members_splits.diff()
    scores = _voxel_scores(group, splits, prediction, rows, num_classes, score, reduce)
    allowed = counts >= min_points
    allowed &= in_range(cells, size, max_range)
    again = rows_of(cells, scan_splits, asked.long()[None], asked_splits)[0]
    allowed[again[again >= 0]] = False

    b, n = len(splits) - 1, len(points)
    out_cells = cells.new_zeros(b, k, 3)
    out_scores, out_counts = scores.new_zeros(b, k), scores.new_zeros(b, k)
    pick_of_voxel = torch.full((len(cells),), -1, dtype=torch.int32, device=cells.device)
    bounds = scan_splits.tolist()
    for s, (start, stop) in enumerate(zip(bounds, bounds[1:], strict=False)):
        candidates = start + allowed[start:stop].nonzero()[:, 0]
        best = top_rows(scores, cells, candidates, k, seeds[s])
        out_cells[s, : len(best)] = cells[best]
        out_scores[s, : len(best)] = scores[best]
        out_counts[s, : len(best)] = counts[best]
        pick_of_voxel[best] = torch.arange(len(best), dtype=torch.int32, device=cells.device)
    per_point = scores[point_to_voxel] if want_scores else scores.new_zeros(0)
    status = torch.zeros(1, dtype=torch.int64, device=cells.device)
    picks = pick_of_voxel[point_to_voxel] if n else pick_of_voxel.new_zeros(0)
    return out_cells, out_scores, out_counts, picks, per_point, status


def top_rows(scores: Tensor, cells: Tensor, rows: Tensor, k: int, seed: Tensor) -> Tensor:
    """The best k of these voxel rows: higher score, then lower tie hash, then lower row."""
    if k == 0:
        return rows[:0]
    if k < len(rows):  # only those that can be among the best need a hash and a sort
        candidates = scores[rows]
        rows = rows[candidates >= candidates.topk(k).values[-1]]
    rows = rows[tie_hash(seed, cells[rows]).argsort(stable=True)]
    return rows[scores[rows].argsort(descending=True, stable=True)[:k]]


def in_range(cells: Tensor, size: float, max_range: float) -> Tensor:
    """Whether the centre of a cell lies horizontally within max_range metres: [V] bool."""
    edge = torch.full((1,), size, dtype=torch.float32, device=cells.device).double()
    centre = (cells[:, :2].double() + 0.5) * edge
    x, y = centre.unbind(1)
    return x * x + y * y <= max_range * max_range


def tie_hash(seed: Tensor, cells: Tensor) -> Tensor:
    """Order of equally good voxels: [V] int64 from seed (one int64) and cells [V, 3] int32.

    Three rounds of splitmix64 over the coordinates, wrapping in int64 on every device.
    """
    state = _splitmix64(seed)
    for axis in cells.long().unbind(1):
        state = _splitmix64(state ^ axis)
    return state


def _voxel_scores(
    group: Group,
    splits: Tensor,
    prediction: Tensor,
    rows: Tensor,
    num_classes: int,
    score: str,
    reduce: str,
) -> Tensor:
    _, scan, point_to_voxel, members, members_splits, _ = group
    if score == "none":
        return torch.zeros_like(scan)
    if len(rows) or not len(point_to_voxel):
        checks.row_range("rows", rows, len(prediction), missing=False)
        # Words that name a scan where points are affected; rows of no point are checked as well.
        if prediction.dim() == 2:
            checks.finite_rows("prediction", prediction[rows], scan_of_row(splits))
            checks.finite_rows("prediction", prediction, None)
        else:
            checks.label_range("prediction", prediction.long(), num_classes)
        prediction = prediction[rows]
    counts = members_splits.diff()
    if score == "vcd":
        table = score_table(int(counts.max()) if len(counts) else 0)
        layout = (point_to_voxel, members, members_splits, scan)
        return confusion(prediction, *layout, table, num_classes)
    checks.finite_rows("prediction", prediction, scan_of_row(splits))
    entropy, margin = point_scores(prediction)
    if score == "entropy":
        return reduce_fixed(entropy, point_to_voxel, counts, reduce)
    return -reduce_fixed(margin, point_to_voxel, counts, reduce)


def _splitmix64(x: Tensor) -> Tensor:
    def shifted(x: Tensor, bits: int) -> Tensor:  # a logical shift: int64 shifts the sign in
        return (x >> bits) & ((1 << (64 - bits)) - 1)

    x = x - 0x61C8864680B583EB  # + 0x9E3779B97F4A7C15 modulo 2^64
    x = (x ^ shifted(x, 30)) * -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
    x = (x ^ shifted(x, 27)) * -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB
    return x ^ shifted(x, 31)
