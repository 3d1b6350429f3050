"""A pass over the pool before a round is scored, for strategies that compare scans or rounds.

It costs one forward pass of each scan and is made only where `QueryStrategy.needs` asks for it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.class_means import MeansOfScans, means_of_voxels, store_means
from annotator3d.active.evidence import LABELLED, NEIGHBOURS, POOL, PREVIOUS, Given, Moment
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.data.scan import IGNORE, Scan
from annotator3d.data.scan_source import DatasetSource
from annotator3d.engine.config.schema import ActiveConfig
from annotator3d.engine.distributed import World
from annotator3d.engine.rounds.plan import RoundPlan, Scorer, moment_of, strategy_of
from annotator3d.kernels.grouping import voxelize
from annotator3d.ledger.ledger import Ledger

_NEIGHBOURS_EACH_WAY = 12  # LiDAL (ECCV 2022) compares with 24 frames


@dataclass(frozen=True)
class Survey:
    """What is known before a round beyond each scan by itself."""

    moment: Moment = Moment()
    pool: Any = None
    labelled: NDArray[np.int64] | None = None
    means: MeansOfScans | None = None
    source: DatasetSource | None = None

    def given(
        self, scan: Scan, scores: dict[str, Tensor], strategy: QueryStrategy, voxel_size: float
    ) -> Given:
        """What a strategy gets of a scan beside prediction and rows, which stay in `scores`."""
        needs = strategy.needs
        previous = neighbours = None
        if self.means is not None and {PREVIOUS, NEIGHBOURS} & set(needs):
            cells = voxelize(torch.from_numpy(scan.xyz), voxel_size).cells.numpy()
            if PREVIOUS in needs:
                previous = self.means.of_round(self.moment.round - 1, scan.id, cells)
            if NEIGHBOURS in needs:
                near = self.source.neighbours(scan.id, *[_NEIGHBOURS_EACH_WAY] * 2)
                neighbours = self.means.agreement(
                    self.moment.round, scan.id, near, cells, self.source.pose
                )
        return Given(
            features=scores.pop("features", None),
            views=scores.pop("views", None),
            intensity=torch.from_numpy(scan.intensity),
            previous=previous,
            neighbours=neighbours,
            pool=self.pool,
            labelled=self.labelled,
            prototypes=scores.pop("prototypes", None),
            moment=self.moment,
        )


NO_SURVEY = Survey()


def survey_pool(
    ledger: Ledger | None,
    pool,
    scans: Sequence[int],
    asked: Mapping[str, NDArray[np.int32]],
    plan: RoundPlan,
    active: ActiveConfig,
    scorer: Scorer,
    folder: Path,
    progress: Callable[[str, int, int], None] | None,
    world: World,
) -> Survey:
    """What the round's strategy asks for; every process gets the same.

    Args:
        asked: scan id -> cells [Q, 3] that earlier rounds asked about.

    Raises ValueError for a strategy that compares places where no scan has a pose.
    """
    strategy, moment = strategy_of(plan, active), moment_of(plan, active, len(scans))
    needs = set(strategy.needs)
    labelled = None
    if LABELLED in needs:
        labelled = world.on_rank_zero(lambda: _labelled(ledger, plan))
    means = MeansOfScans(folder, active.voxel_size) if {PREVIOUS, NEIGHBOURS} & needs else None
    before = Survey(moment, None, labelled, means, DatasetSource(pool))
    if NEIGHBOURS in needs:
        _need_poses(pool, scans, before.source, plan.strategy)
    if not {POOL, PREVIOUS, NEIGHBOURS} & needs:
        return before
    share = world.share(scans)
    parts = world.map_ranks(
        lambda: _observe(share, pool, asked, plan, active, scorer, strategy, before, progress)
    )
    if means is not None:
        world.on_rank_zero(lambda: _forget(folder, plan.number - 2))
    concluded = None
    if POOL in needs:
        observed = {scan: found for part in parts for scan, found in part.items()}
        ordered = {scan: observed[scan] for scan in sorted(observed)}
        concluded = world.on_rank_zero(lambda: strategy.conclude(ordered, moment))
    return Survey(moment, concluded, labelled, means, before.source)


def _observe(
    share: Sequence[int],
    pool,
    asked: Mapping[str, NDArray[np.int32]],
    plan: RoundPlan,
    active: ActiveConfig,
    scorer: Scorer,
    strategy: QueryStrategy,
    before: Survey,
    progress: Callable[[str, int, int], None] | None,
) -> Mapping[str, Any]:
    found = {}
    for done, index in enumerate(share, start=1):
        scan = pool.read(index, labels=False)
        scores = dict(scorer(scan))
        if before.means is not None:
            cells, means = means_of_voxels(
                scan.xyz, active.voxel_size, scores["prediction"], scores.get("rows")
            )
            store_means(before.means.file(plan.number, scan.id), cells, means)
        if POOL in strategy.needs:
            given = Given(
                features=scores.get("features"),
                views=scores.get("views"),
                intensity=torch.from_numpy(scan.intensity),
                pool=(),
                labelled=before.labelled,
                prototypes=scores.get("prototypes"),
                moment=before.moment,
            )
            found[scan.id] = strategy.observe(
                strategy.evidence(
                    scan.xyz,
                    scores.get("prediction"),
                    scores.get("rows"),
                    plan.num_classes,
                    scan.id,
                    given,
                    asked.get(scan.id),
                )
            )
        if progress:
            progress("looking at the pool", done, len(share))
    return found


def _labelled(ledger: Ledger, plan: RoundPlan) -> NDArray[np.int64]:
    """[C] points of each class in the answers to earlier rounds."""
    counts = np.zeros(IGNORE + 1, np.int64)
    for answers in ledger.labels_by_scan(up_to_round=plan.number - 1).values():
        for answer in answers:
            counts += np.bincount(answer.labels, minlength=IGNORE + 1)
    return counts[: plan.num_classes]


def _need_poses(pool, scans: Sequence[int], source: DatasetSource, strategy: str) -> None:
    known = sum(source.pose(pool.ids[i]) is not None for i in scans)
    if known == 0 and len(scans):
        why = f" ({'; '.join(sorted(source.warnings))})" if source.warnings else ""
        raise ValueError(
            f"strategy {strategy} compares what scans predict at the same place, but no scan of "
            f"the pool has a pose{why}: poses.txt and calib.txt belong beside velodyne/; or choose "
            "another active.strategy"
        )


def _forget(folder: Path, round: int) -> None:
    """Class means that no round needs any more."""
    shutil.rmtree(folder / str(round) / "means", ignore_errors=True)
