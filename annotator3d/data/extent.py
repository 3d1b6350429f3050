"""How far points lie from each other, and how finely float32 holds their coordinates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FAR = 10_000.0
"""Metres: from here on float32 no longer keeps a millimetre."""
REACH = 1e7
"""Metres: no sensor measures farther; cells of any usual voxel size fit 32 bits up to here."""
FINE, COARSE = 0.001, 0.01
"""Metres: steps below the first do no harm, steps from the second on spoil small voxels."""
HOUSING = 0.5  # metres: a sensor hardly measures anything nearer
_SURFACE = 10  # points there for each at the origin: what a surface through it has
_SAME = 100  # points: fewer may be the same by rounding
_ALONE = 1000.0  # metres from the middle: nearer points are never strays
_SPREADS = 10.0  # times the spread of the other points


def within_reach(xyz: NDArray) -> NDArray[np.bool_]:
    """Of points [N, 3] in metres: whether all three coordinates are numbers up to `REACH`."""
    return (np.abs(xyz) <= REACH).all(1)  # NaN compares as False


def without_return(xyz: NDArray) -> NDArray[np.bool_]:
    """Of points [N, 3] in metres: which are no measurements, but beams without a return.

    Many sensors (Ouster, Livox, SICK) store these at exactly (0, 0, 0). In a scan in another frame
    a measured point may lie there too: one alone counts as measured, and so do several of which
    each has 10 other points within half a metre, as it has on a surface.
    """
    zero = xyz[:, 0] == 0
    if zero.any():
        zero &= (xyz[:, 1:] == 0).all(1)
        count = int(zero.sum())
        near = int((np.abs(xyz) <= HOUSING).all(1).sum()) - count
        if count == 1 or near >= _SURFACE * count:
            zero[:] = False
    return zero


def at_one_place(xyz: NDArray) -> int:
    """How many of finite points [N, 3] share their exact place with 1 % of all, and 100, or more.

    No surface is measured so: where (0, 0, 0) stands for "no return", a frame that is moved before
    the file is written puts these beams somewhere else, and some sensors have a place of their own.
    """
    least = max(_SAME, len(xyz) // 100)
    if len(xyz) < least:
        return 0
    _, index, counts = np.unique(xyz[:, 0], return_inverse=True, return_counts=True)
    shared = xyz[(counts >= least)[index.reshape(-1)]]
    if not len(shared):
        return 0
    counts = np.unique(shared, axis=0, return_counts=True)[1]
    return int(counts[counts >= least].sum())


def middle(xyz: NDArray) -> NDArray[np.float64]:
    """The median [3] of finite points [N, 3]: where most of them are; 0 without points."""
    return np.median(xyz, axis=0).astype(np.float64) if len(xyz) else np.zeros(3)


def strays(xyz: NDArray) -> NDArray[np.bool_]:
    """Of finite points [N, 3] in metres: which lie far from all others, as no surface does.

    Far is more than 1 km from the median and 10 times the range of the middle 90 %, on any axis.
    """
    if not len(xyz):
        return np.zeros(0, bool)
    low, mid, high = np.percentile(xyz.astype(np.float64), (5, 50, 95), axis=0)
    return (np.abs(xyz - mid) > np.maximum(_SPREADS * (high - low), _ALONE)).any(1)


def step_at(value: float, dtype: np.dtype | type = np.float32) -> float:
    """The distance of the next number of a float type at this size."""
    return float(np.spacing(np.abs(np.asarray(value).astype(dtype))))
