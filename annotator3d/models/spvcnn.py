"""SPVCNN: MinkUNet with a point branch that keeps what coarse voxels blur (SPVNAS, ECCV 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from annotator3d.models.minkunet import PUBLISHED_PLANES, MinkUNet
from annotator3d.models.normalization import BatchNorm
from annotator3d.models.point_branch import PointView
from annotator3d.models.sparse import sparse_input
from annotator3d.registry import BACKBONES


def _point_layer(inp: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inp, out), BatchNorm(out), nn.ReLU())


@BACKBONES.register_module()
class SPVCNN(MinkUNet):
    """MinkUNet whose voxels exchange features with points, as in Annotator's released code.

    The points are the network's own voxels. They are averaged into the voxels before the way down,
    at the deepest level and half the way up, and each time read again what the voxels have become;
    one layer carries over what a point had before. The output is what was read at the deepest
    level, half the way up and at the end.

    Args:
        in_channels, planes, blocks: as `MinkUNet`; the default has 21.8 M parameters with the head.

    Raises:
        ValueError: as `MinkUNet`, or fewer than 2 levels.
    """

    def __init__(
        self,
        in_channels: int = 4,
        planes: Sequence[int] = PUBLISHED_PLANES,
        blocks: int = 2,
    ) -> None:
        super().__init__(in_channels, planes, blocks)
        levels = len(self.down)
        if levels < 2:
            raise ValueError(f"planes: SPVCNN needs at least 2 levels (5 widths), got {levels}")
        self.middle = levels // 2
        stem, deepest = int(planes[0]), int(planes[levels])
        middle, last = int(planes[levels + self.middle]), int(planes[-1])
        self.points = nn.ModuleList(
            _point_layer(inp, out)
            for inp, out in ((stem, deepest), (deepest, middle), (middle, last))
        )
        self.out_channels = deepest + middle + last

    def forward(self, features: Tensor, cells: Tensor, splits: Tensor) -> Tensor:
        """features [V, in], cells [V, 3] int32, splits [B + 1] -> [V, out_channels]."""
        view = PointView(cells, splits)
        x = self.stem(sparse_input(features, cells, splits))
        first = view.read(x)
        x, skips = view.write(first, x), [x]
        for stage in self.down[:-1]:
            x = stage(x)
            skips.append(x)
        x = self.down[-1](x)
        deepest = view.read(x) + self.points[0](first)
        x = view.write(deepest, x)
        for stage in self.up[: self.middle]:
            x = stage(x, skips.pop())
        middle = view.read(x) + self.points[1](deepest)
        x = view.write(middle, x)
        for stage in self.up[self.middle :]:
            x = stage(x, skips.pop())
        last = view.read(x) + self.points[2](middle)
        return torch.cat([deepest, middle, last], dim=1)
