"""Folds and seeds of an experiment on few scans: pooled confusion, spread, paired differences.

With few test scans the mIoU of one fold is noise: many classes have no point in it. So the folds of
a seed, which together test every scan once, are added up as one confusion matrix, and only then is
the IoU taken. What is left is the spread over the seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import mean, stdev

import numpy as np

from annotator3d.analysis.report.experiment import ONE_SEED
from annotator3d.analysis.runs import Run
from annotator3d.analysis.summary import SETTING_ORDER, STRATEGY_ORDER, ordered
from annotator3d.engine.metrics import iou_from_confusion
from annotator3d.errors import some

Arm = tuple[str, str]  # (setting, strategy)
Grid = Mapping[tuple[str, str, int, int], Run]  # (setting, strategy, seed, fold) -> run
FEW_POINTS = 100
SOURCE_ONLY, ZERO_LABEL = "source_only", "zero_label"


@dataclass(frozen=True)
class ArmResult:
    """One (setting, strategy) over the seeds; each mIoU is in percent, one value per seed."""

    arm: Arm
    miou: tuple[float, ...]  # over the classes with a test point
    miou_frequent: tuple[float, ...]  # over the classes with at least `min_points` test points
    iou: np.ndarray  # [S, C] percent, nan where a class has no test point
    voxels: tuple[int, ...]  # final budget of each run, seeds x folds
    points: tuple[int, ...]


@dataclass(frozen=True)
class Pooled:
    classes: tuple[str, ...]
    test_points: np.ndarray  # [C] int64, over all folds
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    min_points: int
    arms: tuple[ArmResult, ...]


@dataclass(frozen=True)
class Difference:
    """`arm` minus `other`, seed by seed, in percentage points of mIoU."""

    arm: Arm
    other: Arm
    miou: tuple[float, ...]
    miou_frequent: tuple[float, ...]


def pool_runs(grid: Grid, min_points: int = FEW_POINTS) -> Pooled:
    """Pool the final confusion matrices over the folds of each (setting, strategy, seed).

    Source-only runs have the key ("source_only", any, seed, fold); zero-label runs have
    (setting, "zero_label", seed, fold), or ("zero_label", any, seed, fold) for all settings.

    Raises:
        ValueError: a (setting, strategy, seed, fold) is missing, the classes differ, or two runs of
            one fold were not tested on the same points.
    """
    arms = _arms(arm for *arm, _, _ in grid)
    seeds = tuple(sorted({seed for _, _, seed, _ in grid}))
    folds = tuple(sorted({fold for _, _, _, fold in grid}))
    _check_complete(grid, arms, seeds, folds)
    truth = _check_same_test(grid)
    results = []
    for arm in arms:
        pooled = [sum(grid[(*arm, s, f)].final.confusion for f in folds) for s in seeds]
        plain = [iou_from_confusion(confusion) for confusion in pooled]
        frequent = [iou_from_confusion(confusion, min_points=min_points) for confusion in pooled]
        finals = [grid[(*arm, s, f)].final for s, f in product(seeds, folds)]
        results.append(
            ArmResult(
                arm=arm,
                miou=tuple(100 * float(miou) for _, miou in plain),
                miou_frequent=tuple(100 * float(miou) for _, miou in frequent),
                iou=100 * np.array([iou for iou, _ in plain], dtype=float),
                voxels=tuple(final.voxels for final in finals),
                points=tuple(final.points for final in finals),
            )
        )
    classes = next(iter(grid.values())).classes
    return Pooled(classes, truth, seeds, folds, min_points, tuple(results))


def paired_differences(pooled: Pooled) -> list[Difference]:
    """vcd - random in each setting, then each arm minus source-only and minus zero-label."""
    results = {result.arm: result for result in pooled.arms}
    references = [arm for arm in results if SOURCE_ONLY in arm or ZERO_LABEL in arm]
    arms = [arm for arm in results if arm not in references and arm[0] != "target_only"]
    pairs = [
        ((setting, "vcd"), (setting, "random"))
        for setting in ordered((setting for setting, _ in arms), SETTING_ORDER)
        if {(setting, "vcd"), (setting, "random")} <= set(arms)
    ]
    for name in (SOURCE_ONLY, ZERO_LABEL):
        for arm, other in product(arms, references):
            if name == other[0] or other == (arm[0], name):
                pairs.append((arm, other))
    return [_difference(results[arm], results[other]) for arm, other in pairs]


def _arms(arms: Iterable[Sequence[str]]) -> list[Arm]:
    strategies = {tuple(arm) for arm in arms}
    return [
        (setting, strategy)
        for setting in ordered(
            (s for s, _ in strategies), (SOURCE_ONLY, ZERO_LABEL, *SETTING_ORDER)
        )
        for strategy in ordered(
            (b for a, b in strategies if a == setting), (ZERO_LABEL, *STRATEGY_ORDER)
        )
    ]


def _check_complete(
    grid: Grid, arms: Sequence[Arm], seeds: Sequence[int], folds: Sequence[int]
) -> None:
    if not grid:
        raise ValueError("grid: expected runs by (setting, strategy, seed, fold), got none")
    wanted = [(*arm, seed, fold) for arm, seed, fold in product(arms, seeds, folds)]
    missing = [f"{a} {b} seed {s} fold {f}" for a, b, s, f in wanted if (a, b, s, f) not in grid]
    if missing:
        raise ValueError(
            f"grid: {len(missing)} of {len(wanted)} runs are missing: {some(missing)}; run "
            "them, or leave the whole arm, seed or fold out"
        )


def _check_same_test(grid: Grid) -> np.ndarray:
    """[C] int64 test points of each class over all folds, after comparing the runs of a fold."""
    first: dict[int, Run] = {}
    for (*_, fold), run in grid.items():
        other = first.setdefault(fold, run)
        if run.classes != other.classes:
            raise ValueError(f"{run.work_dir} and {other.work_dir} have different classes")
        if not np.array_equal(_truth(run), _truth(other)):
            raise ValueError(
                f"{run.work_dir} and {other.work_dir} are both fold {fold} but were tested on "
                "different points; give both the same test scans"
            )
    if len({run.classes for run in first.values()}) > 1:
        raise ValueError("grid: the folds have different classes")
    return np.sum([_truth(run) for run in first.values()], axis=0)


def _truth(run: Run) -> np.ndarray:
    return run.final.confusion.sum(axis=1)


def _difference(one: ArmResult, other: ArmResult) -> Difference:
    def minus(a: Sequence[float], b: Sequence[float]) -> tuple[float, ...]:
        return tuple(x - y for x, y in zip(a, b, strict=True))

    plain = minus(one.miou, other.miou)
    return Difference(one.arm, other.arm, plain, minus(one.miou_frequent, other.miou_frequent))


def markdown(pooled: Pooled) -> str:
    """The results as Markdown: arms with spread and budgets, paired differences, classes."""
    few = f"mIoU >= {pooled.min_points} points"
    head = ["setting", "strategy", "mIoU", "min to max", few, "min to max", "voxels", "points"]
    rows = [
        [
            *result.arm,
            _mean_std(result.miou),
            _span(result.miou),
            _mean_std(result.miou_frequent),
            _span(result.miou_frequent),
            _budget(result.voxels),
            _budget(result.points),
        ]
        for result in pooled.arms
    ]
    parts = [_intro(pooled), _table(head, rows, left=2)]
    differences = paired_differences(pooled)
    if differences:
        seeds = [f"seed {seed}" for seed in pooled.seeds]
        head = ["difference of mIoU", *seeds, "mean", "min to max", f"mean, {few}"]
        rows = [
            [
                f"{_label(d.arm)} - {_label(d.other)}",
                *(f"{value:+.1f}" for value in d.miou),
                _mean_std(d.miou, "+"),
                _span(d.miou, "+"),
                _mean_std(d.miou_frequent, "+"),
            ]
            for d in differences
        ]
        parts.append(_table(head, rows))
    head = ["class", "test points", *(_label(result.arm) for result in pooled.arms)]
    rows = [
        [name, f"{pooled.test_points[c]:,}", *(_class_cell(r.iou[:, c]) for r in pooled.arms)]
        for c, name in enumerate(pooled.classes)
    ]
    parts.append(_table(head, rows))
    return "\n".join(parts)


def _intro(pooled: Pooled) -> str:
    points = dict(zip(pooled.classes, pooled.test_points.tolist(), strict=True))
    absent = [name for name, count in points.items() if count == 0]
    rare = [f"{n} ({c})" for n, c in points.items() if 0 < c < pooled.min_points]
    seeds, folds = len(pooled.seeds), len(pooled.folds)
    lines = [
        f"{seeds} seed{'s' * (seeds > 1)}, {folds} fold{'s' * (folds > 1)}; the confusion matrices "
        "of the folds of a seed are added up before the IoU is taken. mIoU in percent of all test "
        "points; +- is the sample standard deviation over the seeds. Voxels and points are the "
        "budget of one run (mean, and minimum to maximum over the runs).",
        f"Without a test point, in no mIoU: {', '.join(absent) or 'none'}.",
        f"With fewer than {pooled.min_points} test points, only in the plain mIoU: "
        f"{', '.join(rare) or 'none'}.",
    ]
    return "\n\n".join([*lines, *([ONE_SEED] if seeds == 1 else [])]) + "\n"


def _mean_std(values: Sequence[float], sign: str = "") -> str:
    spread = f" +- {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):{sign}.1f}{spread}"


def _span(values: Sequence[float], sign: str = "") -> str:
    return f"{min(values):{sign}.1f} to {max(values):{sign}.1f}" if len(values) > 1 else "-"


def _budget(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{mean(values):,.0f} ({low:,} to {high:,})"


def _class_cell(values: np.ndarray) -> str:
    return "-" if np.isnan(values).any() else f"{values.mean():.1f}"


def _label(arm: Arm) -> str:
    return arm[0] if arm[1] in ("none", "", arm[0]) else " ".join(arm)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = ["---"] * left + ["--:"] * (len(head) - left)
    return "\n".join([line(head), line(rule), *map(line, rows), ""])
