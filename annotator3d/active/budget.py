"""Voxels chosen in a scan, and how a limited round keeps the best of all scans."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.timing import (
    MIN_ANSWERS,
    TimeModel,
    before_answers,
    place,
    seconds_of,
    timed,
)
from annotator3d.engine.config.schema import ActiveConfig
from annotator3d.ledger.effort import work_of
from annotator3d.ledger.ledger import Ledger, Query
from annotator3d.ledger.records import Cell


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


def fit_hours(
    ledger: Ledger, active: ActiveConfig, picks: Mapping[str, Sequence[Pick]], seed: int, round: int
) -> tuple[int, str]:
    """The most queries of a round for ``active.budget_hours``, and how that came about, in words.

    The best of the round first, as `limit_round` keeps them, up to the first that does not fit. A
    function of the picks, the seed and the ledger: predictions that are stored beside the ledger
    have no say.
    """
    order, hours = order_round(picks, seed, round), active.budget_hours
    answers = timed(work_of(ledger))
    if len(answers) >= MIN_ANSWERS:
        seconds = _predicted(answers, [picks[scan][rank] for scan, rank in order], ledger)
        by = f"by the times of {len(answers):,} answers"
    else:
        seconds = np.full(len(order), active.seconds_per_voxel)
        by = (
            f"at active.seconds_per_voxel={active.seconds_per_voxel:g}: {len(answers)} timed "
            f"answers so far, {MIN_ANSWERS} are needed to tell"
        )
    spent = np.cumsum(seconds)
    kept = int(np.searchsorted(spent, 3600 * hours, side="right"))
    if active.max_queries is not None:
        kept = min(kept, active.max_queries)
    if kept:
        needs = f"they need {float(spent[kept - 1]) / 3600:.2f} h"
    else:  # not in a first round: see `engine.checks`
        needs = f"the first alone takes {spent[0]:.0f} s" if len(order) else "there is none left"
    return kept, f"{kept:,} of {len(order):,} voxels for {hours:g} h ({needs}), {by}"


def _predicted(answers: list, picks: Sequence[Pick], ledger: Ledger) -> np.ndarray:
    """[n] seconds; by points and range alone, which the ledger and the scan hold."""
    asked: list[Query] = [work.query for work in answers]
    features = before_answers(asked, ledger.voxel_size)[:, :2]
    model = TimeModel(features, None, seconds_of(answers))
    rows = [place(pick.num_points, pick.cell, ledger.voxel_size) for pick in picks]
    return model.predict(np.array(rows, float).reshape(-1, 2))
