"""After how many numbers a stream of records repeats, from the numbers alone.

Each number is put into a class by its sign, its magnitude (powers of two) and whether it is whole.
With the right period each column has classes of its own, so that the position within the period
tells something of the class: their mutual information. A wrong period mixes the columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SHARPEST = 14  # powers of two above and below 1 that are told apart
_SURE = 8.0  # standard deviations above what chance would tell


def classes(values: NDArray) -> NDArray[np.int64]:
    """Class of each number [N]; an int64 below 4 * 32."""
    with np.errstate(invalid="ignore"):  # signalling NaN
        values = np.asarray(values).astype(np.float64)
    finite = np.isfinite(values)
    safe = np.where(finite, values, 1.0)
    _, exponents = np.frexp(safe)
    found = np.clip(exponents, -_SHARPEST, _SHARPEST) + _SHARPEST
    found = np.where(safe == 0, 2 * _SHARPEST + 1, found)
    found = np.where(finite, found, 2 * _SHARPEST + 2)
    return found + 32 * (safe < 0) + 64 * ((safe == np.rint(safe)) & (safe != 0) & finite)


def information(found: NDArray[np.int64], phases: NDArray[np.int64]) -> tuple[float, float]:
    """Bits that the phases [N] tell of the classes [N], and how sure it is (standard deviations).

    What chance alone would tell is subtracted (Miller and Madow; G-test).
    """
    if len(found) == 0:
        return 0.0, 0.0
    _, found = np.unique(found, return_inverse=True)
    columns, kinds = int(phases.max()) + 1, int(found.max()) + 1
    joint = np.bincount(phases * kinds + found, minlength=columns * kinds).astype(np.float64)
    joint = joint.reshape(columns, kinds)
    expected = joint.sum(1, keepdims=True) * joint.sum(0) / len(found)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(joint > 0, joint * np.log(joint / expected), 0.0)
    g = 2 * float(parts.sum())
    freedom = (columns - 1) * (kinds - 1)
    bits = (g - freedom) / (2 * len(found) * np.log(2))
    return max(bits, 0.0), (g - freedom) / max(np.sqrt(2 * freedom), 1.0)


def told_by_period(
    values: NDArray, positions: NDArray[np.int64], periods: Sequence[int]
) -> dict[int, float]:
    """Bits that each period tells of the numbers [N] at `positions` [N]; 0 if chance might."""
    found = classes(values)
    return {period: told(found, positions % period) for period in periods}


def told(found: NDArray[np.int64], phases: NDArray[np.int64]) -> float:
    """The bits of `information`, or 0 if chance might tell as much."""
    bits, sure = information(found, phases)
    return bits if sure > _SURE else 0.0
