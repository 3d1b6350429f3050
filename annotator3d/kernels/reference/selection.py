"""The whole selection of a batch: voxels, their scores, the best of each scan."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.kernels import checks
from annotator3d.kernels.reference.grouping import VoxelTensors, scan_of_row, voxelize
from annotator3d.kernels.reference.neighbours import rows_of
from annotator3d.kernels.reference.scores import confusion, entropy_and_margin, reduce_fixed
from annotator3d.kernels.request import SelectionRequest
from annotator3d.kernels.score_table import score_table

SelectionTensors = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def select(request: SelectionRequest) -> SelectionTensors:
    """The best k voxels of each scan: see :func:`annotator3d.kernels.select_voxels`.

    Returns:
        cells [B, k, 3] int32, scores [B, k] int64, counts [B, k] int64 (all 0 where fewer than k
        voxels may be picked), pick_of_point [N] int32 (rank of the pick that the point lies in, or
        -1), score of each point's voxel [N] int64 ([0] unless wanted), status [1] int64: 0, or else
        the path met a bad value, and the other tensors mean nothing.
    """
    points, splits, k = request.points, request.splits, request.k
    group = voxelize(points, request.size, splits)
    cells, _, point_to_voxel, _, members_splits, scan_splits = group
    counts = members_splits.diff()
    scores = _voxel_scores(group, request)
    allowed = counts >= request.min_points
    allowed &= in_range(cells, request.size, request.max_range)
    again = rows_of(cells, scan_splits, request.asked.long()[None], request.asked_splits)[0]
    allowed[again[again >= 0]] = False

    b, n = len(splits) - 1, len(points)
    out_cells = cells.new_zeros(b, k, 3)
    out_scores, out_counts = scores.new_zeros(b, k), scores.new_zeros(b, k)
    pick_of_voxel = torch.full((len(cells),), -1, dtype=torch.int32, device=cells.device)
    bounds = scan_splits.tolist()
    for s, (start, stop) in enumerate(zip(bounds, bounds[1:], strict=False)):
        candidates = start + allowed[start:stop].nonzero()[:, 0]
        best = top_rows(scores, cells, candidates, k, request.seeds[s])
        out_cells[s, : len(best)] = cells[best]
        out_scores[s, : len(best)] = scores[best]
        out_counts[s, : len(best)] = counts[best]
        pick_of_voxel[best] = torch.arange(len(best), dtype=torch.int32, device=cells.device)
    per_point = scores[point_to_voxel] if request.want_scores else scores.new_zeros(0)
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


def _voxel_scores(group: VoxelTensors, request: SelectionRequest) -> Tensor:
    """[V] int64, what the voxels are ordered by."""
    _, scan, point_to_voxel, members, members_splits, _ = group
    if request.score == "none":
        return torch.zeros_like(scan)
    prediction = _of_points(request)
    counts = members_splits.diff()
    if request.score == "vcd":
        table = score_table(int(counts.max()) if len(counts) else 0)
        layout = (point_to_voxel, members, members_splits, scan)
        return confusion(prediction, *layout, table, request.num_classes)
    checks.finite_rows("prediction", prediction, scan_of_row(request.splits))
    entropy, margin = entropy_and_margin(prediction)
    if request.score == "entropy":
        return reduce_fixed(entropy, point_to_voxel, counts, request.reduce)
    return -reduce_fixed(margin, point_to_voxel, counts, request.reduce)


def _of_points(request: SelectionRequest) -> Tensor:
    """The prediction, a row for each point."""
    prediction, rows = request.prediction, request.rows
    if not len(rows) and len(request.points):
        return prediction
    checks.row_range("rows", rows, len(prediction), missing=False)
    # Words that name a scan where points are affected; rows of no point are checked as well.
    if prediction.dim() == 2:
        checks.finite_rows("prediction", prediction[rows], scan_of_row(request.splits))
        checks.finite_rows("prediction", prediction, None)
    else:
        checks.label_range("prediction", prediction.long(), request.num_classes)
    return prediction[rows]


def _splitmix64(x: Tensor) -> Tensor:
    def shifted(x: Tensor, bits: int) -> Tensor:  # a logical shift: int64 shifts the sign in
        return (x >> bits) & ((1 << (64 - bits)) - 1)

    x = x - 0x61C8864680B583EB  # + 0x9E3779B97F4A7C15 modulo 2^64
    x = (x ^ shifted(x, 30)) * -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
    x = (x ^ shifted(x, 27)) * -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB
    return x ^ shifted(x, 31)
