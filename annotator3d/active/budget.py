"""The budget of a round: which of the picks of all scans are asked about."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from annotator3d.active.timing import (
    MIN_ANSWERS,
    TimeModel,
    before_answers,
    place,
    seconds_of,
    timed,
)
from annotator3d.kernels.selection import VoxelPick
from annotator3d.ledger.effort import effort_by_query
from annotator3d.ledger.ledger import Ledger, Query

Asked = list[tuple[str, VoxelPick]]
"""(scan id, pick) of the queries of a round, the best first."""


def scan_seed(seed: int, scan_id: str) -> int:
    """Seed of the tie-break in one scan: 63 bits, the same on every machine."""
    return _hash(seed, scan_id) >> 1


def round_hash(seed: int, round: int, scan_id: str) -> int:
    """Order of scans whose picks are equally good: 64 bits, another one in every round."""
    return _hash(seed, f"{round}\0{scan_id}")


def rank_round(picks_by_scan: Mapping[str, Sequence[VoxelPick]], seed: int, round: int) -> Asked:
    """The picks of all scans, the best first; a round with a limit asks about the first of them.

    Equal utilities: the better rank in its scan first, then a hash of (seed, round, scan id), so
    that ties do not favour the same scans in every round.
    """
    ordered = sorted(
        (-pick.utility, rank, round_hash(seed, round, scan), scan)
        for scan, picks in picks_by_scan.items()
        for rank, pick in enumerate(picks)
    )
    return [(scan, picks_by_scan[scan][rank]) for _, rank, _, scan in ordered]


def by_scan(asked: Asked) -> dict[str, list[VoxelPick]]:
    """The queries of each scan, in their order; the scans in the order of their ids."""
    kept: dict[str, list[VoxelPick]] = {}
    for scan, pick in sorted(asked, key=lambda query: query[0]):
        kept.setdefault(scan, []).append(pick)
    return kept


def _hash(seed: int, scan_id: str) -> int:
    digest = hashlib.blake2b(f"{seed}\0{scan_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def queries_within_hours(
    ledger: Ledger,
    picks: Sequence[VoxelPick],
    *,
    hours: float,
    seconds_per_voxel: float,
    max_queries: int | None,
) -> tuple[int, str]:
    """How many queries of a round fit into a person's hours, and how that was computed, in words.

    Takes them in their order, up to the first that does not fit. It depends on the picks and the
    ledger alone, not on predictions stored beside it.

    Args:
        picks: of all scans, the best first.
        hours: ``active.budget_hours``.
        seconds_per_voxel: for each query, until `MIN_ANSWERS` answers were timed.
        max_queries: at most so many; None: no other limit.
    """
    answers = timed(effort_by_query(ledger))
    if len(answers) >= MIN_ANSWERS:
        seconds = _predicted(answers, picks, ledger)
        by = f"by the times of {len(answers):,} answers"
    else:
        seconds = np.full(len(picks), seconds_per_voxel)
        by = (
            f"at active.seconds_per_voxel={seconds_per_voxel:g}: {len(answers)} timed "
            f"answers so far, {MIN_ANSWERS} are needed to predict"
        )
    spent = np.cumsum(seconds)
    kept = int(np.searchsorted(spent, 3600 * hours, side="right"))
    if max_queries is not None:
        kept = min(kept, max_queries)
    if kept:
        needs = f"they need {float(spent[kept - 1]) / 3600:.2f} h"
    else:  # not in a first round: see `engine.config.checks`
        needs = f"the first alone takes {spent[0]:.0f} s" if len(picks) else "no voxel is left"
    return kept, f"{kept:,} of {len(picks):,} voxels for {hours:g} h ({needs}), {by}"


def _predicted(answers: list, picks: Sequence[VoxelPick], ledger: Ledger) -> np.ndarray:
    """[n] seconds; by points and range alone, which the ledger and the scan hold."""
    asked: list[Query] = [work.query for work in answers]
    features = before_answers(asked, ledger.voxel_size)[:, :2]
    model = TimeModel(features, None, seconds_of(answers))
    rows = [place(pick.num_labels, pick.cell, ledger.voxel_size) for pick in picks]
    return model.predict(np.array(rows, float).reshape(-1, 2))
