"""One round of selection over a pool: score scan by scan, pick, keep what the viewer shows."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from annotator3d.active.motion import MovingClasses
from annotator3d.active.point_means import likeliest
from annotator3d.active.selector import ScanSelection
from annotator3d.active.stored_predictions import prediction_file, store_prediction
from annotator3d.data.files import fingerprint
from annotator3d.data.left_out import LeftOut
from annotator3d.data.scan import Scan
from annotator3d.engine.config.schema import ActiveConfig
from annotator3d.engine.distributed import ALONE, World
from annotator3d.engine.rounds.plan import RoundPlan, Scorer, strategy_of, uses_chooser
from annotator3d.engine.rounds.survey import NO_SURVEY, Survey, survey_pool
from annotator3d.engine.rounds.writing import Picked, write_round
from annotator3d.ledger.ledger import Ledger, ScanRecord
from annotator3d.ledger.records import Cell


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
    progress: Callable[[str, int, int], None] | None = None,
    world: World = ALONE,
) -> Selected:
    """Select round `plan.number` over the scans of `pool` and write it in one transaction.

    What is picked depends on the scores, the scans, earlier rounds of the ledger and the seed only:
    each process of `world` scores its share of the scans, and rank 0, which alone has the `ledger`,
    writes what all have picked. The predictions of queried scans are kept as
    ``folder/<scan>.npz`` for the viewer.

    Args:
        progress: told what is being done, how many scans are, and how many there are.
    """
    # of an attempt that did not reach the ledger
    world.on_rank_zero(lambda: shutil.rmtree(folder / str(plan.number), ignore_errors=True))
    asked = world.on_rank_zero(lambda: queried_cells(ledger, plan.number))
    scans = range(0, len(pool), active.stride)
    survey = survey_pool(ledger, pool, scans, asked, plan, active, scorer, folder, progress, world)
    share = world.share(scans)
    parts = world.map_ranks(
        lambda: pick_share(share, pool, asked, plan, active, scorer, folder, progress, survey)
    )
    left_out, picked = LeftOut(), Picked.join([found for found, _ in parts])
    for _, counted in parts:
        left_out.join(counted)
    voxels = world.on_rank_zero(
        lambda: write_round(ledger, pool, plan, active, picked, survey, folder)
    )
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
    survey: Survey = NO_SURVEY,
) -> ScanSelection:
    """Choose a round's voxels of one scan, or a chooser's candidates, given what a `Scorer` says
    and `queried_cells`."""
    strategy = strategy_of(plan, active)
    chooses, most = uses_chooser(strategy, active), active.queries_per_scan
    scores = dict(scores)
    given = survey.given(scan, scores, strategy, active.voxel_size)
    return strategy.select(
        scan.xyz,
        **scores,
        batch_size=max(active.candidates, most) if chooses else most,
        exclude=asked.get(scan.id),
        num_classes=plan.num_classes,
        random_state=plan.seed,
        scan_id=scan.id,
        given=given,
        by_class=active.class_quota > 0 and "prediction" in scores,
    )


def pick_share(
    share: Sequence[int],
    pool,
    asked: Mapping[str, np.ndarray],
    plan: RoundPlan,
    active: ActiveConfig,
    scorer: Scorer,
    folder: Path,
    progress: Callable[[str, int, int], None] | None,
    survey: Survey,
) -> tuple[Picked, LeftOut]:
    """The picks of each scan of `share`, indices of `pool`, and what was left out of them."""
    chooses = uses_chooser(strategy_of(plan, active), active)
    moving = None if active.spacing is None else MovingClasses(pool.taxonomy.moves)
    found, left_out = Picked(plan.num_classes, plan.taxonomy, chooses, moving), LeftOut()
    for done, index in enumerate(share, start=1):
        scan = pool.read(index, labels=False)
        left_out.add(scan)
        scores = scorer(scan)
        chosen = select_in(scan, scores, plan, active, asked, survey)
        classes = _classes(**scores) if scores else None
        if chosen.picks and scores:
            store_prediction(
                prediction_file(folder, plan.number, scan.id),
                scan,
                chosen.point_utilities,
                classes,
                {pick.cell: pick.point_indices for pick in chosen.picks},
                plan.taxonomy,
            )
        record = ScanRecord(scan.id, fingerprint(pool.path(index)), scan.num_raw)
        found.add(record, chosen, classes)
        if progress:
            progress("selecting", done, len(share))
    return found, left_out


def _classes(prediction: Tensor, rows: Tensor | None = None, **_: Tensor) -> np.ndarray | None:
    """Predicted train ids [N] uint8 of the points; None where only scores of points are given."""
    if prediction.dim() == 1 and prediction.is_floating_point():
        return None
    classes = likeliest(prediction) if prediction.dim() == 2 else prediction
    return (classes if rows is None else classes[rows]).cpu().numpy().astype(np.uint8)
