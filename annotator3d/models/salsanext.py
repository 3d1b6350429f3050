"""SalsaNext: a U-Net on range images (Cortinhal, Tzelepis and Aksoy, ISVC 2020)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from annotator3d.data.projections.range_image import CHANNELS, RangeImage
from annotator3d.models.dense import (
    BatchNorm,
    check_planes,
    check_share,
    from_images,
    pixel_rows,
    to_images,
)
from annotator3d.models.nearest_pixels import NearestPixels
from annotator3d.registry import BACKBONES

PUBLISHED_PLANES = (32, 64, 128, 256, 256, 128, 128, 64, 32)


def _layer(inp: int, out: int, size: int = 3, dilation: int = 1) -> nn.Sequential:
    """Convolution that keeps the size of an image, leaky ReLU, batch norm."""
    padding = dilation * (size - 1) // 2
    conv = nn.Conv2d(inp, out, size, dilation=dilation, padding=padding)
    return nn.Sequential(conv, nn.LeakyReLU(), BatchNorm(out))


class ContextBlock(nn.Module):
    """What a pixel sees around it at full resolution, beside what it is itself."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(nn.Conv2d(inp, out, 1), nn.LeakyReLU())
        self.near, self.far = _layer(out, out), _layer(out, out, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shortcut(x)
        return x + self.far(self.near(x))


class DilatedLayers(nn.Module):
    """Three convolutions that look ever farther; all of them are heard."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.near = _layer(inp, out)
        self.far = _layer(out, out, dilation=2)
        self.between = _layer(out, out, size=2, dilation=2)
        self.join = _layer(3 * out, out, size=1)

    def forward(self, x: Tensor) -> Tensor:
        near = self.near(x)
        far = self.far(near)
        return self.join(torch.cat([near, far, self.between(far)], dim=1))


class ResidualBlock(nn.Module):
    """Dilated layers beside a 1x1 shortcut."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(nn.Conv2d(inp, out, 1), nn.LeakyReLU())
        self.layers = DilatedLayers(inp, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.layers(x)


class UpStage(nn.Module):
    """Twice as large by pixel shuffle, beside the features that left that level."""

    def __init__(self, inp: int, skip: int, out: int, drop: float, drop_inside: bool) -> None:
        super().__init__()
        self.shuffle = nn.PixelShuffle(2)
        self.first = nn.Dropout2d(drop if drop_inside else 0.0)
        self.second = nn.Dropout2d(drop if drop_inside else 0.0)
        self.layers = DilatedLayers(inp // 4 + skip, out)
        self.last = nn.Dropout2d(drop if drop_inside else 0.0)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = torch.cat([self.first(self.shuffle(x)), skip], dim=1)
        return self.last(self.layers(self.second(x)))


@BACKBONES.register_module()
class SalsaNext(nn.Module):
    """Features of each occupied pixel of the range image; a point gets those of pixels near it.

    The softmax of the published network is no part of it: its outputs are logits. Each channel is
    brought to mean 0 and deviation 1 over the occupied pixels of the training scans, without
    labels, before the first epoch; the numbers are kept with the weights.

    Args:
        height, width, fov, rows: the image, see `RangeImage`; by default that of an HDL-64E.
        planes: widths of the context module, of each level down (the last one is the bottom, as
            small as the one before it) and of each level up: 2 L + 1. The default is the published
            network: 6.7 M parameters with the head. Those that are shuffled up must be multiples
            of 4.
        dropout: share of the channels that is dropped in training.
        mean, std: of the five channels range, x, y, z (metres) and intensity; None: measured.
        neighbours, window, sigma, cutoff: the clean-up, see `NearestPixels`.

    Raises:
        ValueError: one of them is out of range.
    """

    def __init__(
        self,
        height: int = 64,
        width: int = 2048,
        fov: Sequence[float] = (3.0, -25.0),
        rows: str = "auto",
        planes: Sequence[int] = PUBLISHED_PLANES,
        dropout: float = 0.2,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        neighbours: int = 5,
        window: int = 5,
        sigma: float = 1.0,
        cutoff: float = 1.0,
    ) -> None:
        super().__init__()
        self.image = self.projection_for(height=height, width=width, fov=fov, rows=rows)
        self.nearest = NearestPixels(neighbours, window, sigma, cutoff)
        planes, drop = check_planes(planes), check_share("dropout", dropout)
        levels = len(planes) // 2
        stem, down, up = planes[0], planes[1 : levels + 1], planes[levels + 1 :]
        if wrong := [p for p in (down[-1], *up[:-1]) if p % 4]:
            raise ValueError(
                f"planes: a width that is shuffled up must be a multiple of 4, got {wrong[0]}"
            )
        self._set_input(mean, std)
        self.context = nn.Sequential(
            ContextBlock(CHANNELS, stem), ContextBlock(stem, stem), ContextBlock(stem, stem)
        )
        self.down = nn.ModuleList(
            ResidualBlock(inp, out) for inp, out in zip([stem, *down[:-1]], down, strict=True)
        )
        # As published: none after the first level down, nor in the last one up.
        self.drop = nn.ModuleList(nn.Dropout2d(drop if i else 0.0) for i in range(levels))
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.bottom = ResidualBlock(down[-1], down[-1])
        self.bottom_drop = nn.Dropout2d(drop)
        self.up = nn.ModuleList(
            UpStage(inp, skip, out, drop, drop_inside=i + 1 < levels)
            for i, (inp, skip, out) in enumerate(
                zip([down[-1], *up[:-1]], down[::-1], up, strict=True)
            )
        )
        self.out_channels = up[-1]

    @classmethod
    def projection_for(
        cls,
        *,
        height: int = 64,
        width: int = 2048,
        fov: Sequence[float] = (3.0, -25.0),
        rows: str = "auto",
        **others: object,
    ) -> RangeImage:
        """The image that a network with these keywords reads."""
        return RangeImage(height, width, tuple(fov), rows)

    def forward(self, batch: Mapping) -> Tensor:
        """Features [V, out_channels] of the occupied pixels of a batch (`data.batch.collate`)."""
        shape = self.image.height, self.image.width
        rows = pixel_rows(batch["cells"], batch["splits"], shape)
        seen = (batch["points"][batch["first"]] - self.mean) / self.std
        x = to_images(seen, rows, len(batch["splits"]) - 1, shape)
        return from_images(self._unet(x), rows)

    def _unet(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        unit = 2 ** len(self.down)
        x = functional.pad(x, (0, -width % unit, 0, -height % unit))
        x, skips = self.context(x), []
        for block, drop in zip(self.down, self.drop, strict=True):
            x = block(x)
            skips.append(x)
            x = self.pool(drop(x))
        x = self.bottom_drop(self.bottom(x))
        for stage in self.up:
            x = stage(x, skips.pop())
        return x[:, :, :height, :width]

    def at_points(self, logits: Tensor, batch: Mapping) -> Tensor:
        """Logits [N, C] of the points of a batch, given those of its pixels [V, C]."""
        shape = self.image.height, self.image.width
        distance = batch["points"][:, 0]
        return self.nearest.blend(
            logits,
            distance[batch["first"]],
            pixel_rows(batch["cells"], batch["splits"], shape),
            shape,
            batch["point_to_voxel"],
            distance,
        )

    def _set_input(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        if (mean is None) != (std is None):
            raise ValueError("mean and std: give both, or none, and they are measured")
        for name, values in (("mean", mean), ("std", std)):
            if values is not None and len(values) != CHANNELS:
                raise ValueError(
                    f"{name}: expected {CHANNELS} numbers (range, x, y, z, intensity), "
                    f"got {len(values)}"
                )
        if std is not None and min(std) <= 0:
            raise ValueError(f"std: expected numbers above 0, got {list(std)}")
        self.measures_input = mean is None
        self.register_buffer("mean", torch.tensor(mean or [0.0] * CHANNELS, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std or [1.0] * CHANNELS, dtype=torch.float32))

    def input_statistics(self, samples: Iterable[Mapping]) -> dict[str, Tensor]:
        """Values for the buffers `mean` and `std`, from samples of `data.batch.make_sample`.

        Over all occupied pixels, summed in float64. A channel without any spread keeps deviation 1.
        """
        count, total, square = 0, torch.zeros(CHANNELS).double(), torch.zeros(CHANNELS).double()
        for sample in samples:
            seen = sample["points"][sample["first"]].double()
            count += len(seen)
            total += seen.sum(0)
            square += (seen**2).sum(0)
        if not count:
            return {"mean": torch.zeros(CHANNELS), "std": torch.ones(CHANNELS)}
        mean = total / count
        spread = (square / count - mean**2).clamp(min=0).sqrt()
        return {
            "mean": mean.float(),
            "std": torch.where(spread > 1e-6, spread, 1.0).float(),
        }
