"""Intensities of a scan as they are written: what of them is missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.scan import MISSING_INTENSITY

_FAR = 100  # times the usual intensity: no surface reflects so much more than nearly all others


def stored(values: NDArray, remarks: dict[str, int]) -> tuple[NDArray[np.float32], list[float]]:
    """Intensities [N] as they are written, and the smallest and largest that the file has.

    A point without one (NaN, infinite, or too large for float32) is a point all the same, so it
    gets the constant `MISSING_INTENSITY`; `remarks` counts such points and negative intensities.
    """
    with np.errstate(over="ignore"):
        kept = values.astype(np.float32)
    there = np.isfinite(kept)
    if missing := int((~there).sum()):
        kept = np.where(there, kept, np.float32(MISSING_INTENSITY))
        remarks[
            f"points without an intensity (NaN or Inf in the file) get {MISSING_INTENSITY:g}"
        ] = missing
    if negative := int((kept < 0).sum()):
        remarks["points with an intensity below 0 are kept as they are"] = negative
    present = kept[there]
    if len(present) and (few := int((present > _FAR * _usual(present)).sum())):
        remarks[f"intensities more than {_FAR} times those of 99 % of the points are kept"] = few
    return kept, [float(present.min()), float(present.max())] if len(present) else []


def _usual(present: NDArray[np.float32]) -> float:
    """What 99 % of the points do not exceed; infinite where that is nothing."""
    usual = float(np.quantile(np.abs(present), 0.99))
    return usual if usual > 0 else np.inf
