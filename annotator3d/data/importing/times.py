"""Points in time as sensors write them: in names of files and in columns of text."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

_NANOSECONDS, _MICROSECONDS, _MILLISECONDS = 1e17, 1e14, 1e11  # times since 1970 above these


def seconds(times: NDArray) -> NDArray[np.float64]:
    """Times since 1970 in nanoseconds, microseconds, milliseconds or seconds, as seconds."""
    largest = np.abs(times).max(initial=0.0)
    for above, unit in ((_NANOSECONDS, 1e9), (_MICROSECONDS, 1e6), (_MILLISECONDS, 1e3)):
        if largest > above:
            return times / unit
    return times.astype(np.float64)


def time_of(name: str) -> float | None:
    """The time in the name of a scan, seconds; None: it holds none.

    Such as ``1311868164.363181``, ``1578490000_123456789`` and ``cloud-1578490000123456``.
    """
    if found := re.search(r"(?:^|\D)([1-9]\d{8,9})([._-])(\d{1,9})$", name):
        whole, between, part = found.groups()
        if between == "." or len(part) in (6, 9):
            return int(whole) + int(part) / 10 ** len(part)
        return None
    if found := re.search(r"(?:^|\D)([1-9](?:\d{9}|\d{12}|\d{15}|\d{18}))$", name):
        return float(seconds(np.array([float(found[1])]))[0])
    if re.fullmatch(r"\d+\.\d+", name):
        return float(name)
    return None
