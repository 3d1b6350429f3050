"""PolarNet: a point network, then a U-Net on the polar bird's-eye view (CVPR 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from annotator3d.data.projections.polar_grid import CHANNELS, PolarGrid
from annotator3d.models.dense import (
    BatchNorm,
    DropBlock,
    check_planes,
    check_share,
    from_images,
    pixel_rows,
    to_images,
)
from annotator3d.models.minkunet import MOST_WIDTH
from annotator3d.models.normalization import BatchNorm as PointNorm
from annotator3d.registry import BACKBONES

PUBLISHED_POINTS = (64, 128, 256, 64)
PUBLISHED_PLANES = (64, 128, 256, 512, 512, 256, 128, 64, 64)


class RingConv(nn.Module):
    """3x3 convolution, batch norm, leaky ReLU; the last direction is beside the first."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inp, out, 3, padding=(1, 0))
        self.norm = BatchNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (1, 1, 0, 0), mode="circular")
        return functional.leaky_relu(self.norm(self.conv(x)))


class UpStage(nn.Module):
    """As large as the level above, beside the features that left it."""

    def __init__(self, inp: int, skip: int, out: int, drop: float) -> None:
        super().__init__()
        self.convs = nn.Sequential(RingConv(inp + skip, out), RingConv(out, out))
        self.drop = DropBlock(drop)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        over = [a - b for a, b in zip(skip.shape[2:], x.shape[2:], strict=True)]
        x = functional.pad(x, (0, over[1], 0, over[0]))  # pooling cuts an odd row or column off
        return self.drop(self.convs(torch.cat([skip, x], dim=1)))


class HeightHead(nn.Module):
    """Logits of the cells of a column, each height with weights of its own.

    As the published 1x1 convolution to C x heights channels, computed for the occupied cells alone.
    """

    def __init__(self, channels: int, outputs: int, heights: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heights, outputs, channels))
        self.bias = nn.Parameter(torch.empty(heights, outputs))
        bound = channels**-0.5  # as `nn.Conv2d`
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, features: Tensor, cells: Tensor) -> Tensor:
        """features [V, channels], cells [V, 3] int32 -> [V, outputs]."""
        heights = len(self.weight)
        order = torch.argsort(cells[:, 2], stable=True)
        counts = torch.bincount(cells[:, 2], minlength=heights).tolist()
        parts = [
            functional.linear(part, weight, bias)
            for part, weight, bias in zip(
                features[order].split(counts), self.weight, self.bias, strict=True
            )
        ]
        return torch.cat(parts)[torch.argsort(order)]


@BACKBONES.register_module()
class PolarNet(nn.Module):
    """Features of each occupied cell of the polar grid: those of its column, told apart by height.

    A small network reads each point; over the points of a column the largest of each of its numbers
    makes the pixel of a bird's-eye image. Widths, pooling and the dropout of whole squares are
    those of the file that Annotator released. It reads at most 64 points of a column, drawn at
    random; here all are read. It divides the turn by one part less than the grid has; here the
    parts are equal and the last one is used.

    Args:
        grid, reach, heights: the grid, see `PolarGrid`.
        point_planes: widths of the layers that read a point.
        planes: widths of the stem, of each level down and of each level up of the U-Net: 2 L + 1.
        dropout: share of the image that is dropped in training after each level up.

    Raises:
        ValueError: one of them is out of range, or the grid is too small for the levels.
    """

    def __init__(
        self,
        grid: Sequence[int] = (480, 360, 32),
        reach: Sequence[float] = (3.0, 50.0),
        heights: Sequence[float] = (-3.0, 1.5),
        point_planes: Sequence[int] = PUBLISHED_POINTS,
        planes: Sequence[int] = PUBLISHED_PLANES,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.grid = self.projection_for(grid=grid, reach=reach, heights=heights)
        planes, drop = check_planes(planes), check_share("dropout", dropout)
        if not point_planes or not all(1 <= p <= MOST_WIDTH for p in point_planes):
            raise ValueError(
                f"point_planes: expected widths from 1 to {MOST_WIDTH:,}, got {list(point_planes)}"
            )
        levels = len(planes) // 2
        if min(self.grid.grid[:2]) < 2**levels:
            raise ValueError(
                f"grid: {levels} levels halve an image {levels} times, so its first two numbers "
                f"must be at least {2**levels}, got {list(grid)}"
            )
        told = self.grid.grid[2]  # numbers of a column that the image network reads, as published
        self.points = _point_network([CHANNELS, *map(int, point_planes)])
        self.compress = nn.Sequential(nn.Linear(int(point_planes[-1]), told), nn.ReLU())
        stem, down, up = planes[0], planes[1 : levels + 1], planes[levels + 1 :]
        self.norm = BatchNorm(told)
        self.stem = nn.Sequential(RingConv(told, stem), RingConv(stem, stem))
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), RingConv(inp, out), RingConv(out, out))
            for inp, out in zip([stem, *down[:-1]], down, strict=True)
        )
        self.up = nn.ModuleList(
            UpStage(inp, skip, out, drop)
            for inp, skip, out in zip(
                [down[-1], *up[:-1]], [stem, *down[:-1]][::-1], up, strict=True
            )
        )
        self.out_channels = up[-1]

    @classmethod
    def projection_for(
        cls,
        *,
        grid: Sequence[int] = (480, 360, 32),
        reach: Sequence[float] = (3.0, 50.0),
        heights: Sequence[float] = (-3.0, 1.5),
        **others: object,
    ) -> PolarGrid:
        """The grid that a network with these keywords reads."""
        return PolarGrid(tuple(grid), tuple(reach), tuple(heights))

    def make_head(self, outputs: int) -> HeightHead:
        """The layer from features to logits."""
        return HeightHead(self.out_channels, outputs, self.grid.grid[2])

    def forward(self, batch: Mapping) -> Tensor:
        """Features [V, out_channels] of the occupied cells of a batch (`data.batch.collate`)."""
        shape = self.grid.grid[0], self.grid.grid[1]
        scans = len(batch["splits"]) - 1
        rows = pixel_rows(batch["cells"], batch["splits"], shape)
        columns, column = torch.unique(rows, return_inverse=True)
        told = self.points(batch["points"])
        of_point = column[batch["point_to_voxel"]]
        largest = told.new_zeros(len(columns), told.shape[1]).scatter_reduce(
            0, of_point[:, None].expand_as(told), told, "amax", include_self=False
        )
        images = to_images(self.compress(largest), columns, scans, shape)
        return from_images(self._unet(self.norm(images)), rows)

    def _unet(self, x: Tensor) -> Tensor:
        x, skips = self.stem(x), []
        for stage in self.down:
            skips.append(x)
            x = stage(x)
        for stage in self.up:
            x = stage(x, skips.pop())
        return x


def _point_network(widths: Sequence[int]) -> nn.Sequential:
    """Batch norm, then linear layers with batch norm and ReLU between them."""
    layers: list[nn.Module] = [PointNorm(widths[0])]
    for inp, out in pairwise(widths):
        layers += [nn.Linear(inp, out), PointNorm(out), nn.ReLU()]
    return nn.Sequential(*layers[:-2])
