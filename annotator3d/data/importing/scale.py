"""What the points themselves say of their scale: how wide a scan is, how dense its voxels are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.extent import strays

VOXEL = 0.25
"""Metres: the voxels that are asked about, unless `active.voxel_size` says otherwise."""
_TILE = 300.0  # metres: hardly a sensor on a vehicle measures as far
_LONELY = 0.9  # share of the voxels with a single point
_FEW = 1000  # points: too few to judge by


@dataclass(frozen=True)
class Scale:
    """Numbers of one scan: occupied voxels, those with one point, and lengths in metres.

    `farthest` is the farthest point from the origin; `across` the longer side of the scan in plan,
    without strays.
    """

    voxels: int = 0
    single: int = 0
    farthest: float = 0.0
    across: float = 0.0


def measure(xyz: NDArray[np.float32]) -> Scale:
    """The scale of finite points [N, 3] in metres."""
    if not len(xyz):
        return Scale()
    exact = xyz.astype(np.float64)
    farthest = float(np.sqrt((exact**2).sum(1).max()))
    exact = exact[~strays(exact)]
    cells = np.floor(exact / VOXEL).astype(np.int64)
    cells -= cells.min(0)
    counts = np.unique(np.ravel_multi_index(cells.T, cells.max(0) + 1), return_counts=True)[1]
    across = float(np.ptp(exact[:, :2], axis=0).max())
    return Scale(len(counts), int((counts == 1).sum()), farthest, across)


def remarks_on(scale: Scale, points: int) -> dict[str, int]:
    """What somebody should look at; see `Converted.remarks`."""
    found: dict[str, int] = {}
    if scale.across > 2 * _TILE:
        found[
            f"more than {2 * _TILE:.0f} m across, which is a tile of a map rather than a scan; the "
            "network learns from coordinates around a sensor: cut tiles into pieces of some 100 m"
        ] = 0
    if points >= _FEW and scale.single > _LONELY * scale.voxels:
        found[
            f"more than {100 * _LONELY:.0f} % of the voxels of {VOXEL} m hold a single point: look "
            "whether the unit is right (--unit), or ask about larger voxels (active.voxel_size)"
        ] = 0
    return found
