"""A small network of sparse convolutions, run by the CPU path and by the CUDA path of the wall.

The CUDA path knows nothing of the device: with other layers in the place of spconv's it runs on CPU
tensors.
"""

from __future__ import annotations

import torch

from annotator3d.models.sparse import SparseConv, sparse_input
from annotator3d.models.sparse_cuda import CudaGeometry, cuda_conv

NETWORK = (("subm", 6), ("down", 5), ("subm", 5), ("down", 7), ("up", 4), ("subm", 4), ("up", 3))


def batch(seed: int, scans: int, side: int, low: int):
    """Random occupied cells; each scan has some."""
    generator = torch.Generator().manual_seed(seed)
    occupied = torch.rand(scans, side, side, side, generator=generator) < 0.2
    occupied[:, 0, 0, 0] = True
    scan, x, y, z = occupied.nonzero(as_tuple=True)
    cells = (torch.stack([x, y, z], 1) + low).int().contiguous()
    splits = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(scan).cumsum(0)])
    return torch.randn(len(cells), 4, generator=generator), cells, splits


def layers_of(seed: int) -> list[SparseConv]:
    torch.manual_seed(seed)
    widths = [4, *(width for _, width in NETWORK)]
    return [SparseConv(i, o, kind) for i, (kind, o) in zip(widths, NETWORK, strict=False)]


def results(layers, features, cells, splits, on_cuda: bool):
    """Output, and gradients of the input and of every weight, by one path of the wall."""
    leaf, level = features.clone().requires_grad_(), 0
    if on_cuda:
        out, geometry = leaf, CudaGeometry(cells, splits)
        for layer in layers:
            out, level = cuda_conv(layer, out, geometry, level)
    else:
        x = sparse_input(leaf, cells, splits)
        for layer in layers:
            x = layer(x)
        out = x.features
    upstream = torch.linspace(-1, 1, out.numel()).view_as(out)
    return out, *torch.autograd.grad(out, [leaf, *(layer.weight for layer in layers)], upstream)


def assert_same(found, wanted) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def assert_same_as_on_cpu(seed: int, scans: int, side: int, low: int) -> None:
    """What `batch` makes, through `NETWORK` on both paths."""
    given = batch(seed, scans, side, low)
    assert_same(*(results(layers_of(seed), *given, on_cuda) for on_cuda in (True, False)))
