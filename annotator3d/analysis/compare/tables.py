"""The tables of a comparison's report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotator3d.analysis.compare.findings import MEASURES, Finding
from annotator3d.analysis.compare.paired import t_interval
from annotator3d.analysis.compare.plan import comparisons
from annotator3d.analysis.compare.queries import (
    asked_points,
    class_differences,
    points_tested,
    rare_classes,
    rare_recall,
)
from annotator3d.analysis.compare.results import Results
from annotator3d.analysis.figures.comparison import AXIS_WORDS
from annotator3d.analysis.report.blocks import Cell, Table, duration, percent


def measure_words(measure: str, axis: str) -> str:
    return MEASURES[measure] + ("" if measure == "end" else f" of {AXIS_WORDS[axis]}")


def findings_table(found: Sequence[Finding], test: str) -> Table:
    """Paired differences: never two separate spreads."""
    head = ["task", "comparison", "pairs", "mean difference\n[points of mIoU]"]
    head += ["95 % interval", "p, sign flips", "p, t-test", f"Holm p\n({test})"]
    head += ["detectable\n(80 % power)", "in words"]
    rows = []
    for each in found:
        p = each.paired
        if p is None:
            rows.append([each.task, f"{each.arm} - {each.other}", "0", *["-"] * 6, each.words])
            continue
        rows.append(
            [
                each.task,
                f"{each.arm} - {each.other}",
                str(p.pairs),
                Cell(f"{p.mean:+.2f}", strong=each.shown),
                "-" if p.low is None else f"{p.low:+.2f} to {p.high:+.2f}",
                f"{p.p_sign_flip:.3g}",
                "-" if p.p_t is None else f"{p.p_t:.3g}",
                f"{each.p_holm:.3g}",
                "-" if p.detectable is None else f"{p.detectable:.2f}",
                Cell(each.words, strong=each.shown),
            ]
        )
    return Table("", head, rows)


def pairs_table(found: Sequence[Finding], seeds: Sequence[int]) -> Table:
    """Every difference, so that a reader may test them in another way."""
    head = ["task", "comparison", *(f"seed {seed}" for seed in seeds)]
    rows = []
    for each in found:
        known = dict(zip(each.seeds, each.paired.differences if each.paired else (), strict=True))
        cells = [f"{known[seed]:+.2f}" if seed in known else "-" for seed in seeds]
        rows.append([each.task, f"{each.arm} - {each.other}", *cells])
    return Table("Difference of each pair", head, rows)


def looks_table(found: Sequence[Finding]) -> Table:
    head = ["task", "comparison", "look", "pairs", "sum of differences", "boundary", "decision"]
    rows = [
        [
            each.task,
            f"{each.arm} - {each.other}",
            str(number),
            str(look.pairs),
            f"{look.statistic:.2f}",
            "out of reach" if look.boundary is None else f"{look.boundary:.2f}",
            Cell("shown", strong=True) if look.shown else "go on",
        ]
        for each in found
        for number, look in enumerate(each.looks, start=1)
    ]
    return Table("Looks", head, rows)


def scores_table(results: Results) -> Table:
    """Every arm and every task without arms: what it reached and what it cost."""
    head = ["task", "arm", "runs", "mIoU at the end [%]", "area [%]", "recall of rare\nclasses [%]"]
    head += [AXIS_WORDS[axis] for axis in results.experiment.axes]
    rows = []
    experiment = results.experiment
    folded = {fold for folds in experiment.folds.values() for fold in folds}
    alone = [task for task in experiment.tasks if task not in folded]
    for task in [*alone, *experiment.folds]:
        for arm in results.arms(task) if task in results.active else [None]:
            runs = list(results.of(task, arm).values())
            if not runs:
                rows.append([task, arm or "-", "0", *["-"] * (len(head) - 3)])
                continue
            axis = results.experiment.axes[0]
            areas = [] if arm is None else results.scores("area", task, arm, axis).values()
            recalls = [r for r in map(rare_recall, runs) if r is not None]
            spent = [_mean([run.spent(axis) for run in runs]) for axis in results.experiment.axes]
            rows.append(
                [
                    task,
                    arm or "-",
                    str(len(runs)),
                    _one(_mean([run.end for run in runs])),
                    _one(_mean(list(areas))),
                    _one(_mean(recalls)),
                    *(f"{value:,.0f}" for value in spent),
                ]
            )
    return Table("", head, rows)


def wins_table(arms: Sequence[str], matrix: np.ndarray) -> Table:
    """Row beats column; the last row is the mean of each column: how often it is beaten."""
    rows = [
        [arm, *("-" if i == j else f"{matrix[i, j]:.2f}" for j in range(len(arms)))]
        for i, arm in enumerate(arms)
    ]
    others = max(len(arms) - 1, 1)
    beaten = [Cell(f"{matrix[:, j].sum() / others:.2f}", strong=True) for j in range(len(arms))]
    return Table("", ["beats", *arms], [*rows, ["mean: is beaten", *beaten]])


def class_table(results: Results, task: str) -> Table | None:
    """Differences of the final IoU by class, with the 95 % interval of the pairs."""
    pairs = [
        each[1:]
        for each in comparisons(results.experiment, results.active, "end")
        if each[0] == task
    ]
    runs = [run for arm in results.arms(task) for run in results.of(task, arm).values()]
    if not runs or not pairs:
        return None
    points, rare = points_tested(runs[0]), rare_classes(runs[0])
    found = {pair: class_differences(results, task, *pair) for pair in pairs}
    rows = [
        [
            name,
            f"{points[c]:,}" + (" (rare)" if rare[c] else ""),
            *(_difference_cell(found[pair].get(name)) for pair in pairs),
        ]
        for c, name in enumerate(results.classes(task))
    ]
    head = ["class", "test points", *(f"{one}\n- {other}" for one, other in pairs)]
    return Table(task, head, rows)


def _difference_cell(differences: Sequence[float] | None) -> str | Cell:
    if not differences:
        return "-"
    values = np.array(differences)
    if len(values) < 2:
        return f"{values[0]:+.1f}"
    low, high = t_interval(values)
    return Cell(f"{values.mean():+.1f}", f"{low:+.1f} to {high:+.1f}")


def asked_table(results: Results, task: str) -> Table | None:
    """Share of each class of what was labelled, beside its share of the pool."""
    arms = [arm for arm in results.asking(task) if results.of(task, arm)]
    if not arms:
        return None
    names, pool = results.classes(task), results.pools.get(task)
    shares = {}
    for arm in arms:
        runs = results.of(task, arm).values()
        points = np.sum([asked_points(run.picks, len(names)) for run in runs], axis=0)
        shares[arm] = 100 * points / max(points.sum(), 1)
    there = None if pool is None else 100 * pool / max(pool.sum(), 1)
    rows = [
        [
            name,
            percent(None if there is None else there[c]),
            *(percent(shares[arm][c]) for arm in arms),
        ]
        for c, name in enumerate(names)
    ]
    return Table(task, ["class", "pool", *arms], rows)


def overlap_table(task: str, overlaps: dict[tuple[str, str], float]) -> Table:
    rows = [[f"{one} and {other}", f"{value:.3f}"] for (one, other), value in overlaps.items()]
    return Table(task, ["arms", "Jaccard index"], rows)


def costs_table(results: Results) -> Table:
    """Wall time of the runs, by task."""
    rows = []
    for task in results.experiment.tasks:
        minutes = [
            float(run.run.run_info.get("minutes", 0.0))
            for key, run in results.runs.items()
            if key[0] == task
        ]
        if minutes:
            total, each = 60 * sum(minutes), 60 * float(np.mean(minutes))
            rows.append([task, str(len(minutes)), duration(each), duration(total)])
    return Table("Wall time", ["task", "runs", "a run", "all of them"], rows)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _one(value: float | None) -> str:
    return percent(value, "")
