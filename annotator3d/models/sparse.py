"""The wall around sparse convolution: nobody above it knows which device convolves.

On CPU `sparse_cpu` convolves, on CUDA spconv or spconv-triton does (`sparse_cuda`). All use the
same parameter, laid out ``[out, k, k, k, in]`` as in spconv, so that a checkpoint moves freely
between them.

Axis order is (x, y, z) everywhere; weight index ``[o, i, j, k, c]`` belongs to the offset
``(i, j, k) - 1`` of a submanifold convolution and ``(i, j, k)`` of a strided one, as in a dense
``conv3d`` (cross-correlation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from annotator3d.models.sparse_cpu import CpuGeometry, cpu_conv
from annotator3d.models.sparse_cuda import CudaGeometry, cuda_conv


@dataclass(frozen=True)
class SparseTensor:
    """Features of the occupied cells of one level of a batch of scans."""

    features: Tensor  # [V, C] float
    geometry: CpuGeometry | CudaGeometry
    level: int = 0

    def with_features(self, features: Tensor) -> SparseTensor:
        """The same cells with other features [V, C]."""
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
    on_cuda = features.is_cuda
    geometry = CudaGeometry(cells, splits) if on_cuda else CpuGeometry([cells], [splits])
    return SparseTensor(features, geometry)


def fuses(norm: nn.BatchNorm1d, x: Tensor) -> bool:
    """Whether a batch norm after a convolution of these features can become part of it."""
    plain = norm.affine and norm.running_mean is not None
    kept = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
    return plain and not (norm.training or x.is_cuda or kept)


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
            features, level = cuda_conv(self, x.features, x.geometry, x.level)
        else:
            features, level = cpu_conv(self.kind, self.weight, x.features, x.geometry, x.level)
        return SparseTensor(features, x.geometry, level)

    def fused(self, x: SparseTensor, norm: nn.BatchNorm1d, residual: Tensor | None) -> SparseTensor:
        """The convolution, batch norm by running statistics, plus `residual`, ReLU: in one pass.

        For inference on CPU (`fuses`); equal to the separate layers but for rounding.
        """
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        weight = self.weight * scale[:, None, None, None, None]
        added = (norm.bias - norm.running_mean * scale, residual, True)
        features, level = cpu_conv(self.kind, weight, x.features, x.geometry, x.level, added)
        return SparseTensor(features, x.geometry, level)

    def extra_repr(self) -> str:
        out, k, _, _, inp = self.weight.shape
        return f"{inp}, {out}, kind={self.kind!r}, kernel={k}"
