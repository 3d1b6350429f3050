"""MinkUNet written on spconv alone, as its users would: the rival of our wall in bench_train.py.

On CPU spconv is wrong with more than one thread, and for a batch whose grid has more than 2^31
cells; its backward asks for a CUDA stream first. Here it gets one thread and no stream. Not for
use.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def load_spconv(device: str):
    """The package; RuntimeError in words where it cannot be had."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch has renamed since
            import spconv.pytorch as spconv
            from spconv.pytorch import ops
    except Exception as error:  # built for another Python, torch or CUDA
        raise RuntimeError(f"spconv cannot be imported: {error}") from error
    if device == "cpu":
        ops.get_current_stream = lambda: 0
    return spconv


class PlainMinkUNet(nn.Module):
    """Modules in the order of `annotator3d.models.minkunet.MinkUNet`: its weights fit one by one.

    Args:
        spconv: what `load_spconv` gives.
        planes, blocks: as there.
    """

    def __init__(self, spconv, planes: Sequence[int], blocks: int, device: str) -> None:
        super().__init__()
        self.spconv, levels = spconv, len(planes) // 2
        # The plain package picks its way by itself, the CUDA builds have one for CUDA only.
        self.how = {"algo": spconv.ConvAlgo.Native} if device == "cpu" else {}
        stem, down, up = planes[0], planes[1 : levels + 1], planes[levels + 1 :]
        self.multiple = 2**levels
        self.stem = nn.ModuleList([self._unit(4, stem, 0), self._unit(stem, stem, 0)])
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        widths = [stem, *down]
        for level, (inp, out) in enumerate(zip(widths, down, strict=False)):
            parts = [self._conv("down", inp, inp, level)]
            parts += self._residual(inp, out, blocks, level + 1)
            self.down.append(nn.ModuleList(parts))
        inp = down[-1]
        for level, out in zip(range(levels - 1, -1, -1), up, strict=True):
            parts = [self._conv("up", inp, out, level)]
            parts += self._residual(out + widths[level], out, blocks, level)
            self.up.append(nn.ModuleList(parts))
            inp = out
        self.out_channels = inp

    def _conv(self, kind: str, inp: int, out: int, level: int) -> nn.Module:
        s = self.spconv
        if kind == "subm":
            conv = s.SubMConv3d(inp, out, 3, bias=False, indice_key=f"subm{level}", **self.how)
        elif kind == "down":
            key = f"down{level}"
            conv = s.SparseConv3d(inp, out, 2, 2, bias=False, indice_key=key, **self.how)
        else:
            key = f"down{level}"
            conv = s.SparseInverseConv3d(inp, out, 2, bias=False, indice_key=key, **self.how)
        return nn.ModuleList([conv, nn.BatchNorm1d(out)])

    def _unit(self, inp: int, out: int, level: int) -> nn.Module:
        return self._conv("subm", inp, out, level)

    def _residual(self, inp: int, out: int, blocks: int, level: int) -> list[nn.Module]:
        made = []
        for block in range(blocks):
            wide = out if block else inp
            parts = [self._unit(wide, out, level), self._unit(out, out, level)]
            if wide != out:
                parts += [nn.Linear(wide, out, bias=False), nn.BatchNorm1d(out)]
            made.append(nn.ModuleList(parts))
        return made

    def forward(self, features: Tensor, cells: Tensor, splits: Tensor) -> Tensor:
        """As `MinkUNet.forward`."""
        x = self._wrap(features, cells, splits)
        for unit in self.stem:
            x = _apply(unit, x)
        skips = []
        for strided, *rest in self.down:
            skips.append(x)
            x = _apply(strided, x)
            for block in rest:
                x = _add(block, x)
        for wider, *rest in self.up:
            x = _apply(wider, x)
            x = x.replace_feature(torch.cat([x.features, skips.pop().features], 1))
            for block in rest:
                x = _add(block, x)
        return x.features

    def _wrap(self, features: Tensor, cells: Tensor, splits: Tensor):
        counts = splits.diff().to(cells.device)
        scan = torch.repeat_interleave(torch.arange(len(counts), device=cells.device), counts)
        shifted = cells - cells.amin(0).div(self.multiple, rounding_mode="floor") * self.multiple
        extent = (shifted.amax(0) + 1).tolist()
        shape = [-(-size // self.multiple) * self.multiple for size in extent]
        indices = torch.cat([scan.int()[:, None], shifted], 1).contiguous()
        return self.spconv.SparseConvTensor(features, indices, shape, len(counts))


def _apply(unit: nn.Module, x, act: bool = True):
    conv, norm = unit
    x = conv(x)
    features = norm(x.features)
    return x.replace_feature(torch.relu(features) if act else features)


def _add(block: nn.Module, x):
    first, second, *shortcut = block
    y = _apply(second, _apply(first, x), act=False)
    beside = x.features
    for layer in shortcut:
        beside = layer(beside)
    return y.replace_feature(torch.relu(y.features + beside))
