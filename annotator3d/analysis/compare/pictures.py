"""The figures of a comparison, from its results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotator3d.analysis.compare.budget import Curve, common_budgets
from annotator3d.analysis.compare.findings import Finding
from annotator3d.analysis.compare.paired import t_interval
from annotator3d.analysis.compare.plan import comparisons
from annotator3d.analysis.compare.results import Results
from annotator3d.analysis.figures.comparison import Band, Interval, Panel


def panels(results: Results) -> list[list[Panel]]:
    """Curves of every task over every axis; tasks without a curve are left out."""
    rows = []
    for task in results.active:
        row = [_panel(results, task, axis) for axis in results.experiment.axes]
        if any(panel.bands for panel in row):
            rows.append(row)
    return rows


def _panel(results: Results, task: str, axis: str) -> Panel:
    bands = {}
    for arm in results.asking(task):
        curves = [run.curve(axis) for run in results.of(task, arm).values()]
        if band := _band(curves):
            bands[arm] = band
    levels = {}
    for arm in results.arms(task):
        if results.experiment.arms[arm].control:
            levels |= _level(results, task, arm, arm)
    folds = results.experiment.folds_of(task)
    planned = [results.experiment.tasks[fold] for fold in folds]
    shown = [each.starts_from for each in planned if each.starts_from] if len(folds) == 1 else []
    for name in dict.fromkeys([*shown, *(name for each in planned for name in each.references)]):
        levels |= _level(results, name, None, name)
    return Panel(task, axis, bands, levels)


def _level(results: Results, task: str, arm: str | None, name: str) -> dict[str, float]:
    ends = [run.end for run in results.of(task, arm).values()]
    return {name: float(np.mean(ends))} if ends else {}


def _band(curves: Sequence[Curve]) -> Band | None:
    """Mean budget and mIoU of the seeds by evaluation, and their minimum to maximum."""
    if not curves or {len(budgets) for budgets, _ in curves} != {len(curves[0][0])}:
        return None
    if not len(curves[0][0]):
        return None
    budgets = np.array([each for each, _ in curves])
    heights = np.array([each for _, each in curves])
    return Band(budgets.mean(0), heights.mean(0), heights.min(0), heights.max(0))


def difference_panels(results: Results) -> list[list[Panel]]:
    """By task: the mean difference of the pairs and its 95 % interval, over the first axis."""
    axis, rows = results.experiment.axes[0], []
    for task in results.active:
        bands: dict[str, Band] = {}
        for own, one, other in comparisons(results.experiment, results.active):
            if own == task and (band := _difference_band(results, task, one, other, axis)):
                bands[f"{one} - {other}"] = band
        if bands:
            rows.append([Panel(task, axis, bands, {"no difference": 0.0})])
    return rows


def _difference_band(results: Results, task: str, one: str, other: str, axis: str) -> Band | None:
    a, b = results.of(task, one), results.of(task, other)
    pairs = [(a[seed].curve(axis), b[seed].curve(axis)) for seed in a if seed in b]
    grid = common_budgets(curve for pair in pairs for curve in pair)
    if len(pairs) < 2 or not len(grid):
        return None
    gaps = np.array([np.interp(grid, *ours) - np.interp(grid, *theirs) for ours, theirs in pairs])
    ends = np.array([t_interval(column) for column in gaps.T])
    return Band(grid, gaps.mean(0), ends[:, 0], ends[:, 1])


def intervals(found: Sequence[Finding]) -> list[Interval]:
    """Of the comparisons that have a whole pair."""
    return [
        Interval(
            f"{each.task}: {each.arm} - {each.other}",
            each.paired.differences,
            each.paired.mean,
            each.paired.low,
            each.paired.high,
            each.shown,
        )
        for each in found
        if each.paired is not None
    ]
