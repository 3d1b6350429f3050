"""One round of selection over a pool: score scan by scan, pick, keep what the viewer shows."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from annotator3d.active.budget import cap_round, queries_within_hours
from annotator3d.active.selector import ScanSelection
from annotator3d.active.stored_predictions import prediction_file, store_prediction
from annotator3d.active.strategies import get_strategy
from annotator3d.data.files import fingerprint
from annotator3d.data.left_out import LeftOut
from annotator3d.data.scan import Scan
from annotator3d.engine.config.schema import ActiveConfig
from annotator3d.engine.distributed import ALONE, World
from annotator3d.kernels.selection import VoxelPick
from annotator3d.ledger.ledger import Ledger, ScanRecord
from annotator3d.ledger.records import Cell

# What predicts a scan: `prediction` and, if these are not of its points, `rows`, as keywords of
# `QueryStrategy.select`; an empty dict for a strategy that needs no model.
Scorer = Callable[[Scan], Mapping[str, Tensor]]


@dataclass(frozen=True)
class RoundPlan:
    """What one round is: its number, when its answers count, who scores, how."""

    number: int
    epoch: int
    strategy: str
    seed: int
    source: str  # digest of the weights, "predictions" or "none"
    num_classes: int
    taxonomy: int = 1  # version of the ledger's class list


@dataclass(frozen=True)
class Selected:
    """What a round asked about, and what became of the points of the scans that it read."""

    voxels: int
    left_out: LeftOut


def select_round(
    ledger: Ledger | None,
    pool,
    plan: RoundPlan,
    active: ActiveConfig,
    scorer: Scorer,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    world: World = ALONE,
) -> Selected:
    """Select round `plan.number` over the scans of `pool` and write it in one transaction.

    What is picked depends on the scores, the scan, earlier rounds of the ledger and the seed only:
    each process of `world` scores its share of the scans, and rank 0, which alone has the `ledger`,
    writes what all have picked. The predictions of queried scans are kept as
    ``folder/<scan>.npz`` for the viewer.
    """
    # of an attempt that did not reach the ledger
    world.on_rank_zero(lambda: shutil.rmtree(folder / str(plan.number), ignore_errors=True))
    asked = world.on_rank_zero(lambda: queried_cells(ledger, plan.number))
    share = world.share(range(0, len(pool), active.stride))
    parts = world.map_ranks(
        lambda: pick_share(share, pool, asked, plan, active, scorer, folder, progress)
    )
    left_out = LeftOut()
    for _, counted in parts:
        left_out.join(counted)
    picked = [pair for found, _ in parts for pair in found]
    voxels = world.on_rank_zero(lambda: _write_round(ledger, plan, active, picked, folder))
    return Selected(voxels, left_out)


def queried_cells(ledger: Ledger, before_round: int) -> dict[str, np.ndarray]:
    """Scan id -> cells [Q, 3] int32 that rounds before this one asked about."""
    cells: dict[str, list[Cell]] = defaultdict(list)
    for query in ledger.queries():
        if query.round < before_round:
            cells[query.scan].append(query.cell)
    return {scan: np.array(found, np.int32) for scan, found in cells.items()}


def select_in(
    scan: Scan,
    scores: Mapping[str, Tensor],
    plan: RoundPlan,
    active: ActiveConfig,
    asked: Mapping[str, np.ndarray],
) -> ScanSelection:
    """Choose a round's voxels of one scan, given what a `Scorer` says and `queried_cells`."""
    strategy = get_strategy(
        plan.strategy,
        voxel_size=active.voxel_size,
        max_range=active.max_range,
        min_points=active.min_points,
    )
    return strategy.select(
        scan.xyz,
        **scores,
        batch_size=active.queries_per_scan,
        exclude=asked.get(scan.id),
        num_classes=plan.num_classes,
        random_state=plan.seed,
        scan_id=scan.id,
    )


def pick_share(
    share: Sequence[int],
    pool,
    asked: Mapping[str, np.ndarray],
    plan: RoundPlan,
    active: ActiveConfig,
    scorer: Scorer,
    folder: Path,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[tuple[ScanRecord, list[VoxelPick]]], LeftOut]:
    """The picks of each scan of `share`, indices of `pool`, and what was left out of them."""
    found, left_out = [], LeftOut()
    for done, index in enumerate(share, start=1):
        scan = pool.read(index, labels=False)
        left_out.add(scan)
        scores = scorer(scan)
        chosen = select_in(scan, scores, plan, active, asked)
        if chosen.picks and scores:
            store_prediction(
                prediction_file(folder, plan.number, scan.id),
                scan,
                chosen.point_utilities,
                _classes(**scores),
                {pick.cell: pick.point_indices for pick in chosen.picks},
                plan.taxonomy,
            )
        record = ScanRecord(scan.id, fingerprint(pool.path(index)), scan.num_raw)
        found.append((record, chosen.picks))
        if progress:
            progress(done, len(share))
    return found, left_out


def _classes(prediction: Tensor, rows: Tensor | None = None) -> np.ndarray | None:
    """Predicted train ids [N] uint8 of the points; None where only scores of points are given."""
    if prediction.dim() == 1 and prediction.is_floating_point():
        return None
    classes = prediction.argmax(1) if prediction.dim() == 2 else prediction
    return (classes if rows is None else classes[rows]).cpu().numpy().astype(np.uint8)


def _write_round(
    ledger: Ledger,
    plan: RoundPlan,
    active: ActiveConfig,
    picked: Sequence[tuple[ScanRecord, list[VoxelPick]]],
    folder: Path,
) -> int:
    """Put what all processes have picked into the ledger."""
    scans = [scan for scan, _ in picked]
    picks = {scan.id: chosen for scan, chosen in picked}
    most, decision = active.max_queries, None
    if active.budget_hours is not None:
        most, decision = queries_within_hours(
            ledger,
            picks,
            hours=active.budget_hours,
            seconds_per_voxel=active.seconds_per_voxel,
            max_queries=most,
            seed=plan.seed,
            round=plan.number,
        )
    if most is not None:
        everything, picks = picks, cap_round(picks, most, plan.seed, plan.number)
        for scan_id in everything.keys() - picks.keys():
            prediction_file(folder, plan.number, scan_id).unlink(missing_ok=True)
    ledger.register_scans(scans)
    ledger.add_round(
        plan.number,
        plan.strategy,
        plan.seed,
        budget=active.queries_per_scan,
        max_queries=most,
        epoch=plan.epoch,
        source=plan.source,
        queries=picks,
        decision=decision,
    )
    return sum(map(len, picks.values()))
