"""Sparse convolution on CUDA, by the layers of spconv's interface, behind the wall of `sparse.py`.

`sparse_library` says whose layers. It guards against spconv's silent faults: index tensors that are
not contiguous are read as if they were; an odd spatial shape drops the last plane of a strided
convolution; rows beyond the spatial shape corrupt memory; a feature tensor of another length is
accepted.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from annotator3d.models.sparse_library import sparse_library

_MAX_CELL, _MAX_KEY = 2**31 - 1, 2**63 - 1  # spconv numbers the voxels of a batch in 64 bits
MAX_LEVELS = 6  # spatial shapes are multiples of 2**MAX_LEVELS, so no strided convolution drops one


class CudaGeometry:
    """Indices of a batch as spconv wants them, and its index pairs by level."""

    def __init__(self, cells: Tensor, splits: Tensor) -> None:
        counts = splits.to(cells.device).diff()
        scan = torch.repeat_interleave(torch.arange(len(counts), device=cells.device), counts)
        low = cells.amin(0) if len(cells) else cells.new_zeros(3)
        multiple = 2**MAX_LEVELS
        # Parents must be the same cells as on CPU: shift by a multiple of the coarsest cell.
        low = torch.div(low, multiple, rounding_mode="floor") * multiple
        extent = (cells.amax(0).long() - low + 1).tolist() if len(cells) else [1, 1, 1]
        self.low = low
        self.shape = [-(-size // multiple) * multiple for size in extent]
        if max(self.shape) > _MAX_CELL or math.prod(self.shape) * len(counts) > _MAX_KEY:
            sizes = " x ".join(f"{size:,}" for size in self.shape)
            raise ValueError(
                f"the points of a batch of {len(counts)} scans lie too far apart for convolution "
                f"on CUDA: {sizes} voxels; `annotator3d check` names scans with far points; repair "
                "those, or train with --device cpu"
            )
        shifted = cells - low
        self.indices = torch.cat([scan.int()[:, None], shifted], dim=1).contiguous()
        self.batch_size = len(counts)
        self.tensors: dict[int, object] = {}  # level -> the latest SparseConvTensor there

    def tensor(self, level: int, features: Tensor) -> object:
        """spconv's tensor of a level with these features [V, C]."""
        if level not in self.tensors:
            assert level == 0
            self.tensors[0] = sparse_library().SparseConvTensor(
                features, self.indices, self.shape, self.batch_size
            )
        return self.tensors[level].replace_feature(features)

    def occupied(self, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """As `CpuGeometry.occupied`: spconv's rows of a level are in no order of ours."""
        indices = self.tensors[level].indices
        rows = torch.argsort(indices[:, 0], stable=True)
        counts = torch.bincount(indices[:, 0], minlength=self.batch_size)
        cells = indices[rows, 1:] + (self.low >> level)
        return cells.contiguous(), torch.nn.functional.pad(counts.cumsum(0), (1, 0)), rows


def cuda_conv(
    conv: nn.Module, features: Tensor, geometry: CudaGeometry, level: int
) -> tuple[Tensor, int]:
    """Convolve on CUDA, as `sparse_cpu.cpu_conv`.

    Args:
        conv: a `sparse.SparseConv`; it keeps spconv's layers.
        features: [V, in] of the cells of `level`.

    Raises:
        ValueError: there is no voxel, or a level beyond `MAX_LEVELS`.
    """
    if len(features) == 0:
        raise ValueError("a batch on CUDA needs at least one voxel, got none")
    new_level = level + {"subm": 0, "down": 1, "up": -1}[conv.kind]
    if new_level > MAX_LEVELS:
        raise ValueError(f"planes: on CUDA a network has at most {MAX_LEVELS} levels, got more")
    layer = _layer(conv, min(level, new_level))
    context = nullcontext()
    if torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda") != torch.float16:
        # spconv has float16 and float32 only, and under autocast would take float16 unasked.
        features, context = features.float(), torch.autocast("cuda", enabled=False)
    with context:
        out = layer(geometry.tensor(level, features))
    geometry.tensors[new_level] = out
    return out.features, new_level


def _layer(conv: nn.Module, level: int) -> nn.Module:
    """spconv's layer that shares the parameter of `conv` (not registered as a submodule).

    `level` is the finer one of its two levels: a strided convolution and its inverse share pairs.
    """
    layers = conv.__dict__.setdefault("_cuda_layers", {})
    if level not in layers:
        spconv = sparse_library()
        out, _, _, _, inp = conv.weight.shape
        if conv.kind == "subm":
            layer = spconv.SubMConv3d(inp, out, 3, bias=False, indice_key=f"subm{level}")
        elif conv.kind == "down":
            layer = spconv.SparseConv3d(inp, out, 2, 2, bias=False, indice_key=f"down{level}")
        else:
            layer = spconv.SparseInverseConv3d(inp, out, 2, bias=False, indice_key=f"down{level}")
        assert layer.weight.shape == conv.weight.shape, (layer.weight.shape, conv.weight.shape)
        layers[level] = layer
    layer = layers[level]
    layer.weight = conv.weight
    layer.train(conv.training)
    return layer
