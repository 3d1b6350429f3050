"""A network in operations of torch: gather, product and scatter for each kernel offset; batch norm,
ReLU and Lovasz loss one after the other.

What the kernels of the package replaced; their rival in bench_convolution.py. Not for use.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import torch
from torch import Tensor

from annotator3d.kernels import group_cells, kernel_map
from annotator3d.models import losses, minkunet, normalization, sparse

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
        """The map of the transposed convolution."""
        return PairMap(self.rows_out, self.rows_in, self.counts, self.num_out, self.num_in)


@dataclass
class TorchGeometry:
    """Occupied cells of every resolution level of a batch, and the maps between them."""

    cells: list[Tensor]  # level -> [V, 3] int32
    splits: list[Tensor]  # level -> [B + 1] int64
    maps: dict[tuple[str, int], PairMap] = field(default_factory=dict)

    def submanifold(self, level: int) -> PairMap:
        """Map of the 3x3x3 convolution whose output cells are its input cells."""
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


@contextmanager
def plain_torch() -> Iterator[None]:
    """Inside, networks on CPU convolve so, keep their layers apart and learn by torch's loss."""
    with (
        patch.object(sparse, "CpuGeometry", TorchGeometry),
        patch.object(sparse, "cpu_conv", torch_conv),
        patch.object(minkunet, "fuses", lambda norm, x: False),
        patch.object(normalization, "has_kernel", lambda norm, x: False),
        patch.object(losses, "lovasz_softmax", lovasz_softmax),
    ):
        yield


def torch_conv(
    kind: str, weight: Tensor, features: Tensor, geometry: TorchGeometry, level: int
) -> tuple[Tensor, int]:
    """Convolve on CPU.

    Args:
        kind: ``subm``, ``down`` or ``up``.
        weight: [out, k, k, k, in].
        features: [V, in] of the cells of `level`.

    Returns:
        features [V', out] of the cells of the second value, the level.
    """
    if kind == "subm":
        pairs = geometry.submanifold(level)
    elif kind == "down":
        pairs, level = geometry.down(level), level + 1
    else:
        pairs, level = geometry.down(level - 1).reversed(), level - 1
    out, k, _, _, inp = weight.shape
    by_offset = weight.view(out, k**3, inp).permute(1, 2, 0).contiguous()
    centre = CENTRE if kind == "subm" else -1
    return _PairConv.apply(features, by_offset, pairs, centre), level


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


def _by_offset(pairs: PairMap, centre: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each kernel offset but the centre with its input and its output rows."""
    start = 0
    for k, count in enumerate(pairs.counts):
        if count and k != centre:
            yield k, pairs.rows_in[start : start + count], pairs.rows_out[start : start + count]
        start += count


def lovasz_softmax(probabilities: Tensor, target: Tensor) -> Tensor:
    """As `annotator3d.kernels.lovasz_softmax`; torch differentiates it."""
    truth = torch.nn.functional.one_hot(target, probabilities.shape[1]).to(probabilities.dtype).T
    truth = truth[truth.sum(1) > 0]
    present = target.unique()
    errors, order = (truth - probabilities.T[present]).abs().sort(dim=1, descending=True)
    truth = truth.gather(1, order)
    total = truth.sum(1, keepdim=True)
    jaccard = 1 - (total - truth.cumsum(1)) / (total + (1 - truth).cumsum(1))
    weight = torch.cat([jaccard[:, :1], jaccard.diff(dim=1)], dim=1)
    return (errors * weight).sum(1).mean()
