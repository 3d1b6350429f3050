"""Public kernels of sparse convolution. Arguments are checked here once."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from annotator3d.kernels import checks, convolution_ops
from annotator3d.kernels.grouping import group_cells
from annotator3d.kernels.reference import BLOCK_ROWS, Pairs
from annotator3d.kernels.voxels import Voxels

_CUBE = list(itertools.product((-1, 0, 1), repeat=3))


@dataclass(frozen=True)
class Rulebook:
    """Which input row meets which output row under which offset of a convolution's kernel.

    Made by :func:`submanifold_rulebook` and :func:`strided_rulebook`; serves every convolution of
    this geometry, of any width, and its gradients.
    """

    forward: Pairs
    """Input rows [P] int32, output rows [P] int32, starts [blocks * offsets + 1] int64: the pairs,
    by block of output rows and kernel offset."""
    backward: Pairs
    """Those of the transposed convolution, whose output rows are the input rows of this one."""
    mirrored: bool
    """The offsets of `backward` are in reverse."""
    offsets: int
    """Of the kernel."""
    num_in: int
    num_out: int

    def transposed(self) -> Rulebook:
        """Of the transposed convolution: from the output cells back to the input cells.

        Raises:
            ValueError: of a submanifold rulebook, which is its own (with reversed offsets).
        """
        if self.mirrored:
            checks.fail("transposed", "a strided rulebook", "a submanifold one")
        return Rulebook(self.backward, self.forward, False, self.offsets, self.num_out, self.num_in)


def submanifold_rulebook(cells: Tensor, splits: Tensor | None = None) -> Rulebook:
    """Of the 3x3x3 convolution whose output cells are its input cells.

    Offset ``9 i + 3 j + k`` is (i, j, k) - 1, as in a dense ``conv3d``.

    Args:
        cells: [V, 3] int32, unique within a scan.
        splits: [B+1] int64, scan b has the rows ``splits[b]:splits[b+1]``; default one scan.

    Raises:
        ValueError: wrong type, shape or device; repeated cells.
    """
    checks.tensor("cells", cells, (None, 3), (torch.int32,))
    splits = checks.row_splits("splits", splits, cells.shape[0], cells)
    offsets = torch.tensor(_CUBE, dtype=torch.int32, device=cells.device)
    pairs = convolution_ops.submanifold_pairs(cells, splits, offsets)
    return Rulebook(pairs, pairs, True, len(_CUBE), len(cells), len(cells))


def strided_rulebook(cells: Tensor, splits: Tensor | None = None) -> tuple[Voxels, Rulebook]:
    """Of the 2x2x2 convolution of stride 2, and its output cells ``floor(cell / 2)``.

    Offset ``4 i + 2 j + k`` is (i, j, k), as in a dense ``conv3d``.

    Args:
        cells: [V, 3] int32, unique within a scan.
        splits: [B+1] int64, scan b has the rows ``splits[b]:splits[b+1]``; default one scan.

    Returns:
        The output cells, in the order of the first input cell of each; and the rulebook.

    Raises:
        ValueError: wrong type, shape or device.
    """
    checks.tensor("cells", cells, (None, 3), (torch.int32,))
    splits = checks.row_splits("splits", splits, cells.shape[0], cells)
    parents = group_cells(cells >> 1, splits)
    bit = (cells & 1).long()
    offset = bit[:, 0] * 4 + bit[:, 1] * 2 + bit[:, 2]
    child, parent = torch.arange(len(cells), device=cells.device), parents.point_to_voxel
    down = convolution_ops.sorted_pairs(offset, child, parent, 8, len(parents))
    up = convolution_ops.sorted_pairs(offset, parent, child, 8, len(cells))
    return parents, Rulebook(down, up, False, 8, len(cells), len(parents))


def sparse_convolution(
    features: Tensor,
    weight: Tensor,
    rulebook: Rulebook,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """Convolve: ``out[o] = sum over the pairs (i, o) of features[i] @ weight[:, k].T``.

    The product has a gradient for features and weights. What is fused with it for inference (bias,
    residual, ReLU) has none.

    Args:
        features: [Vin, C] float of any precision; half precision is computed in float32.
        weight: [D, K, C], dtype of the features.
        rulebook: of Vin input and Vout output cells and K kernel offsets.
        bias: [D], added to each row. residual: [Vout, D], added to the rows.
        relu: negative sums become 0, at last.

    Returns:
        [Vout, D], dtype of the features. A number is one sum in the order of the rulebook: the
        same bits on any number of threads.

    Raises:
        ValueError: wrong type, shape or device; rows that the rulebook does not have; a gradient
            that is wanted of what has none.
    """
    checks.tensor("features", features, (rulebook.num_in, None), checks.FLOATS)
    floats = (features.dtype,)
    depth, k = features.shape[1], rulebook.offsets
    checks.tensor("weight", weight, (None, k, depth), floats, features)
    _check_pairs(rulebook, features)
    if bias is None and residual is None and not relu:
        pairs = (*rulebook.forward, *rulebook.backward)
        return convolution_ops.sparse_convolution(
            features, weight, *pairs, rulebook.mirrored, rulebook.num_out
        )
    if bias is not None:
        checks.tensor("bias", bias, (len(weight),), floats, features)
    if residual is not None:
        checks.tensor("residual", residual, (rulebook.num_out, len(weight)), floats, features)
    given = (features, weight, bias, residual)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given):
        checks.fail("bias, residual, relu", "torch.no_grad() around them", "a gradient to keep")
    return convolution_ops.sparse_convolution_inference(
        features, weight, *rulebook.forward, rulebook.num_out, bias, residual, relu
    )


def _check_pairs(rulebook: Rulebook, like: Tensor) -> None:
    """Types and lengths; rows are looked at by who uses them."""
    for pairs, rows in ((rulebook.forward, rulebook.num_out), (rulebook.backward, rulebook.num_in)):
        rows_in, rows_out, starts = pairs
        checks.tensor("rulebook rows_in", rows_in, (None,), (torch.int32,), like)
        checks.tensor("rulebook rows_out", rows_out, tuple(rows_in.shape), (torch.int32,), like)
        lists = -(-rows // BLOCK_ROWS) * rulebook.offsets
        checks.tensor("rulebook starts", starts, (lists + 1,), (torch.int64,), like)
