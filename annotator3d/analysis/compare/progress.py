"""How long an experiment will still take, by the runs of it that have ended."""

from __future__ import annotations

import os
from collections.abc import Sequence
from statistics import mean

from annotator3d.analysis.compare.plan import Plan, PlannedRun
from annotator3d.analysis.report.blocks import duration


class TimeLeft:
    """The time left of some runs of a plan.

    A run is expected to take the mean of those of its task that have ended, or of all of them.
    """

    def __init__(self, plan: Plan, chosen: Sequence[PlannedRun], workers: int | None) -> None:
        names = {job.name for job in plan.jobs(chosen)}
        self._open = {run.name: run for run in plan.runs if run.name in names}
        self._total = len(self._open)
        self._workers = workers or len(os.sched_getaffinity(0))
        self._minutes: dict[str, list[float]] = {}

    def ended(self, name: str) -> str:
        """Note that a run has ended; returns how far all of them are, in words."""
        run = self._open.pop(name, None)
        if run is None:
            return ""
        minutes = float(run.job.work_dir.run_info().get("minutes", 0.0))
        self._minutes.setdefault(run.task, []).append(minutes)
        words = f"{name} has ended: {self._total - len(self._open)} of {self._total} runs"
        return f"{words}, about {duration(self.seconds)} left" if self._open else words

    @property
    def seconds(self) -> float:
        """Expected, of all runs that have not ended."""
        known = [minutes for each in self._minutes.values() for minutes in each]
        if not known:
            return 0.0
        left = [mean(self._minutes.get(run.task, known)) for run in self._open.values()]
        return 60 * sum(left) / min(self._workers, max(len(left), 1))
