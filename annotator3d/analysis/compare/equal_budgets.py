"""What each arm is worth where it has spent as much as another one, on every axis.

At the end of their runs arms have spent different numbers of points, clicks and seconds. Over the
budgets that both cover, they can be compared on each.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from annotator3d.analysis.compare.families import holm
from annotator3d.analysis.compare.paired import LEVEL, Paired, compare_pairs
from annotator3d.analysis.compare.results import Results
from annotator3d.analysis.figures.comparison import AXIS_WORDS
from annotator3d.analysis.report.blocks import Cell, Table
from annotator3d.engine.config.experiment import Experiment


@dataclass(frozen=True)
class Worth:
    """The area under the curve of `arm` over an axis, minus that of the base, by pairs."""

    axis: str
    task: str
    arm: str
    paired: Paired | None  # None: no pair, or no budget that both arms cover
    p_holm: float = 1.0  # over the tasks and arms of the axis

    @property
    def is_shown(self) -> bool:
        return self.paired is not None and self.p_holm <= LEVEL


def base_of(experiment: Experiment) -> str | None:
    """The arm that most others are planned to be compared with, the first of several.

    A control has no budget, so it is none.
    """
    others = Counter(other for _, other in experiment.compared)
    asking = [arm for arm in experiment.arms if not experiment.arms[arm].control]
    return max(asking, key=lambda arm: others[arm], default=None) if others else None


def worth_at_equal_budgets(results: Results) -> list[Worth]:
    """Every arm that asks against the base, by axis, task and arm; empty without a base."""
    base = base_of(results.experiment)
    if base is None:
        return []
    found = []
    for axis in results.experiment.axes:
        of_axis = [
            Worth(axis, task, arm, _paired(results, axis, task, arm, base))
            for task in results.active
            if base in results.arms(task)
            for arm in results.asking(task)
            if arm != base
        ]
        test = results.experiment.test
        tested = [each for each in of_axis if each.paired is not None]
        corrected = holm([each.paired.p_value(test) for each in tested])
        by_key = {(e.task, e.arm): p for e, p in zip(tested, corrected, strict=True)}
        found += [replace(e, p_holm=by_key.get((e.task, e.arm), 1.0)) for e in of_axis]
    return found


def _paired(results: Results, axis: str, task: str, arm: str, base: str) -> Paired | None:
    differences = results.differences("area", task, arm, base, axis)
    return compare_pairs(list(differences.values())) if differences else None


def best_table(worth: list[Worth], base: str) -> Table:
    """For each task and axis, the arm with the highest mean; the base, if none is above it."""
    axes, tasks = (list(dict.fromkeys(getattr(w, k) for w in worth)) for k in ("axis", "task"))
    rows = []
    for task in tasks:
        row: list[str | Cell] = [task]
        for axis in axes:
            known = [w for w in worth if (w.axis, w.task) == (axis, task) and w.paired is not None]
            best = max(known, key=lambda w: w.paired.mean, default=None)
            if best is None or best.paired.mean <= 0:
                row.append("-" if best is None else base)
            else:
                words = "shown" if best.is_shown else "not shown"
                row.append(Cell(best.arm, f"{_words(best.paired)}, {words}", best.is_shown))
        rows.append(row)
    head = ["task", *(f"by {AXIS_WORDS[axis]}" for axis in axes)]
    return Table("The arm with the highest mean", head, rows)


def worth_table(worth: list[Worth], base: str) -> Table:
    """Every arm, task by task."""
    axes = list(dict.fromkeys(w.axis for w in worth))
    cells = {(w.task, w.arm, w.axis): w for w in worth}
    rows = [
        [task, arm, *(_cell(cells[task, arm, axis]) for axis in axes)]
        for task, arm in dict.fromkeys((w.task, w.arm) for w in worth)
    ]
    head = ["task", f"arm - {base}", *(f"by {AXIS_WORDS[axis]}" for axis in axes)]
    return Table("", head, rows)


def _cell(worth: Worth) -> str | Cell:
    if worth.paired is None:
        return "-"
    return Cell(f"{worth.paired.mean:+.2f}", _interval(worth.paired), worth.is_shown)


def _words(paired: Paired) -> str:
    return " ".join(filter(None, [f"{paired.mean:+.2f}", f"({_interval(paired)})"]))


def _interval(paired: Paired) -> str:
    return "1 pair" if paired.low is None else f"{paired.low:+.2f} to {paired.high:+.2f}"
