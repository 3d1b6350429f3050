"""MinkUNet: a residual U-Net of sparse convolutions (Choy et al., CVPR 2019), as in Annotator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from annotator3d.models.normalization import BatchNorm, normalize_and_rectify
from annotator3d.models.sparse import SparseConv, SparseTensor, fuses, sparse_input
from annotator3d.registry import BACKBONES

PUBLISHED_PLANES = (32, 32, 64, 128, 256, 256, 128, 96, 96)
# Beyond these a network is a slip of the keyboard: it fits no memory, or is never built to its end.
MOST_LEVELS, MOST_WIDTH, MOST_BLOCKS = 16, 8192, 100


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU; on CPU one pass in inference and two in training."""

    def __init__(self, inp: int, out: int, kind: str = "subm") -> None:
        super().__init__()
        self.conv = SparseConv(inp, out, kind)
        self.norm = BatchNorm(out)

    def forward(self, x: SparseTensor, residual: Tensor | None = None) -> SparseTensor:
        """`residual` is added before the ReLU."""
        if fuses(self.norm, x.features):
            return self.conv.fused(x, self.norm, residual)
        x = self.conv(x)
        return x.with_features(normalize_and_rectify(self.norm, x.features, residual))


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions and a shortcut (1x1x1 where the widths differ)."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.first = ConvBlock(inp, out)
        self.second = ConvBlock(out, out)
        # A 1x1x1 sparse convolution is a linear layer on the rows.
        self.shortcut = (
            nn.Identity()
            if inp == out
            else nn.Sequential(nn.Linear(inp, out, bias=False), BatchNorm(out))
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.second(self.first(x), self.shortcut(x.features))


class UpStage(nn.Module):
    """Back to the finer level, beside the features that left it, then residual blocks."""

    def __init__(self, inp: int, skip: int, out: int, blocks: int) -> None:
        super().__init__()
        self.up = ConvBlock(inp, out, "up")
        self.blocks = _residual(out + skip, out, blocks)

    def forward(self, x: SparseTensor, skip: SparseTensor) -> SparseTensor:
        x = self.up(x)
        return self.blocks(x.with_features(torch.cat([x.features, skip.features], dim=1)))


def _residual(inp: int, out: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(inp if i == 0 else out, out) for i in range(blocks)))


@BACKBONES.register_module()
class MinkUNet(nn.Module):
    """Features of each voxel from its neighbourhood.

    Args:
        in_channels: features of a voxel (x, y, z in metres, intensity).
        planes: widths of the stem, of each level down and of each level up: 2 L + 1 numbers for
            L levels. The default is the published network: 21.7 M parameters with the head.
        blocks: residual blocks of each stage.

    Raises:
        ValueError: `planes` is not an odd number of positive widths, or a width, the number of
            widths or `blocks` is beyond what a machine holds.
    """

    def __init__(
        self,
        in_channels: int = 4,
        planes: Sequence[int] = PUBLISHED_PLANES,
        blocks: int = 2,
    ) -> None:
        super().__init__()
        planes = [int(p) for p in planes]
        if len(planes) < 3 or len(planes) % 2 == 0 or min(planes) < 1:
            raise ValueError(
                "planes: expected 2 L + 1 positive widths (stem, L down, L up), "
                f"got {len(planes)}: {planes}"
            )
        if len(planes) > 2 * MOST_LEVELS + 1 or max(planes) > MOST_WIDTH:
            raise ValueError(
                f"planes: expected at most {MOST_LEVELS} levels and widths up to {MOST_WIDTH:,}, "
                f"got {len(planes)} widths up to {max(planes):,}"
            )
        if not 1 <= blocks <= MOST_BLOCKS:
            raise ValueError(f"blocks: expected 1 to {MOST_BLOCKS}, got {blocks}")
        levels = len(planes) // 2
        stem, down, up = planes[0], planes[1 : levels + 1], planes[levels + 1 :]
        self.stem = nn.Sequential(ConvBlock(in_channels, stem), ConvBlock(stem, stem))
        self.down = nn.ModuleList(
            nn.Sequential(ConvBlock(inp, inp, "down"), _residual(inp, out, blocks))
            for inp, out in zip([stem, *down[:-1]], down, strict=True)
        )
        skips = [stem, *down[:-1]][::-1]
        self.up = nn.ModuleList(
            UpStage(inp, skip, out, blocks)
            for inp, skip, out in zip([down[-1], *up[:-1]], skips, up, strict=True)
        )
        self.out_channels = up[-1]

    def forward(self, features: Tensor, cells: Tensor, splits: Tensor) -> Tensor:
        """features [V, in], cells [V, 3] int32, splits [B + 1] -> [V, out_channels]."""
        x = self.stem(sparse_input(features, cells, splits))
        skips = []
        for stage in self.down:
            skips.append(x)
            x = stage(x)
        for stage in self.up:
            x = stage(x, skips.pop())
        return x.features
