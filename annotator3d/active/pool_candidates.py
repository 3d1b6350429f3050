"""The voxels of all scans among which a strategy of the pool chooses, and what it has chosen.

A scan gives `most_of_scan` candidates, so that the pool stays small however many scans it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.evidence import Moment
from annotator3d.active.selector import among

MOST_CANDIDATES = 100_000  # of a pool
MOST_NUMBERS = 2**26  # in what describes them: 256 MiB


class ScanCandidates(NamedTuple):
    """What one scan gives to the pool."""

    cells: NDArray[np.int32]
    """[n, 3]."""
    values: NDArray[np.float32]
    """[n, D] what describes each."""
    draws: NDArray[np.float64]
    """[n] seeded random numbers, the order in the pool."""
    asked: NDArray[np.float32]
    """[q, D] of the voxels that earlier rounds asked about."""
    voxels: int
    """That may be asked about in the scan, candidates or not."""
    num_classes: int


def most_of_scan(wanted: int, width: int, moment: Moment) -> int:
    """How many candidates a scan gives: as many as wanted, unless the pool's would be more than
    `MOST_CANDIDATES` or `MOST_NUMBERS`; always as many as a scan may be asked.

    Args:
        width: D, numbers that describe a candidate.
    """
    whole = min(MOST_CANDIDATES, MOST_NUMBERS // max(width, 1))
    return min(wanted, max(whole // moment.scans, moment.per_scan))


@dataclass(frozen=True)
class Pool:
    """The candidates of all scans, in the order of their draws."""

    ids: Sequence[str]
    scan: NDArray[np.int64]
    """[n] number of the scan in `ids`."""
    cells: NDArray[np.int32]
    values: NDArray[np.float32]
    """[n, D]."""
    asked: NDArray[np.float32]
    """[q, D]."""
    voxels: int
    num_classes: int

    def __len__(self) -> int:
        return len(self.scan)

    @classmethod
    def join(cls, observed: Mapping[str, ScanCandidates]) -> Pool:
        """In the order of the scans' ids, which settles equal draws."""
        found = {
            scan: part for scan, part in observed.items() if len(part.values) or len(part.asked)
        }
        parts = list(found.values())
        if not parts:
            empty = np.zeros((0, 1), np.float32)
            cells = np.zeros((0, 3), np.int32)
            return cls([], np.zeros(0, np.int64), cells, empty, empty, 0, 1)
        scan = np.repeat(np.arange(len(parts)), [len(part.cells) for part in parts])
        order = np.argsort(np.concatenate([part.draws for part in parts]), kind="stable")
        return cls(
            list(found),
            scan[order],
            np.concatenate([part.cells for part in parts])[order],
            np.concatenate([part.values for part in parts])[order],
            np.concatenate([part.asked for part in parts]),
            sum(part.voxels for part in parts),
            max(part.num_classes for part in parts),
        )


class Room:
    """Which candidates may still be chosen: those not chosen yet whose scan is not full."""

    def __init__(self, scan: NDArray[np.int64], per_scan: int) -> None:
        self.free = np.ones(len(scan), bool)
        self._scan = scan
        self._left = np.full(scan.max(initial=-1) + 1, per_scan)

    @classmethod
    def without_limit(cls, rows: int) -> Room:
        """Each row may be chosen once."""
        return cls(np.zeros(rows, np.int64), rows)

    def take(self, row: int) -> None:
        scan = self._scan[row]
        self.free[row] = False
        self._left[scan] -= 1
        if self._left[scan] == 0:
            self.free[self._scan == scan] = False


@dataclass(frozen=True)
class Chosen:
    """What a strategy has chosen of the pool, in order."""

    by_scan: Mapping[str, tuple[NDArray[np.int32], NDArray[np.float64]]]
    """Scan id -> cells [k, 3] and utilities [k]: the number of all chosen voxels for the first of
    them, 1 for the last."""
    words: str

    @classmethod
    def of(cls, pool: Pool, rows: Sequence[int], moment: Moment) -> Chosen:
        """Of these rows of the pool, the first one first."""
        rows = np.asarray(rows, np.int64)
        worth = np.arange(len(rows), 0, -1, dtype=np.float64)
        by_scan = {}
        for number in np.unique(pool.scan[rows]).tolist():
            own = pool.scan[rows] == number
            by_scan[pool.ids[number]] = pool.cells[rows[own]], worth[own]
        words = f"chosen among {len(pool):,} of {pool.voxels:,} voxels"
        if len(pool) < pool.voxels:
            words += f", {pool.voxels - len(pool):,} were no candidates"
        if len(rows) < moment.budget:
            words += f"; {len(rows):,} of {moment.budget:,} chosen, the others are drawn"
        return cls(by_scan, words)

    def utilities(self, scan_id: str, cells: Tensor) -> Tensor:
        """[V] float64 of these cells [V, 3]; 0 for what was not chosen."""
        utilities = torch.zeros(len(cells), dtype=torch.float64)
        chosen, worth = self.by_scan.get(scan_id, (np.zeros((0, 3), np.int32), np.zeros(0)))
        worth_of = dict(zip(map(tuple, chosen.tolist()), worth.tolist(), strict=True))
        for row in among(cells, chosen).nonzero()[:, 0].tolist():
            utilities[row] = worth_of[tuple(cells[row].tolist())]
        return utilities.to(cells.device)
