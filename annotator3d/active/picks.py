"""Voxels chosen in a scan, and how a limited round keeps the best of all scans."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.records import Cell


@dataclass(frozen=True)
class Pick:
    """A voxel to ask about; the ledger takes it as it is."""

    cell: Cell
    score: float  # vcd, entropy: bits; margin: minus the probability gap; random: 0
    num_points: int
    point_rows: NDArray[np.int64] = field(compare=False, repr=False)  # rows of xyz, ascending


def scan_seed(seed: int, scan_id: str) -> int:
    """Seed of the tie-break in one scan: 63 bits, the same on every machine."""
    return _hash(seed, scan_id) >> 1


def limit_round(
    picks_by_scan: Mapping[str, Sequence[Pick]], max_queries: int | None, seed: int, round: int
) -> dict[str, list[Pick]]:
    """Keep the `max_queries` best picks of all scans (all if None), scans in order of their id.

    Equal scores: the better rank in its scan first, then a hash of (seed, round, scan id), so that
    ties do not favour the same scans in every round. What is kept of a scan are its first picks.
    """
    kept: dict[str, list[Pick]] = {}
    for scan, rank in sorted(order_round(picks_by_scan, seed, round)[:max_queries]):
        kept.setdefault(scan, []).append(picks_by_scan[scan][rank])
    return kept


def order_round(
    picks_by_scan: Mapping[str, Sequence[Pick]], seed: int, round: int
) -> list[tuple[str, int]]:
    """(scan id, rank in it) of all picks, in the order in which `limit_round` keeps them."""
    ordered = sorted(
        (-pick.score, rank, _hash(seed, f"{round}\0{scan}"), scan)
        for scan, picks in picks_by_scan.items()
        for rank, pick in enumerate(picks)
    )
    return [(scan, rank) for _, rank, _, scan in ordered]


def _hash(seed: int, scan_id: str) -> int:
    digest = hashlib.blake2b(f"{seed}\0{scan_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
