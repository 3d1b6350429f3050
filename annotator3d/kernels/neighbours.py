"""Public kernels: neighbours of cells and of points. Arguments are checked here once."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.kernels import checks, ops


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


def interpolation(
    points: Tensor,
    cells: Tensor,
    splits: Tensor | None = None,
    stride: int = 1,
    mode: str = "trilinear",
    point_splits: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Cells that :func:`devoxelize` reads for each point, and their weights.

    The value of a cell is taken to lie at its lowest corner (the convention of torchsparse): a
    point at q = points / stride lies among the 8 cells ``floor(q) + {0, 1}^3``. Cells that are not
    there get weight 0 and the others are scaled to sum 1; all are 0 where there is nothing to
    scale. Mode 'nearest' takes the one cell that the point lies in.

    Args:
        points: [N, 3+] float32, in units of the finest cells (metres / voxel size); x, y, z first.
        cells: [V, 3] int32, in units of ``stride``, unique within a scan.
        splits: [B+1] int64, scan b has the cells ``splits[b]:splits[b+1]``; default one scan.
        stride: finest cells per cell, >= 1.
        mode: 'trilinear' (K = 8) or 'nearest' (K = 1).
        point_splits: [B+1] int64 of the points; default one scan.

    Returns:
        index: [N, K] int64, row of a cell or -1 where there is none.
        weight: [N, K] float32, 0 where index is -1.

    Raises:
        ValueError: wrong type, shape, device or mode; NaN or Inf coordinates; cells beyond 32 bits;
            repeated cells.
    """
    checks.tensor("points", points, (None, None), (torch.float32,))
    if points.shape[1] < 3:
        checks.fail("points", "shape [N, 3 or more]", list(points.shape))
    checks.tensor("cells", cells, (None, 3), (torch.int32,), points)
    checks.integer("stride", stride, 1, 2**20)
    checks.choice("mode", mode, ("trilinear", "nearest"))
    splits = checks.row_splits("splits", splits, cells.shape[0], points)
    point_splits = checks.row_splits("point_splits", point_splits, points.shape[0], points)
    if len(point_splits) != len(splits):
        checks.fail("point_splits", f"{len(splits) - 1} scans", len(point_splits) - 1)
    index, weight = ops.interpolation(points.detach(), point_splits, cells, splits, stride)
    if mode == "nearest":  # corner 0 is the cell that the point lies in
        index = index[:, :1].contiguous()
        weight = (index >= 0).to(torch.float32)
    return index, weight


def devoxelize(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Features of points from those of voxels: ``sum_k weight[n, k] * features[index[n, k]]``.

    Has a gradient for the features (not for the weights).

    Args:
        features: [V, C] float of any precision; added in float32, or float64 for float64.
        index: [N, K] int64, rows of ``features``, -1 where there is none.
        weight: [N, K] float32 or float64, not read where index is -1.

    Returns:
        [N, C], dtype of the features.

    Raises:
        ValueError: wrong type, shape or device; an index that is no row.
    """
    checks.tensor("features", features, (None, None), checks.FLOATS)
    checks.tensor("index", index, (None, None), (torch.int64,), features)
    checks.tensor("weight", weight, tuple(index.shape), checks.FULL_FLOATS, features)
    return ops.devoxelize(features, index, weight.detach())
