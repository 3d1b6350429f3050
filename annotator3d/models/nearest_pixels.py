"""From the pixels of a range image back to its points: the nearest pixels by range vote."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_AT_ONCE = 1 << 22  # numbers of one piece of points: bounds the memory


@dataclass(frozen=True)
class NearestPixels:
    """The k-nearest clean-up of RangeNet++ (Milioto et al., IROS 2019), with soft votes.

    Points that share a pixel have one prediction, which is that of the nearest of them. So each
    point looks at the pixels in a window around its own, takes those whose range is most like its
    own, and averages what they predict. Differences of range count less near the pixel:
    they are multiplied by one minus a Gaussian of unit sum. The point's own pixel always takes
    part, as if its range were the point's. The window goes around the sensor: the last column is
    beside the first.

    Attributes:
        count: pixels that take part, at most; 1: a point has the prediction of its pixel.
        window: edge of the window, odd, in pixels.
        sigma: of the Gaussian, in pixels.
        cutoff: weighted difference of range, metres, from which on a pixel takes no part.
    """

    count: int = 5
    window: int = 5
    sigma: float = 1.0
    cutoff: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 31 or self.window % 2 == 0:
            raise ValueError(f"window: expected an odd number from 1 to 31, got {self.window!r}")
        if not 1 <= self.count <= self.window**2:
            raise ValueError(
                f"neighbours: expected 1 to {self.window**2} (window x window), got {self.count!r}"
            )
        for name in ("sigma", "cutoff"):
            if not 0 < getattr(self, name) <= 1e6:
                raise ValueError(
                    f"{name}: expected a number above 0, at most 1e6, got {getattr(self, name)!r}"
                )

    def blend(
        self,
        logits: Tensor,
        pixel_range: Tensor,
        rows: Tensor,
        shape: tuple[int, int],
        pixel: Tensor,
        point_range: Tensor,
    ) -> Tensor:
        """Logits [N, C] of points: the logarithms of the mean probabilities of their pixels.

        Args:
            logits: [V, C] of the occupied pixels. pixel_range: [V] metres.
            rows: [V] of each pixel among all pixels of the batch (`dense.pixel_rows`).
            shape: height and width of an image.
            pixel: [N], the occupied pixel of each point. point_range: [N] metres.
        """
        certain = logits.float().log_softmax(1)
        if self.count == 1 or len(pixel) == 0:
            return certain[pixel]
        height, width = shape
        scans = int(rows.max()) // (height * width) + 1
        number = rows.new_full((scans * height * width,), -1)
        number[rows] = torch.arange(len(rows), device=rows.device)
        step = max(1, _AT_ONCE // max(self.window**2, self.count * logits.shape[1]))
        parts = [
            self._piece(certain, pixel_range, number, shape, rows[own], own, measured)
            for own, measured in zip(pixel.split(step), point_range.split(step), strict=True)
        ]
        return torch.cat(parts)

    def _piece(
        self,
        certain: Tensor,
        pixel_range: Tensor,
        number: Tensor,
        shape: tuple[int, int],
        at: Tensor,
        own: Tensor,
        measured: Tensor,
    ) -> Tensor:
        height, width = shape
        shift, weight = self._window(at.device)
        column, row = at % width, at // width % height
        rows = row[:, None] + shift[:, 0]
        inside = (rows >= 0) & (rows < height)
        start = (at // (height * width) * height)[:, None]  # of the scan's image
        places = (start + rows.clamp(0, height - 1)) * width
        places = places + (column[:, None] + shift[:, 1]) % width
        near = torch.where(inside, number[places], -1)
        apart = (pixel_range[near.clamp(min=0)] - measured[:, None]).abs() * weight
        apart = torch.where(near >= 0, apart, torch.inf)
        middle = len(shift) // 2
        near[:, middle], apart[:, middle] = own, 0.0
        # A stable sort: which of equally far pixels takes part must not depend on the machine.
        apart, order = apart.sort(dim=1, stable=True)
        apart, near = apart[:, : self.count], near.gather(1, order[:, : self.count])
        counts = apart <= self.cutoff
        votes = certain[near.clamp(min=0)].masked_fill(~counts[:, :, None], -torch.inf)
        return votes.logsumexp(1) - counts.sum(1, keepdim=True).log()

    def _window(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Shifts [S * S, 2] to the pixels of the window, and the weight [S * S] of a difference."""
        half = self.window // 2
        steps = torch.arange(-half, half + 1)
        shift = torch.cartesian_prod(steps, steps).view(-1, 2)
        gauss = torch.exp(-(shift.double() ** 2).sum(1) / (2 * self.sigma**2))
        weight = (1 - gauss / gauss.sum()).float()
        return shift.to(device), weight.to(device)
