"""The public kernels: arguments are checked here once, then :mod:`.ops` does the work."""

from __future__ import annotations

import torch
from torch import Tensor

from . import checks, ops
from .reference import tie_hash
from .score import SCORE_ONE, score_table
from .voxels import IGNORE, Voxels


def voxelize(points: Tensor, size: float, splits: Tensor | None = None) -> Voxels:
    """Group points into cubic voxels: cell = floor(xyz / size), both float32, IEEE division.

    Args:
        points: [N, 3+] float32, xyz in metres first; further columns are not read.
        size: edge of a voxel in metres.
        splits: [B+1] int64, scan b has the rows ``splits[b]:splits[b+1]``; default one scan.

    Raises:
        ValueError: wrong type, shape or device; NaN or Inf coordinates; cells beyond 32 bits.
    """
    checks.tensor("points", points, (None, None), (torch.float32,))
    if points.shape[1] < 3:
        checks.fail("points", "shape [N, 3 or more]", list(points.shape))
    splits = checks.row_splits("splits", splits, points.shape[0], points)
    return Voxels(*ops.voxelize(points.detach(), checks.voxel_size(size), splits))


def group_cells(cells: Tensor, splits: Tensor | None = None) -> Voxels:
    """Group points whose integer cells [N, 3] int32 are known; otherwise as :func:`voxelize`."""
    checks.tensor("cells", cells, (None, 3), (torch.int32,))
    splits = checks.row_splits("splits", splits, cells.shape[0], cells)
    return Voxels(*ops.group_cells(cells, splits))


def voxel_class_histogram(labels: Tensor, voxels: Voxels, num_classes: int) -> Tensor:
    """Number of points of each class in each voxel.

    Args:
        labels: [N] integer train ids, 0..num_classes-1; 255 (ignore) counts nowhere.
        voxels: of these N points.
        num_classes: 1..255.

    Returns:
        [V, num_classes] int32.

    Raises:
        ValueError: wrong type, shape or device; a label that is neither a class nor 255.
    """
    checks.integer("num_classes", num_classes, 1, IGNORE)
    checks.tensor("labels", labels, tuple(voxels.members.shape), checks.INTEGERS, voxels.members)
    return ops.histogram(labels, *_layout(voxels), num_classes)


def voxel_confusion(prediction: Tensor, voxels: Voxels, num_classes: int) -> Tensor:
    """Voxel confusion degree: entropy in bits of the predicted classes of a voxel's points.

    ``-sum_c p_c log2 p_c`` with p_c the share of class c (Annotator, NeurIPS 2023), over all points
    of the voxel whose label is not 255; 0 where there is none. Computed in integers, so every
    order of the points, number of threads and device gives the same bits.

    Args:
        prediction: logits [N, num_classes] float of any precision (the lowest of equally good
            classes counts) or labels [N] integer, 0..num_classes-1 or 255.
        voxels: of these N points.
        num_classes: 1..255.

    Returns:
        [V] int64, one bit is ``SCORE_ONE``.

    Raises:
        ValueError: wrong type, shape or device; NaN or Inf logits; a label that is neither a class
            nor 255; more points in a voxel than can be scored.
    """
    checks.integer("num_classes", num_classes, 1, IGNORE)
    rows = voxels.members.shape[0]
    if isinstance(prediction, Tensor) and prediction.dim() == 2:
        checks.tensor("prediction", prediction, (rows, num_classes), checks.FLOATS, voxels.members)
    else:
        checks.tensor("prediction", prediction, (rows,), checks.INTEGERS, voxels.members)
    table = score_table(int(voxels.counts.max()) if len(voxels) else 0)
    return ops.confusion(prediction.detach(), *_layout(voxels), table, num_classes)


def voxel_reduce(values: Tensor, voxels: Voxels, how: str) -> Tensor:
    """Maximum or mean of a point score over the points of each voxel.

    The mean sums multiples of 2^-32, so that it does not depend on the order of the points: its
    error is below 2^-33 plus the rounding to the dtype of the values.

    Args:
        values: [N] float of any precision.
        voxels: of these N points.
        how: 'max' or 'mean'.

    Returns:
        [V], dtype of the values.

    Raises:
        ValueError: wrong type, shape, device or ``how``; NaN or Inf; values too large to sum.
    """
    checks.tensor("values", values, tuple(voxels.members.shape), checks.FLOATS, voxels.members)
    if how not in ("max", "mean"):
        checks.fail("how", "'max' or 'mean'", repr(how))
    values, index = values.detach(), voxels.point_to_voxel
    checks.finite_rows("values", values, voxels.scan[index])
    if how == "max":
        lowest = values.new_full((len(voxels),), float("-inf"))
        return lowest.scatter_reduce(0, index, values, "amax")
    if len(values) and values.abs().max().double() * int(voxels.counts.max()) >= 2.0**31:
        checks.fail("values", "a sum over each voxel below 2^31", float(values.abs().max()))
    fixed = (values.double() * SCORE_ONE).round().long()
    total = fixed.new_zeros(len(voxels)).index_add(0, index, fixed)
    return (total.double() / voxels.counts / SCORE_ONE).to(values.dtype)


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
        picks.append(_best(scores, voxels.cells, rows, k, seeds[scan]))
    return picks


def kernel_map(
    cells: Tensor,
    scan_splits: Tensor,
    offsets: Tensor,
    out_cells: Tensor | None = None,
    out_splits: Tensor | None = None,
    stride: int = 1,
) -> Tensor:
    """Rows of the input cells that a sparse convolution gathers for each output cell.

    Args:
        cells: [V, 3] int32, input cells, unique within a scan.
        scan_splits: [B+1] int64, scan b has the rows ``scan_splits[b]:scan_splits[b+1]``.
        offsets: [K, 3] int32.
        out_cells: [Vout, 3] int32, output cells in units of ``stride``; default ``cells``.
        out_splits: [B+1] int64 of the output cells; default ``scan_splits``.
        stride: input cells per output cell, >= 1.

    Returns:
        [K, Vout] int64: row of the input cell at ``out_cells[v] * stride + offsets[k]`` in the same
        scan, or -1.

    Raises:
        ValueError: wrong type, shape or device; repeated input cells.
    """
    checks.tensor("cells", cells, (None, 3), (torch.int32,))
    if scan_splits is None:
        checks.fail("scan_splits", "a torch tensor", None)
    scan_splits = checks.row_splits("scan_splits", scan_splits, cells.shape[0], cells)
    checks.tensor("offsets", offsets, (None, 3), (torch.int32,), cells)
    checks.integer("stride", stride, 1, 2**20)
    if (out_cells is None) != (out_splits is None):
        checks.fail("out_cells, out_splits", "both or neither", "one of them")
    if out_cells is None:
        out_cells, out_splits = cells, scan_splits
    else:
        checks.tensor("out_cells", out_cells, (None, 3), (torch.int32,), cells)
        out_splits = checks.row_splits("out_splits", out_splits, out_cells.shape[0], cells)
        if len(out_splits) != len(scan_splits):
            checks.fail("out_splits", f"{len(scan_splits) - 1} scans", len(out_splits) - 1)
    return ops.kernel_map(cells, scan_splits, offsets, out_cells, out_splits, stride)


def _layout(voxels: Voxels) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return voxels.point_to_voxel, voxels.members, voxels.splits, voxels.scan


def _best(scores: Tensor, cells: Tensor, rows: Tensor, k: int, seed: Tensor) -> Tensor:
    if k == 0:
        return rows[:0]
    if k < len(rows):  # only those that can be among the best need a hash and a sort
        candidates = scores[rows]
        rows = rows[candidates >= candidates.topk(k).values[-1]]
    rows = rows[tie_hash(seed, cells[rows]).argsort(stable=True)]
    return rows[scores[rows].argsort(descending=True, stable=True)[:k]]
