"""From what all processes have picked to the queries of a round in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.active import pool_predictions
from annotator3d.active.budget import Asked, by_scan, queries_within_hours, rank_round
from annotator3d.active.chooser import Candidates, Limits, Spacing, choose, class_quotas
from annotator3d.active.label_points import with_label_points
from annotator3d.active.motion import UNKNOWN_MOTION, MovingClasses
from annotator3d.active.pool_predictions import PoolPredictions
from annotator3d.active.selector import ScanSelection
from annotator3d.active.stored_predictions import prediction_file
from annotator3d.data.scan_source import DatasetSource, Pose
from annotator3d.engine.config.schema import ActiveConfig
from annotator3d.engine.rounds.plan import RoundPlan, strategy_of, uses_chooser
from annotator3d.engine.rounds.survey import Survey
from annotator3d.errors import count
from annotator3d.kernels.selection import VoxelPick
from annotator3d.ledger.ledger import Ledger, ScanRecord


class Picked:
    """What has been picked in some scans: picks, or a chooser's candidates.

    Args:
        chooses: keep candidates, as arrays, since there may be millions of them.
        moving: tells which candidates keep no spacing; None: all keep it.
    """

    def __init__(
        self,
        num_classes: int,
        taxonomy: int = 1,
        chooses: bool = False,
        moving: MovingClasses | None = None,
    ) -> None:
        self.scans: list[ScanRecord] = []
        self.picks: dict[str, list[VoxelPick]] = {}
        self.predicted = PoolPredictions.empty(num_classes, taxonomy)
        self._candidates: list[Candidates] = []
        self._chooses, self._moving = chooses, moving or MovingClasses(None)

    def add(self, scan: ScanRecord, chosen: ScanSelection, classes: np.ndarray | None) -> None:
        """One more scan, and the classes [N] that are predicted in it."""
        if self._chooses:
            for stratum, picks in enumerate((chosen.picks, *chosen.strata), start=-1):
                moves = self._moving.of_voxels(classes, [pick.point_indices for pick in picks])
                self._candidates.append(_candidates(len(self.scans), stratum, picks, moves))
        else:
            self.picks[scan.id] = chosen.picks
        if classes is not None:
            self.predicted.add(scan.id, classes)
        self.scans.append(scan)

    @staticmethod
    def join(parts: Sequence[Picked]) -> Picked:
        first = parts[0]
        whole = Picked(len(first.predicted.points), first.predicted.taxonomy, first._chooses)
        for part in parts:
            for candidates in part._candidates:
                moved = candidates.scan + len(whole.scans)
                whole._candidates.append(replace(candidates, scan=moved))
            whole.scans += part.scans
            whole.picks |= part.picks
            whole.predicted.join(part.predicted)
        return whole

    @property
    def candidates(self) -> Candidates:
        """Of all scans, whose numbers are those in `scans`; the places are not known yet."""
        nothing = _candidates(0, -1, [], np.zeros(0, bool))
        return Candidates.join(self._candidates or [nothing])


def write_round(
    ledger: Ledger,
    pool,
    plan: RoundPlan,
    active: ActiveConfig,
    picked: Picked,
    survey: Survey,
    folder: Path,
) -> int:
    """Put what all processes have picked into the ledger; returns the number of voxels."""
    most, decision = active.max_queries, None
    if uses_chooser(strategy_of(plan, active), active):
        asked, decision = _chosen(ledger, pool, plan, active, picked, survey)
    else:
        asked = rank_round(picked.picks, plan.seed, plan.number)
    remark = strategy_of(plan, active).remark(survey.pool)
    decision = "; ".join(filter(None, (remark, decision))) or None
    asked = [
        (scan, with_label_points(pick, active.num_label_points, plan.seed, scan))
        for scan, pick in asked
    ]
    if active.budget_hours is not None:
        most, words = queries_within_hours(
            ledger,
            [pick for _, pick in asked],
            hours=active.budget_hours,
            seconds_per_voxel=active.seconds_per_voxel,
            max_queries=most,
        )
        decision = "; ".join(filter(None, (decision, words)))
    queries = by_scan(asked[:most])
    for scan in {scan.id for scan in picked.scans} - queries.keys():
        prediction_file(folder, plan.number, scan).unlink(missing_ok=True)
    if picked.predicted.samples:
        pool_predictions.store(folder, plan.number, picked.predicted)
    ledger.register_scans(picked.scans)
    ledger.add_round(
        plan.number,
        plan.strategy,
        plan.seed,
        budget=active.queries_per_scan,
        max_queries=most,
        epoch=plan.epoch,
        source=plan.source,
        queries=queries,
        decision=decision,
    )
    return sum(map(len, queries.values()))


def _chosen(
    ledger: Ledger,
    pool,
    plan: RoundPlan,
    active: ActiveConfig,
    picked: Picked,
    survey: Survey,
) -> tuple[Asked, str | None]:
    """What the chooser asks about, and what it has to say."""
    strategy = strategy_of(plan, active)
    budget = survey.moment.budget
    if strategy.stratified:
        quotas = strategy.quotas(survey.pool, picked.predicted.points, survey.moment)
    else:
        quotas = class_quotas(picked.predicted.points, budget, active.class_quota)
    candidates, places = picked.candidates, Places(pool, active.voxel_size)
    ids = [scan.id for scan in picked.scans]
    taken = None
    if active.spacing is not None:
        taken, moving = Spacing(active.spacing), MovingClasses(pool.taxonomy.moves)
        gone = moving.answered(ledger.labels())
        for query in ledger.queries():
            if (query.scan, query.cell) in gone:
                continue
            taken.take(places.world(query.scan), tuple(places.of(query.scan, [query.cell])[0]))
        bounds = np.searchsorted(candidates.scan, np.arange(len(ids) + 1))  # scan by scan
        for scan, start, stop in zip(ids, bounds, bounds[1:], strict=False):
            candidates.place[start:stop] = places.of(scan, candidates.cell[start:stop])
    limits = Limits(budget, active.queries_per_scan, active.spacing, quotas)
    worlds = [places.world(scan) for scan in ids] if taken is not None else ids
    rows = choose(candidates, ids, worlds, limits, plan.seed, plan.number, taken)
    asked = [(ids[candidates.scan[row]], _pick(candidates, row)) for row in rows.tolist()]
    told = _in_words(len(asked), budget, places, active)
    if active.spacing is not None and not moving.are_known:
        told.append(f"{UNKNOWN_MOTION}: all of them keep the distance")
    if active.class_quota > 0 and not picked.predicted.samples:
        told.append("no quotas of predicted classes (active.class_quota): nothing is predicted yet")
    return asked, "; ".join(told) or None


class Places:
    """Where voxels lie in the world; without a pose each scan is a world of its own."""

    def __init__(self, pool, voxel_size: float) -> None:
        self._source, self._size = DatasetSource(pool), voxel_size
        self._poses: dict[str, Pose | None] = {}

    def world(self, scan: str) -> object:
        pose = self._pose(scan)
        return (scan,) if pose is None else pose.world

    def of(self, scan: str, cells: Iterable) -> NDArray[np.float64]:
        """[n, 3] metres, the centres of cells [n, 3]."""
        centres = (np.array(cells, np.float64).reshape(-1, 3) + 0.5) * self._size
        pose = self._pose(scan)
        if pose is None:
            return centres
        return centres @ pose.matrix[:3, :3].T + pose.matrix[:3, 3]

    @property
    def without_pose(self) -> int:
        """Scans that were asked for and have no pose."""
        return sum(pose is None for pose in self._poses.values())

    def _pose(self, scan: str) -> Pose | None:
        if scan not in self._poses:
            self._poses[scan] = self._source.pose(scan)
        return self._poses[scan]


def _in_words(asked: int, budget: int, places: Places, active: ActiveConfig) -> list[str]:
    told = []
    if asked < budget:
        told.append(
            f"{asked:,} of {budget:,} voxels: no further candidate keeps the distance of "
            f"active.spacing={active.spacing:g} m, or a scan has no more"
            if active.spacing is not None
            else f"{asked:,} of {budget:,} voxels: the scans have no more candidates"
        )
    if active.spacing is not None and places.without_pose:
        told.append(
            f"{count(places.without_pose, 'scan')} without a pose: their voxels keep the distance "
            "within the scan only"
        )
    return told


def _candidates(
    scan: int, stratum: int, picks: Sequence[VoxelPick], moves: NDArray[np.bool_]
) -> Candidates:
    n = len(picks)
    if any(pick.label_points is not None for pick in picks):
        raise ValueError(
            "a strategy that names label_points cannot be combined with a chooser (active.spacing, "
            "active.class_quota): candidates do not carry them"
        )
    return Candidates(
        scan=np.full(n, scan, np.int32),
        stratum=np.full(n, stratum, np.int32),
        rank=np.arange(n, dtype=np.int32),
        utility=np.array([pick.utility for pick in picks], np.float64),
        cell=np.array([pick.cell for pick in picks], np.int32).reshape(n, 3),
        num_points=np.array([pick.num_points for pick in picks], np.int32),
        place=np.zeros((n, 3)),
        moves=moves,
    )


def _pick(candidates: Candidates, row: int) -> VoxelPick:
    cell = tuple(candidates.cell[row].tolist())
    utility, points = float(candidates.utility[row]), int(candidates.num_points[row])
    return VoxelPick(cell, utility, points, np.empty(0, np.int64))
