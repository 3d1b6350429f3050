"""The table behind the exact voxel confusion score.

``T[n] = round(n * log2(n) * 2**32)`` differs in the last bits between maths libraries, so it is
built once with Python integers and handed to every path.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCORE_ONE = 2**32
"""One bit of confusion in the fixed-point scores of :func:`voxel_confusion`."""

MAX_POPULATION = 2**22
"""Most points of one voxel that can be scored. Keeps ``T`` (32 MiB) and every sum inside int64."""

_UNIT = 2**128  # working precision of the logarithms: error below 2**-100 for every entry
_MIN_LENGTH = 1024


def _log_ratio(n: int) -> int:
    """``ln((n + 1) / n)`` in units of 1 / _UNIT, by ``2 * atanh(1 / (2n + 1))``."""
    q = 2 * n + 1
    term, total, k = 2 * _UNIT // q, 0, 1
    while term:
        total += term // k
        term //= q * q
        k += 2
    return total


_LN2 = _log_ratio(1)
_last_ln = 0  # ln of the last entry of _table
_table = torch.zeros(2, dtype=torch.int64)  # T[0] = T[1] = 0
_copies: dict[torch.device, Tensor] = {}


def score_table(population: int, device: torch.device | None = None) -> Tensor:
    """``T[0..n]`` for some n >= population, [n+1] int64; grown by powers of two. Default: CPU.

    Raises:
        ValueError: population above ``MAX_POPULATION``.
    """
    global _last_ln, _table
    if population > MAX_POPULATION:
        raise ValueError(
            f"voxels: expected at most {MAX_POPULATION} points in a voxel, got {population}; "
            "use a smaller voxel size or thin the scan"
        )
    if population >= len(_table):
        last = max(_MIN_LENGTH, 1 << (population - 1).bit_length())
        entries, ln = [], _last_ln
        for n in range(len(_table), last + 1):
            ln += _log_ratio(n - 1)
            entries.append((2 * SCORE_ONE * n * ln // _LN2 + 1) // 2)
        grown = torch.cat([_table, torch.tensor(entries, dtype=torch.int64)])
        _last_ln, _table = ln, grown
    if device is None or device.type == "cpu":
        return _table
    if len(_copies.get(device, ())) < len(_table):
        _copies[device] = _table.to(device)
    return _copies[device]
