"""Layers of spconv's interface on CPU tensors, for tests of the CUDA path without a GPU.

`real_spconv` is the installed one, held to what it can do on a CPU: its native algorithm and one
thread, small grids. `Recorder` wraps a package of that interface and keeps every call.
`dense_layers` computes with torch's dense convolutions, so what comes out depends on what the calls
say alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, conv_transpose3d

LAYERS = ("SubMConv3d", "SparseConv3d", "SparseInverseConv3d")
TENSOR = "SparseConvTensor"


@contextmanager
def real_spconv():
    """spconv.pytorch on CPU; RuntimeError where it cannot be imported."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch has renamed since
        import spconv.pytorch as spconv
        from spconv.pytorch import ops
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def native(name: str) -> Callable:
        return lambda *args, **more: getattr(spconv, name)(
            *args, **more, algo=spconv.ConvAlgo.Native
        )

    layers = {name: native(name) for name in LAYERS}
    try:
        with patch.object(ops, "get_current_stream", lambda: 0):
            yield SimpleNamespace(SparseConvTensor=spconv.SparseConvTensor, **layers)
    finally:
        torch.set_num_threads(threads)


def signatures(package) -> dict[str, inspect.Signature]:
    """Of the tensor and the layers of a package of spconv's interface."""
    return {name: inspect.signature(getattr(package, name).__init__) for name in (*LAYERS, TENSOR)}


class Recorder:
    """Stands for a package: forwards its calls, and keeps them as (name, args by name)."""

    def __init__(self, package, known: dict[str, inspect.Signature] | None = None) -> None:
        self.calls: list[tuple[str, dict]] = []
        self._package, self._known = package, known or {}

    def __getattr__(self, name: str):
        real = getattr(self._package, name)

        def call(*args, **more):
            if name in self._known:  # TypeError where the real one would not take them
                bound = self._known[name].bind(None, *args, **more)  # None: self
                self.calls.append((name, dict(bound.arguments)))
            return real(*args, **more)

        return call


class DenseTensor:
    """What the wall uses of a SparseConvTensor."""

    def __init__(self, features: Tensor, indices: Tensor, spatial_shape, batch_size: int) -> None:
        assert indices.is_contiguous() and indices.dtype == torch.int32
        assert len(features) == len(indices)
        self.features, self.indices = features, indices
        self.shape, self.batch_size = list(spatial_shape), batch_size
        self.pairs: dict[str, tuple[Tensor, list[int]]] = {}

    def replace_feature(self, features: Tensor) -> DenseTensor:
        return self.at(features, self.indices, self.shape)

    def at(self, features: Tensor, indices: Tensor, shape: list[int]) -> DenseTensor:
        made = DenseTensor(features, indices, shape, self.batch_size)
        made.pairs = self.pairs
        return made

    def dense(self) -> tuple[Tensor, Tensor]:
        """The part of the grid [B, C, x, y, z] that is not empty, and its lowest cell, even."""
        cells = self.indices.long()
        base = torch.cat([cells.new_zeros(1), cells[:, 1:].amin(0) // 2 * 2])
        extent = (cells - base).amax(0)[1:] // 2 * 2 + 2
        grid = self.features.new_zeros(self.batch_size, *extent, self.features.shape[1])
        grid = grid.index_put(tuple((cells - base).unbind(1)), self.features)
        return grid.permute(0, 4, 1, 2, 3), base


def _at(grid: Tensor, indices: Tensor, base: Tensor) -> Tensor:
    return grid.permute(0, 2, 3, 4, 1)[tuple((indices.long() - base).unbind(1))]


class _Layer(nn.Module):
    def __init__(self, inp: int, out: int, k: int, key: str) -> None:
        super().__init__()
        self.weight, self.key = nn.Parameter(torch.zeros(out, k, k, k, inp)), key

    def as_dense(self) -> Tensor:
        return self.weight.permute(0, 4, 1, 2, 3)


class _Submanifold(_Layer):
    def forward(self, x: DenseTensor) -> DenseTensor:
        grid, base = x.dense()
        out = conv3d(grid, self.as_dense(), padding=self.weight.shape[1] // 2)
        return x.replace_feature(_at(out, x.indices, base))


class _Strided(_Layer):
    def forward(self, x: DenseTensor) -> DenseTensor:
        x.pairs[self.key] = x.indices, x.shape
        parents = torch.cat([x.indices[:, :1], x.indices[:, 1:] // 2], 1).unique(dim=0)
        parents = parents.flip(0).contiguous()  # spconv's rows are in no order of ours either
        grid, base = x.dense()
        out = conv3d(grid, self.as_dense(), stride=2)
        return x.at(_at(out, parents, base // 2), parents, [size // 2 for size in x.shape])


class _Inverse(_Layer):
    def forward(self, x: DenseTensor) -> DenseTensor:
        indices, shape = x.pairs[self.key]
        weight = self.weight.permute(4, 0, 1, 2, 3)
        grid, base = x.dense()
        out = conv_transpose3d(grid, weight, stride=2)
        return x.at(_at(out, indices, base * 2), indices, shape)


def _submanifold(in_channels, out_channels, kernel_size, bias=True, indice_key=None):
    assert not bias
    return _Submanifold(in_channels, out_channels, kernel_size, indice_key)


def _strided(in_channels, out_channels, kernel_size, stride=1, bias=True, indice_key=None):
    assert not bias and (kernel_size, stride) == (2, 2)
    return _Strided(in_channels, out_channels, kernel_size, indice_key)


def _inverse(in_channels, out_channels, kernel_size, indice_key, bias=True):
    assert not bias and kernel_size == 2
    return _Inverse(in_channels, out_channels, kernel_size, indice_key)


dense_layers = SimpleNamespace(
    SparseConvTensor=DenseTensor,
    SubMConv3d=_submanifold,
    SparseConv3d=_strided,
    SparseInverseConv3d=_inverse,
)
