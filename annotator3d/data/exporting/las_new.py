"""What a LAS file holds that is written from the dataset alone: whole numbers and intensities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats.las import finest_step
from annotator3d.data.importing.card import Origin
from annotator3d.data.importing.coordinates import grid_shift


class Grid(NamedTuple):
    """X, Y and Z [N, 3] and the scales and offsets that make coordinates of them.

    `rounded`: float32 was too coarse to find the whole numbers of the imported file again.
    """

    whole: NDArray[np.int64]
    scales: NDArray[np.float64]
    offsets: NDArray[np.float64]
    rounded: bool = False


def grid_of(xyz: NDArray[np.float32], origin: Origin) -> Grid:
    """The grid of the imported LAS file, in its own unit; else the finest that fits, in metres."""
    exact, offset = xyz.astype(np.float64), np.array(origin.offset or (0.0, 0.0, 0.0))
    steps, unit = np.array(origin.steps), np.array(origin.unit or (1.0, 1.0, 1.0))
    if len(steps) != 3:
        step = finest_step(exact)
        return Grid(np.rint(exact / step).astype(np.int64), np.full(3, step), offset)
    zero = np.array(origin.zero) if len(origin.zero) == 3 else offset
    shift, rest = grid_shift(tuple(steps), tuple(zero), tuple(offset))
    whole = np.rint((exact - rest) / steps) - shift
    rounded = bool((np.spacing(np.abs(xyz)) >= steps).any())
    return Grid(whole.astype(np.int64), steps / unit, zero / unit, rounded)


def intensity_fields(intensity: NDArray[np.float32]) -> dict[str, NDArray]:
    """``intensity`` (uint16), and ``remission`` (float32) where that does not hold it exactly."""
    whole = np.rint(np.clip(intensity, 0, 65535)).astype(np.uint16)
    if (whole == intensity).all() and intensity.max(initial=0) > 1:
        return {"intensity": whole}
    unit = intensity.max(initial=0) <= 1
    scaled = np.rint(np.clip(intensity, 0, 1) * 65535).astype(np.uint16) if unit else whole
    return {"intensity": scaled, "remission": intensity}
