"""Curves and bars of a report: budgets, classes and training, as PNG."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from annotator3d.analysis.figures.style import new_figure, style, to_png
from annotator3d.analysis.summary import SETTING_ORDER, STRATEGY_ORDER, ordered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SETTING_TITLES = {
    "al": "AL: from scratch",
    "asfda": "ASFDA: from source weights",
    "ada": "ADA: with source scans",
}
REFERENCES = {  # key of the summary: label, line style
    "target_only": ("target-only (all labels)", "--"),
    "zero_label": ("zero-label (no answer)", "-."),
    "source_only": ("source-only", ":"),
}
# Okabe and Ito's colours, told apart with any colour vision; the marker repeats the distinction.
LOOKS = {
    "random": ("#56B4E9", "s"),
    "entropy": ("#E69F00", "^"),
    "margin": ("#009E73", "D"),
    "vcd": ("#D55E00", "o"),
}
SPARE_LOOKS = (("#0072B2", "v"), ("#CC79A7", "P"), ("#7f7f7f", "X"))
WIDTH = 1600  # pixels


def budget_curves(summary: Mapping[str, Any], path: str | os.PathLike[str] | None = None) -> bytes:
    """mIoU against queried voxels and against labelled points: a row per setting, a line per
    strategy. Over several seeds the line is the mean and the band runs from minimum to maximum.

    Hollow marks are evaluations during training; the last, filled one is the final result.
    """
    groups = _by_arm(summary)
    settings = ordered((setting for setting, _ in groups), SETTING_ORDER)
    looks = _looks(groups)
    height = 150 + 480 * len(settings)
    with style():
        figure = new_figure(WIDTH, height)
        grid = figure.subplots(len(settings), 2, squeeze=False, sharey=True)
        for row, setting in zip(grid, settings, strict=True):
            arms = {strategy: runs for (own, strategy), runs in groups.items() if own == setting}
            for axes, key in zip(row, ("voxels", "labelled_points"), strict=True):
                _curve_panel(axes, summary, arms, key, looks)
                axes.set_title(SETTING_TITLES.get(setting, setting), loc="left")
                axes.set_xlabel("queried voxels" if key == "voxels" else "labelled points")
            row[0].set_ylabel("mIoU [%]")
        _shared_legend(figure, grid[0, 0], height, note=True)
        figure.subplots_adjust(
            left=0.065,
            right=0.985,
            top=1 - 140 / height,
            bottom=80 / height,
            hspace=0.46,
            wspace=0.07,
        )
        return to_png(figure, path)


def class_bars(summary: Mapping[str, Any], path: str | os.PathLike[str] | None = None) -> bytes:
    """IoU of each class at the final evaluation: a panel per setting, a bar per strategy (mean over
    the seeds). Classes absent from the test scans have no bar; ticks show the reference runs."""
    groups = _by_arm(summary)
    settings = ordered((setting for setting, _ in groups), SETTING_ORDER)
    looks = _looks(groups)
    classes = list(summary["classes"])
    height = 230 + 400 * len(settings)
    with style():
        figure = new_figure(WIDTH, height)
        grid = figure.subplots(len(settings), 1, squeeze=False, sharex=True)[:, 0]
        for axes, setting in zip(grid, settings, strict=True):
            arms = {strategy: runs for (own, strategy), runs in groups.items() if own == setting}
            _bar_panel(axes, summary, arms, classes, looks)
            axes.set_title(SETTING_TITLES.get(setting, setting), loc="left")
        shown = [_clip(name) for name in classes]
        grid[-1].set_xticks(range(len(classes)), shown, rotation=38, ha="right")
        _shared_legend(figure, grid[0], height)
        figure.subplots_adjust(
            left=0.065, right=0.985, top=1 - 110 / height, bottom=150 / height, hspace=0.22
        )
        return to_png(figure, path)


def class_shares(classes: Sequence[str], asked: np.ndarray, pool: np.ndarray | None) -> bytes:
    """Share of each class [C], in percent, of what was labelled and of the pool, as bars."""
    places, series = np.arange(len(classes)), [("labelled by the answers", asked, "#D55E00")]
    if pool is not None:
        series.append(("all points of the pool", pool, "#8c959f"))
    width = 0.8 / len(series)
    with style():
        figure = new_figure(WIDTH, 620)
        axes = figure.subplots()
        for position, (label, values, color) in enumerate(series):
            shift = (position - (len(series) - 1) / 2) * width
            axes.bar(places + shift, values, width * 0.92, color=color, label=label)
        axes.set_yscale("symlog", linthresh=1, subs=range(2, 10))  # rare classes are the point
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.grid(axis="x", visible=False)
        axes.set(ylabel="share of points [%]", xlim=(-0.6, len(classes) - 0.4), ylim=(0, 100))
        axes.set_xticks(places, [_clip(name) for name in classes], rotation=38, ha="right")
        # above the bars, of which one may reach the top
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
        figure.subplots_adjust(left=0.065, right=0.985, top=0.91, bottom=0.25)
        return to_png(figure)


def training_curves(steps: Sequence[Mapping[str, float]]) -> bytes:
    """Loss and learning rate of the lines of a log, by step."""
    with style():
        figure = new_figure(WIDTH, 480)
        for axes, key, label in zip(
            figure.subplots(1, 2), ("loss", "lr"), ("loss", "learning rate"), strict=True
        ):
            lines = [(step["step"], step[key]) for step in steps if key in step]
            axes.plot(*zip(*lines, strict=True), color="#0072B2", linewidth=1.4)
            axes.set(xlabel="step", ylabel=label)
            axes.margins(y=0.1)
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
        figure.subplots_adjust(left=0.065, right=0.985, top=0.95, bottom=0.14, wspace=0.2)
        return to_png(figure)


Arms = dict[tuple[str, str], list[Mapping[str, Any]]]


def _by_arm(summary: Mapping[str, Any]) -> Arms:
    """(setting, strategy) -> its runs, one per seed."""
    groups: Arms = {}
    for run in summary["runs"]:
        groups.setdefault((run["setting"], run["strategy"]), []).append(run)
    if not groups:
        raise ValueError("summary: 'runs' is empty; there is nothing to draw")
    return groups


def _looks(groups: Arms) -> dict[str, tuple[str, str]]:
    strategies = ordered((strategy for _, strategy in groups), STRATEGY_ORDER)
    others = [name for name in strategies if name not in LOOKS]
    spare = {name: SPARE_LOOKS[i % len(SPARE_LOOKS)] for i, name in enumerate(others)}
    return {name: LOOKS.get(name) or spare[name] for name in strategies}


def _curve_panel(
    axes: Axes,
    summary: Mapping[str, Any],
    arms: Mapping[str, Sequence[Mapping[str, Any]]],
    key: str,
    looks: Mapping[str, tuple[str, str]],
) -> None:
    for strategy in ordered(arms, STRATEGY_ORDER):
        color, marker = looks[strategy]
        rounds = _complete_rounds(arms[strategy])
        x = np.array([[entry[key] for entry in run] for run in rounds], dtype=float)
        y = np.array([[entry["miou"] for entry in run] for run in rounds], dtype=float)
        mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
        look = {"color": color, "marker": marker, "markersize": 6, "markeredgewidth": 1.5}
        axes.plot(mean_x, mean_y, linewidth=2, markerfacecolor="white", label=strategy, **look)
        axes.plot(mean_x[-1:], mean_y[-1:], linestyle="none", zorder=4, **look)
        if len(rounds) > 1:
            axes.fill_between(mean_x, y.min(axis=0), y.max(axis=0), color=color, alpha=0.15, lw=0)
    for name, (label, line) in REFERENCES.items():
        if summary[f"{name}_miou"] is not None:
            axes.axhline(
                summary[f"{name}_miou"], color="#57606a", linestyle=line, linewidth=1.4, label=label
            )
    axes.set_xlim(left=0)
    axes.ticklabel_format(style="plain", axis="x")
    axes.locator_params(axis="x", nbins=6, integer=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _complete_rounds(runs: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The rounds that all seeds evaluated: a mean over other seeds at each round would mislead."""
    ends = {run["rounds"][-1]["round"] for run in runs}
    if len(ends) > 1:
        arm = f"{runs[0]['setting']} {runs[0]['strategy']}"
        raise ValueError(f"the seeds of {arm} end after different rounds: {sorted(ends)}")
    common = set.intersection(*({entry["round"] for entry in run["rounds"]} for run in runs))
    return [[entry for entry in run["rounds"] if entry["round"] in common] for run in runs]


def _bar_panel(
    axes: Axes,
    summary: Mapping[str, Any],
    arms: Mapping[str, Sequence[Mapping[str, Any]]],
    classes: Sequence[str],
    looks: Mapping[str, tuple[str, str]],
) -> None:
    places = np.arange(len(classes))
    width = 0.8 / len(arms)
    for position, strategy in enumerate(ordered(arms, STRATEGY_ORDER)):
        finals = [run["rounds"][-1]["iou_per_class"] for run in arms[strategy]]
        shift = (position - (len(arms) - 1) / 2) * width
        heights = _class_means(finals, classes)
        axes.bar(places + shift, heights, width * 0.92, color=looks[strategy][0], label=strategy)
    for name, color in (("source_only", "#8c959f"), ("target_only", "#24292f")):
        iou = (summary.get("reference_iou_per_class") or {}).get(name)
        if iou:
            axes.hlines(
                _class_means([iou], classes),
                places - 0.45,
                places + 0.45,
                color=color,
                linewidth=1.6,
                label=REFERENCES[name][0],
            )
    axes.grid(axis="x", visible=False)
    axes.set(ylabel="IoU [%]", ylim=(0, 100), xlim=(-0.6, len(classes) - 0.4))


def _class_means(ious: Sequence[Mapping[str, float | None]], classes: Sequence[str]) -> np.ndarray:
    """[C] float, mean over the runs; nan, which draws nothing, for a class that is absent."""
    values = np.array([[iou[name] for name in classes] for iou in ious], dtype=float)
    return values.mean(axis=0)


def _shared_legend(figure: Figure, axes: Axes, height: int, note: bool = False) -> None:
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    if note:
        mark = {"color": "#24292f", "linestyle": "none", "marker": "o", "markersize": 6}
        handles += [Line2D([], [], markerfacecolor="white", markeredgewidth=1.5, **mark)]
        handles += [Line2D([], [], **mark)]
        labels += ["during training", "final"]
    figure.legend(
        handles,
        labels,
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 8 / height),
        ncols=5 if note else len(handles),
        handlelength=2.6,
        columnspacing=1.8,
    )


def _clip(name: str, length: int = 16) -> str:
    return name if len(name) <= length else name[: length - 2] + ".."
