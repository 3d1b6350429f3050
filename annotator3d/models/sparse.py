"""The wall around sparse convolution: nobody above it knows which device convolves.

On CPU a convolution is gather, matmul and index_add over a kernel map that our voxel kernels
build: exact for any grid size, batch and number of threads, and repeatable. On CUDA spconv
convolves (`sparse_cuda.py`). Both use the same parameter, laid out ``[out, k, k, k, in]`` as in
spconv, so that a checkpoint moves freely between them.

Axis order is (x, y, z) everywhere; weight index ``[o, i, j, k, c]`` belongs to the offset
``(i, j, k) - 1`` of a submanifold convolution and ``(i, j, k)`` of a strided one, as in a dense
``conv3d`` (cross-correlation).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from annotator3d.kernels import kernel_map
from annotator3d.kernels.grouping import group_cells

SUBM_OFFSETS = torch.tensor(list(itertools.product((-1, 0, 1), repeat=3)), dtype=torch.int32)
CENTRE = 13  # index of the offset (0, 0, 0)


@dataclass(frozen=True)
class PairMap:
    """Which input row meets which output row under which kernel offset."""

    rows_in: Tensor  # [P] int64, grouped by kernel offset
    rows_out: Tensor  # [P] int64
    counts: list[int]  # pairs of each of the K offsets
    num_in: int
    num_out: int

    def reversed(self) -> PairMap:
        return PairMap(self.rows_out, self.rows_in, self.counts, self.num_out, self.num_in)


@dataclass
class Geometry:
    """Occupied cells of every resolution level of a batch, and the maps between them."""

    cells: list[Tensor]  # level -> [V, 3] int32
    splits: list[Tensor]  # level -> [B + 1] int64
    maps: dict[tuple[str, int], PairMap] = field(default_factory=dict)

    def occupied(self, level: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Cells [V, 3] and splits [B + 1] of a level that the network has reached.

        The third is the row of each cell in the level's features; None: in their order.
        """
        return self.cells[level], self.splits[level], None

    def submanifold(self, level: int) -> PairMap:
        key = ("subm", level)
        if key not in self.maps:
            cells = self.cells[level]
            table = kernel_map(cells, self.splits[level], SUBM_OFFSETS)
            offset, rows_out = (table >= 0).nonzero(as_tuple=True)
            counts = torch.bincount(offset, minlength=len(SUBM_OFFSETS)).tolist()
            self.maps[key] = PairMap(
                table[offset, rows_out], rows_out, counts, len(cells), len(cells)
            )
        return self.maps[key]

    def down(self, level: int) -> PairMap:
        """Map of the 2x2x2 stride-2 convolution from `level` to `level + 1`."""
        key = ("down", level)
        if key not in self.maps:
            cells = self.cells[level]
            parents = group_cells(cells >> 1, self.splits[level])
            if len(self.cells) == level + 1:
                self.cells.append(parents.cells)
                self.splits.append(parents.scan_splits)
            bit = (cells & 1).long()
            child = bit[:, 0] * 4 + bit[:, 1] * 2 + bit[:, 2]
            rows_in = torch.argsort(child, stable=True)
            counts = torch.bincount(child, minlength=8).tolist()
            self.maps[key] = PairMap(
                rows_in, parents.point_to_voxel[rows_in], counts, len(cells), len(parents)
            )
        return self.maps[key]


@dataclass(frozen=True)
class SparseTensor:
    """Features of the occupied cells of one level of a batch of scans."""

    features: Tensor  # [V, C] float
    geometry: object  # Geometry on CPU, CudaGeometry on CUDA
    level: int = 0

    def with_features(self, features: Tensor) -> SparseTensor:
        return replace(self, features=features)


def sparse_input(features: Tensor, cells: Tensor, splits: Tensor) -> SparseTensor:
    """Wrap a batch.

    Args:
        features: [V, C] float.
        cells: [V, 3] int32, unique within a scan; rows grouped by scan.
        splits: [B + 1] int64, rows ``splits[b]:splits[b + 1]`` belong to scan b.

    Raises:
        ValueError: the three disagree in length, type or device.
    """
    if cells.dtype != torch.int32 or cells.ndim != 2 or cells.shape[1] != 3:
        raise ValueError(f"cells: expected int32 [V, 3], got {cells.dtype} {tuple(cells.shape)}")
    if features.ndim != 2 or len(features) != len(cells):
        raise ValueError(
            f"features: expected one row for each of the {len(cells)} cells, "
            f"got {tuple(features.shape)}"
        )
    if features.device != cells.device:
        raise ValueError(f"features are on {features.device}, cells on {cells.device}")
    if int(splits[-1]) != len(cells):
        raise ValueError(f"splits: end at {int(splits[-1])}, but there are {len(cells)} cells")
    if features.is_cuda:
        from annotator3d.models.sparse_cuda import CudaGeometry

        return SparseTensor(features, CudaGeometry(cells, splits))
    return SparseTensor(features, Geometry([cells], [splits]))


class _PairConv(torch.autograd.Function):
    """out[o] = sum over the pairs (i, o) under offset k of features[i] @ weight[k]."""

    @staticmethod
    def forward(ctx, features: Tensor, weight: Tensor, pairs: PairMap, centre: int) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.pairs, ctx.centre = pairs, centre
        if centre >= 0:  # every cell meets itself: no gather, no scatter
            out = features @ weight[centre]
        else:
            out = features.new_zeros(pairs.num_out, weight.shape[2])
        for k, rows_in, rows_out in _by_offset(pairs, centre):
            out.index_add_(0, rows_out, features.index_select(0, rows_in) @ weight[k])
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):
        features, weight = ctx.saved_tensors
        pairs, centre = ctx.pairs, ctx.centre
        grad = grad.contiguous()
        grad_weight = torch.zeros_like(weight)
        wanted = ctx.needs_input_grad[0]  # the scan itself needs no gradient
        grad_features = torch.zeros_like(features) if wanted else None
        if centre >= 0:
            grad_weight[centre] = features.T @ grad
            if wanted:
                grad_features = grad @ weight[centre].T
        for k, rows_in, rows_out in _by_offset(pairs, centre):
            part = grad.index_select(0, rows_out)
            grad_weight[k] = features.index_select(0, rows_in).T @ part
            if wanted:
                grad_features.index_add_(0, rows_in, part @ weight[k].T)
        return grad_features, grad_weight, None, None


def _by_offset(pairs: PairMap, centre: int):
    start = 0
    for k, count in enumerate(pairs.counts):
        if count and k != centre:
            yield k, pairs.rows_in[start : start + count], pairs.rows_out[start : start + count]
        start += count


class SparseConv(nn.Module):
    """Sparse convolution without bias.

    Args:
        in_channels, out_channels: widths.
        kind: ``subm`` (3x3x3, output cells = input cells), ``down`` (2x2x2, stride 2) or ``up``
            (transposed ``down``: back to the cells of the level above).
    """

    def __init__(self, in_channels: int, out_channels: int, kind: str = "subm") -> None:
        super().__init__()
        if kind not in ("subm", "down", "up"):
            raise ValueError(f"kind: expected subm, down or up, got {kind!r}")
        self.kind = kind
        k = 3 if kind == "subm" else 2
        self.weight = nn.Parameter(torch.empty(out_channels, k, k, k, in_channels))
        # Uniform +-1/sqrt(fan in), as the published network.
        fan = in_channels * k**3 if kind != "up" else in_channels
        nn.init.uniform_(self.weight, -1 / math.sqrt(fan), 1 / math.sqrt(fan))

    def forward(self, x: SparseTensor) -> SparseTensor:
        if x.features.is_cuda:
            from annotator3d.models.sparse_cuda import cuda_conv

            return cuda_conv(self, x)
        geometry, level = x.geometry, x.level
        if self.kind == "subm":
            pairs = geometry.submanifold(level)
        elif self.kind == "down":
            pairs, level = geometry.down(level), level + 1
        else:
            pairs, level = geometry.down(level - 1).reversed(), level - 1
        out, k, _, _, inp = self.weight.shape
        weight = self.weight.view(out, k**3, inp).permute(1, 2, 0).contiguous()
        centre = CENTRE if self.kind == "subm" else -1
        return SparseTensor(_PairConv.apply(x.features, weight, pairs, centre), geometry, level)

    def extra_repr(self) -> str:
        out, k, _, _, inp = self.weight.shape
        return f"{inp}, {out}, kind={self.kind!r}, kernel={k}"
