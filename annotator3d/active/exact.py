"""Sums and distances that are the same to the last bit in any order and with any threads: they are
of whole numbers."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.kernels.voxels import Voxels

_BITS = 40  # of the largest value in a mean: leaves 2^23 points to a voxel
_DISTANCE_BITS = 15  # of the largest coordinate: squared distances in 2^20 dimensions are exact


def points_of(voxels: Voxels, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The points [n] of the voxels `rows` [k], and the place in `rows` of each one's voxel [n]."""
    place = torch.full((len(voxels),), -1, dtype=torch.int64, device=rows.device)
    place[rows] = torch.arange(len(rows), device=rows.device)
    place = place[voxels.point_to_voxel]
    points = (place >= 0).nonzero()[:, 0]
    return points, place[points]


def exact_means(values: Tensor, group: Tensor, count: int) -> Tensor:
    """[count, D] float64 means of the values [n, D] of each group, rounded to 2^-40 of the largest.

    Args:
        group: [n] int64 in 0..count - 1; each number occurs.

    Raises ValueError for values that are not finite.
    """
    largest = float(values.detach().abs().max()) if values.numel() else 0.0
    if not math.isfinite(largest):
        raise ValueError("features: expected finite values, got NaN or infinite ones")
    one = 2.0 ** (_BITS - math.frexp(largest)[1])
    whole = (values.double() * one).round().long()
    sums = torch.zeros(count, values.shape[1], dtype=torch.int64, device=values.device)
    sums.index_add_(0, group, whole)
    return sums.double() / group.bincount(minlength=count)[:, None] / one


def scale_of(*parts: NDArray[np.floating], bits: int = _DISTANCE_BITS) -> float:
    """The power of two by which arrays are multiplied so that their largest value has 15 bits.

    Squared distances and products of rows are then exact, with 20 bits up to 1,000 dimensions.
    """
    largest = max((float(np.abs(part).max()) for part in parts if part.size), default=0.0)
    return 2.0 ** (bits - math.frexp(largest)[1])


def whole_numbers(
    *parts: NDArray[np.floating], scale: float | None = None
) -> list[NDArray[np.float64]]:
    """Arrays [n, D], times one `scale_of` them, rounded to whole numbers."""
    scale = scale_of(*parts) if scale is None else scale
    return [np.rint(part.astype(np.float64) * scale) for part in parts]


class SquaredDistances:
    """From each of the whole rows [n, D] to others, without an array of [n, m, D]."""

    def __init__(self, rows: NDArray[np.float64]) -> None:
        self._rows, self._lengths = rows, _squares(rows)

    def to(self, others: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n, m] to whole rows [m, D] in the same unit."""
        return self._lengths[:, None] + _squares(others) - 2 * (self._rows @ others.T)


def _squares(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("nd,nd->n", rows, rows)
