"""Several strategies at once, joined by their ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from annotator3d.active.evidence import NEEDS, POOL, Evidence, Moment
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.active.selector import Scores
from annotator3d.errors import in_yaml
from annotator3d.registry import STRATEGIES, build

_FIRST = 60  # the constant of Cormack et al.: how little the very first ranks stand out
_DEFAULT = {"vcd": 1.0, "margin_min": 1.0}


@STRATEGIES.register_module("hybrid")
class Hybrid(QueryStrategy):
    """Reciprocal rank fusion: ``sum_k w_k / (60 + rank_k(v))``, rank_k(v) being 1 plus the number
    of voxels of the scan that strategy k scores higher. No scale of a score matters.

    Cormack, Clarke and Buettcher, SIGIR 2009. What the parts need is computed for all of them; of a
    stratified part the utilities count, not its quotas.

    Args:
        voxel_size, max_range, min_points: as `QueryStrategy`.
        parts: {name: weight}, or a list of tables with `type`, the keywords of that strategy and
            `weight` (default 1).
    """

    name = "hybrid"

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        parts: dict[str, float] | list[dict[str, Any]] = _DEFAULT,
    ) -> None:
        super().__init__(voxel_size, max_range, min_points)
        limits = {"voxel_size": voxel_size, "max_range": max_range, "min_points": min_points}
        tables = _tables(parts)
        if twice := [name for table in tables for name in limits if name in table]:
            raise ValueError(f"parts: all parts have the same {twice[0]}; say it once, as active's")
        self.weights = [_weight(table.pop("weight", 1.0)) for table in tables]
        self.parts: list[QueryStrategy] = [build(STRATEGIES, table, **limits) for table in tables]
        needs = {need for part in self.parts for need in part.needs}
        self.needs = tuple(need for need in NEEDS if need in needs)
        self.needs_model = any(part.needs_model for part in self.parts)
        self.only_classes = all(part.only_classes or not part.needs_model for part in self.parts)

    def observe(self, evidence: Evidence) -> list[Any]:
        return [part.observe(evidence) if POOL in part.needs else None for part in self.parts]

    def conclude(self, observed: Mapping[str, list[Any]], moment: Moment) -> list[Any]:
        def of(k: int) -> dict[str, Any]:
            return {scan: found[k] for scan, found in observed.items()}

        return [
            part.conclude(of(k), moment) if POOL in part.needs else None
            for k, part in enumerate(self.parts)
        ]

    def remark(self, pool: list[Any] | None) -> str | None:
        found = zip(self.parts, pool or [], strict=False)
        told = [f"{part.name}: {words}" for part, of in found if (words := part.remark(of))]
        return "; ".join(told) or None

    def score(self, evidence: Evidence) -> Tensor:
        """[V], above 0."""
        total = torch.zeros_like(evidence.voxels.counts, dtype=torch.float64)
        for k, (part, weight) in enumerate(zip(self.parts, self.weights, strict=True)):
            pool = evidence.pool[k] if POOL in part.needs else None
            found = part.score(replace(evidence, pool=pool))
            utilities = found.utilities if isinstance(found, Scores) else found
            total += weight / (_FIRST + ranks(utilities))
        return total


def ranks(utilities: Tensor) -> Tensor:
    """[V] int64, 1 plus the number of higher utilities: equal ones have the same rank."""
    ordered = utilities.sort().values
    return 1 + len(ordered) - torch.searchsorted(ordered, utilities.contiguous(), right=True)


def _tables(parts: Any) -> list[dict[str, Any]]:
    if isinstance(parts, Mapping):
        parts = [{"type": name, "weight": weight} for name, weight in parts.items()]
    if not isinstance(parts, list | tuple) or not parts:
        raise ValueError(
            f"parts: expected {{name: weight}} or a list of tables, with a strategy at least, got "
            f"{in_yaml(parts)}"
        )
    if wrong := [part for part in parts if not isinstance(part, Mapping)]:
        raise ValueError(
            f"parts: expected tables with a type and a weight, got {in_yaml(wrong[0])}"
        )
    return [dict(part) for part in parts]


def _weight(given: Any) -> float:
    if (
        isinstance(given, bool)
        or not isinstance(given, int | float)
        or not 0 < given < float("inf")
    ):
        raise ValueError(f"parts: expected weights above 0, got {in_yaml(given)}")
    return float(given)
