"""What an experiment shows: every planned comparison with its interval, its test and its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from annotator3d.analysis.compare.budget import common_budgets
from annotator3d.analysis.compare.calibration import FalseAlarms, false_alarms
from annotator3d.analysis.compare.families import holm, win_matrix
from annotator3d.analysis.compare.paired import LEVEL, Paired, compare_pairs
from annotator3d.analysis.compare.plan import comparisons, merged
from annotator3d.analysis.compare.results import Results
from annotator3d.analysis.compare.sequential import Look, look_at
from annotator3d.errors import count

ALL_TASKS = "mean of the tasks"
MEASURES = {"end": "mIoU at the end", "area": "area under the budget curve"}


@dataclass(frozen=True)
class Finding:
    """One comparison by one measure: `arm` minus `other`, in percentage points of mIoU."""

    measure: str  # "end" or "area"
    axis: str  # of the area
    task: str  # or `ALL_TASKS`
    arm: str
    other: str
    seeds: tuple[int, ...]  # of the pairs that are whole
    paired: Paired | None  # None: there is no whole pair
    p: float  # by the test of the experiment
    p_holm: float
    looks: tuple[Look, ...] = ()  # of a sequential experiment
    shown: bool = False

    @property
    def words(self) -> str:
        """What is shown, in one sentence; "not shown" takes the place of a ranking."""
        if self.paired is None:
            return "no whole pair" + (
                ", or no budget that both cover" if self.measure == "area" else ""
            )
        pairs = count(self.paired.pairs, "pair")
        if not self.shown:
            words = f"not shown at {pairs}"
            if self.paired.detectable is not None:
                words += f" (a t-test of them would show {self.paired.detectable:.1f} or more)"
            return words
        better, worse = self.arm, self.other
        if self.paired.mean < 0:
            better, worse = worse, better
        return f"{better} is better than {worse}, shown at {pairs}"


def findings(results: Results, measure: str, axis: str) -> list[Finding]:
    """Every planned comparison by one measure; Holm's correction is over all of them.

    With a sequential experiment and its measure, what is shown is decided by the looks.

    Args:
        measure: "end" or "area", the latter over `axis`.
    """
    experiment = results.experiment
    found = []
    for task, one, other in comparisons(experiment, results.active, measure):
        differences = results.differences(measure, task, one, other, axis)
        found.append(_finding(results, measure, axis, task, one, other, differences))
    for one, other in merged(experiment, results.active, measure):
        differences = _over_tasks(results, measure, axis, one, other)
        found.append(_finding(results, measure, axis, ALL_TASKS, one, other, differences))
    corrected = holm([each.p for each in found])
    found = [replace(each, p_holm=p) for each, p in zip(found, corrected, strict=True)]
    if experiment.sequential is not None and measure == experiment.measure:
        return [_with_looks(results, each, len(found)) for each in found]
    return [replace(each, shown=each.paired is not None and each.p_holm <= LEVEL) for each in found]


def _finding(
    results: Results,
    measure: str,
    axis: str,
    task: str,
    one: str,
    other: str,
    differences: Mapping[int, float],
) -> Finding:
    paired = compare_pairs(list(differences.values())) if differences else None
    p = 1.0 if paired is None else paired.p_value(results.experiment.test)
    return Finding(measure, axis, task, one, other, tuple(differences), paired, p, p)


def _over_tasks(
    results: Results, measure: str, axis: str, one: str, other: str
) -> dict[int, float]:
    """The mean over the tasks of each seed that has the pair in all of them."""
    tasks = [
        task for task, *arms in comparisons(results.experiment, results.active, measure)
        if arms == [one, other]
    ]  # fmt: skip
    by_task = [results.differences(measure, task, one, other, axis) for task in tasks]
    whole = [seed for seed in results.seeds if all(seed in each for each in by_task)]
    return {seed: float(np.mean([each[seed] for each in by_task])) for seed in whole}


def _with_looks(results: Results, finding: Finding, tests: int) -> Finding:
    plan = results.experiment.sequential
    values = finding.paired.differences if finding.paired else ()
    looks = tuple(look_at(values, plan.group, plan.looks, tests))
    return replace(finding, looks=looks, shown=any(look.shown for look in looks))


def undecided(results: Results) -> set[tuple[str, str]]:
    """(task, arm) that a sequential experiment goes on with: of comparisons not decided yet."""
    axis, measure = results.experiment.axes[0], results.experiment.measure
    return {
        (each.task, arm)
        for each in findings(results, measure, axis)
        if not each.shown
        for arm in (each.arm, each.other)
    }


def wins(results: Results, task: str) -> tuple[list[str], np.ndarray, int]:
    """The win matrix of a task by its first axis.

    Returns:
        (arms with a finished run, [A, A] share of budgets at which the row's arm is significantly
        better than the column's, number of budgets).
    """
    axis = results.experiment.axes[0]
    arms = [arm for arm in results.asking(task) if results.of(task, arm)]
    curves = {arm: {s: r.curve(axis) for s, r in results.of(task, arm).items()} for arm in arms}
    grid = common_budgets(curve for by_seed in curves.values() for curve in by_seed.values())
    on_grid = {
        arm: np.array(
            [
                np.interp(grid, *by_seed[seed]) if seed in by_seed else np.full(len(grid), np.nan)
                for seed in results.seeds
            ]
        )
        for arm, by_seed in curves.items()
    }
    return arms, win_matrix(on_grid), len(grid)


def calibration(results: Results) -> dict[str, FalseAlarms | None]:
    """By task: how often the calibrated arm differs from itself at the end; empty without one."""
    chosen = results.experiment.calibrate
    if chosen is None:
        return {}
    found = {}
    for task in results.experiment.tasks_of(chosen.arm, results.active):
        runs = results.of_all_seeds(task, chosen.arm)
        scores = [run.end for _, run in sorted(runs.items())]
        found[task] = false_alarms(scores, results.experiment.test, chosen.splits)
    return found
