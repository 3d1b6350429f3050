"""A finished run with what it asked and what that has cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from annotator3d.analysis.compare.budget import Curve
from annotator3d.analysis.compare.picks import Pick
from annotator3d.analysis.runs import Run
from annotator3d.engine.config.experiment import AXES
from annotator3d.ledger.records import Cell


@dataclass(frozen=True)
class ComparedRun:
    """A finished run with what it asked."""

    run: Run
    picks: tuple[Pick, ...]

    @property
    def end(self) -> float:
        """mIoU in percent after the whole training."""
        return self.run.final.miou

    @cached_property
    def cells(self) -> frozenset[tuple[str, Cell]]:
        """(scan, cell) of every query."""
        return frozenset((pick.scan, pick.cell) for pick in self.picks)

    def spent(self, axis: str) -> float:
        """All that the run has cost on one axis."""
        return float(self._spent[axis][-1])

    def curve(self, axis: str) -> Curve:
        """Budgets on an axis of the experiment, and mIoU in percent, by round.

        Each round is represented by its last evaluation, before the answers of the next came in.
        """
        last = {e.round: e for e in self.run.evaluations if e.round > 0}
        return self._spent[axis][list(last)], np.array([e.miou for e in last.values()])

    @cached_property
    def _spent(self) -> dict[str, np.ndarray]:
        """By axis: [R + 1] spent up to each round, from round 0 on."""
        rounds = [e.round for e in self.run.evaluations] + [pick.round for pick in self.picks]
        found = {}
        for axis in AXES:
            spent = np.zeros(max(rounds, default=0) + 1)
            for pick in self.picks:
                spent[pick.round] += 1 if axis == "voxels" else getattr(pick, axis)
            found[axis] = np.cumsum(spent)
        return found
