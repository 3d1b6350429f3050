"""Pooled results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean, stdev

import numpy as np

from annotator3d.analysis.pooled import Arm, Pooled, paired_differences
from annotator3d.analysis.report import ONE_SEED


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
