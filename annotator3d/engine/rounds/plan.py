"""What one round is, and what its strategy asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from annotator3d.active.evidence import Moment
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.active.strategies import get_strategy
from annotator3d.data.scan import Scan
from annotator3d.engine.config.schema import ActiveConfig

# What predicts a scan, see `prediction.strategy_inputs`; an empty dict for a strategy that needs no
# model.
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
    rounds: int = 1  # that the run has in all


def strategy_of(plan: RoundPlan, active: ActiveConfig) -> QueryStrategy:
    return get_strategy(
        active.strategy_called(plan.strategy),
        voxel_size=active.voxel_size,
        max_range=active.max_range,
        min_points=active.min_points,
    )


def uses_chooser(strategy: QueryStrategy, active: ActiveConfig) -> bool:
    """Whether voxels are chosen among candidates of all scans, not scan by scan."""
    return strategy.stratified or active.spacing is not None or active.class_quota > 0


def moment_of(plan: RoundPlan, active: ActiveConfig, scans: int) -> Moment:
    """Of a round over so many scans."""
    return Moment(
        round=plan.number,
        rounds=plan.rounds,
        budget=budget_of(active, scans),
        seed=plan.seed,
        scans=scans,
        per_scan=active.queries_per_scan,
    )


def budget_of(active: ActiveConfig, scans: int) -> int:
    """Most voxels of a round, apart from a person's hours."""
    everywhere = active.queries_per_scan * scans
    return everywhere if active.max_queries is None else min(active.max_queries, everywhere)
