"""Dense images of a batch of scans, and the layers that both networks on images share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

# Beyond these a network is a slip of the keyboard, as in `minkunet`.
MOST_LEVELS, MOST_WIDTH = 12, 8192


def check_planes(planes: Sequence[int]) -> list[int]:
    """Widths of the stem, of each level down and of each level up: 2 L + 1 of them.

    Raises:
        ValueError: it is another number of widths, or one of them is out of range.
    """
    planes = [int(p) for p in planes]
    if len(planes) < 3 or len(planes) % 2 == 0 or not all(1 <= p <= MOST_WIDTH for p in planes):
        raise ValueError(
            f"planes: expected 2 L + 1 widths (stem, L down, L up) from 1 to {MOST_WIDTH:,}, "
            f"got {len(planes)}: {planes}"
        )
    if len(planes) > 2 * MOST_LEVELS + 1:
        raise ValueError(f"planes: expected at most {MOST_LEVELS} levels, got {len(planes) // 2}")
    return planes


def check_share(name: str, share: float) -> float:
    """A share that is dropped, from 0 to below 1; ValueError for another number."""
    if not 0 <= share < 1:
        raise ValueError(f"{name}: expected a share from 0 to below 1, got {share!r}")
    return share


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that is defined for images of 0 and 1 values a channel, which have no variance."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() < 2 * self.num_features:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0, self.eps
            )
        return super().forward(x)


class DropBlock(nn.Module):
    """Dropout of whole squares of an image, in all channels (Ghiasi et al., NeurIPS 2018).

    Args:
        share: of the image that is dropped, about. size: edge of a square in pixels.
    """

    def __init__(self, share: float, size: int = 7) -> None:
        super().__init__()
        self.share, self.size = check_share("dropout", share), size

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.share:
            return x
        centres = torch.rand(x.shape[0], 1, *x.shape[2:], device=x.device)
        hit = (centres < self.share / self.size**2).to(x.dtype)
        kept = 1 - functional.max_pool2d(hit, self.size, 1, self.size // 2)
        return x * kept * (kept.numel() / kept.sum().clamp(min=1))


def pixel_rows(cells: Tensor, splits: Tensor, shape: tuple[int, int]) -> Tensor:
    """Row [V] int64 of each cell among the pixels of a batch: scan, then row, then column.

    Args:
        cells: [V, 2+] row and column first. splits: [B + 1], the scans' rows of it. shape: of an
            image, which all cells are in.
    """
    counts = splits.to(cells.device).diff()
    scan = torch.repeat_interleave(
        torch.arange(len(counts), device=cells.device), counts, output_size=len(cells)
    )
    return (scan * shape[0] + cells[:, 0]) * shape[1] + cells[:, 1]


def to_images(features: Tensor, rows: Tensor, scans: int, shape: tuple[int, int]) -> Tensor:
    """Images [B, C, H, W] of features [V, C] at the pixels `rows` [V], 0 elsewhere."""
    flat = features.new_zeros(scans * shape[0] * shape[1], features.shape[1])
    flat = flat.index_put((rows,), features)
    return flat.view(scans, *shape, -1).permute(0, 3, 1, 2).contiguous()


def from_images(images: Tensor, rows: Tensor) -> Tensor:
    """Features [V, C] at the pixels `rows` [V] of images [B, C, H, W]."""
    return images.permute(0, 2, 3, 1).flatten(0, 2)[rows]
