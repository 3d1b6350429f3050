"""One round of selection over a pool: score scan by scan, pick, keep what the viewer shows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from annotator3d.active.ledger import Ledger
from annotator3d.active.selector import Pick, ScoredScan, limit_round, pick_voxels, score_scan
from annotator3d.data.files import atomic_write, fingerprint
from annotator3d.data.scan import Scan
from annotator3d.engine.config import ActiveConfig

# What scores a scan: point logits [N, C], class labels [N] or scores [N], as keywords of
# `score_scan`; an empty dict for a strategy that needs no model.
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


def select_round(
    ledger: Ledger,
    pool,
    plan: RoundPlan,
    active: ActiveConfig,
    scorer: Scorer,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Select round `plan.number` over the scans of `pool` and write it in one transaction.

    What is picked depends on the scores, the scan, earlier rounds of the ledger and the seed only.
    The predictions of queried scans are kept as ``folder/<scan>.npz`` for the viewer.

    Returns:
        the number of voxels asked about.
    """
    folder = folder / str(plan.number)
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that did not reach the ledger
    picks: dict[str, list[Pick]] = {}
    chosen = range(0, len(pool), active.stride)
    for done, index in enumerate(chosen):
        scan = pool.read(index, labels=False)
        ledger.register_scan(scan.id, fingerprint(pool.path(index)), scan.num_raw)
        scores = scorer(scan)
        scored = score_scan(
            scan.xyz,
            plan.strategy,
            scan_id=scan.id,
            num_classes=plan.num_classes,
            voxel_size=active.voxel_size,
            **scores,
        )
        picks[scan.id] = pick_voxels(
            scored,
            scan_id=scan.id,
            seed=plan.seed,
            budget=active.budget,
            voxel_size=active.voxel_size,
            asked_cells=ledger.asked_cells(scan.id, before_round=plan.number),
            max_range=active.max_range,
            min_points=active.min_points,
        )
        if picks[scan.id] and scores:
            _keep_for_viewer(folder, scan, scores, scored)
        if progress:
            progress(done + 1, len(chosen))
    if active.max_queries is not None:
        everything, picks = picks, limit_round(picks, active.max_queries, plan.seed, plan.number)
        for scan_id in everything.keys() - picks.keys():
            _file_for_viewer(folder, scan_id).unlink(missing_ok=True)
    ledger.add_round(
        plan.number,
        plan.strategy,
        plan.seed,
        budget=active.budget,
        max_queries=active.max_queries,
        epoch=plan.epoch,
        source=plan.source,
        queries=picks,
    )
    return sum(map(len, picks.values()))


def _keep_for_viewer(
    folder: Path, scan: Scan, scores: Mapping[str, Tensor], scored: ScoredScan
) -> None:
    """Of each finite point: its row in the raw file, its voxel's score and its predicted class."""
    arrays = {"rows": scan.rows.astype(np.int32), "score": scored.per_point()}
    if "logits" in scores:
        arrays["prediction"] = scores["logits"].argmax(1).numpy().astype(np.uint8)
    elif "labels_pred" in scores:
        arrays["prediction"] = scores["labels_pred"].numpy().astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(_file_for_viewer(folder, scan.id)) as file:
        np.savez_compressed(file, **arrays)


def _file_for_viewer(folder: Path, scan_id: str) -> Path:
    return folder / f"{scan_id.replace('/', '_')}.npz"
