"""Figures of a comparison of arms: curves over every budget, differences of pairs, intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from annotator3d.analysis.figures.style import new_figure, style, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, told apart with any colour vision; the marker repeats the distinction.
COLORS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#7f7f7f", "#24292f")
MARKERS = ("o", "s", "D", "^", "P", "v", "X", "*")
LINES = ("--", "-.", ":")
WIDTH = 1600  # pixels
AXIS_WORDS = {
    "voxels": "queried voxels",
    "labelled_points": "labelled points",
    "clicks": "clicks",
    "seconds": "seconds of a person",
}


@dataclass(frozen=True)
class Band:
    """A line with a band around it, over budgets [B]."""

    budgets: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Panel:
    """The curves of one task over one axis."""

    task: str
    axis: str
    bands: Mapping[str, Band]  # by arm
    levels: Mapping[str, float] = field(default_factory=dict)  # runs without a budget: mIoU


@dataclass(frozen=True)
class Interval:
    """One comparison: every pair's difference, their mean and its interval."""

    label: str
    differences: Sequence[float]
    mean: float
    low: float | None
    high: float | None
    shown: bool


def curve_panels(rows: Sequence[Sequence[Panel]], label: str = "mIoU [%]") -> bytes:
    """A row for each task, a column for each axis."""
    arms = list(dict.fromkeys(arm for row in rows for panel in row for arm in panel.bands))
    names = list(dict.fromkeys(name for row in rows for panel in row for name in panel.levels))
    height = 130 + 430 * len(rows)
    with style():
        figure = new_figure(WIDTH, height)
        grid = figure.subplots(len(rows), len(rows[0]), squeeze=False, sharey="row")
        for axes_row, row in zip(grid, rows, strict=True):
            for axes, panel in zip(axes_row, row, strict=True):
                _draw(axes, panel, arms, names)
            axes_row[0].set_ylabel(label)
            axes_row[0].set_title(row[0].task, loc="left")
        handles, labels = _legend(grid.ravel().tolist())
        figure.legend(
            handles,
            labels,
            loc="upper center",
            bbox_to_anchor=(0.5, 1 - 6 / height),
            ncols=min(6, max(1, len(labels))),
        )
        figure.subplots_adjust(
            left=0.07,
            right=0.985,
            top=1 - 115 / height,
            bottom=75 / height,
            hspace=0.42,
            wspace=0.1,
        )
        return to_png(figure)


def interval_plot(intervals: Sequence[Interval]) -> bytes:
    """A row for each comparison: pairs as hollow dots, mean and 95 % interval; 0 is no difference.

    Filled where a difference is shown.
    """
    height = 110 + 62 * len(intervals)
    with style():
        figure = new_figure(WIDTH, height)
        axes = figure.subplots()
        axes.axvline(0, color="#24292f", linewidth=1.2)
        for place, each in enumerate(reversed(intervals)):
            color = COLORS[0] if each.shown else "#57606a"
            dots = np.asarray(each.differences)
            spread = place + 0.22 + np.zeros(len(dots))
            axes.plot(dots, spread, "o", color=color, mfc="white", ms=3.5, alpha=0.8)
            if each.low is not None and each.high is not None:
                axes.plot([each.low, each.high], [place, place], color=color, linewidth=2.2)
            fill = color if each.shown else "white"
            axes.plot([each.mean], [place], "D", color=color, mfc=fill, ms=6, mew=1.4)
        axes.set_yticks(range(len(intervals)), [each.label for each in reversed(intervals)])
        axes.set(xlabel="difference of mIoU [points]", ylim=(-0.6, len(intervals) - 0.3))
        axes.grid(axis="y", visible=False)
        figure.subplots_adjust(left=0.27, right=0.98, top=1 - 15 / height, bottom=75 / height)
        return to_png(figure)


def _draw(axes: Axes, panel: Panel, arms: Sequence[str], names: Sequence[str]) -> None:
    for arm, band in panel.bands.items():
        place = arms.index(arm)
        color = COLORS[place % len(COLORS)]
        axes.plot(
            band.budgets,
            band.middle,
            color=color,
            marker=MARKERS[place % len(MARKERS)],
            markersize=5,
            markerfacecolor="white",
            linewidth=2,
            label=arm,
        )
        axes.fill_between(band.budgets, band.low, band.high, color=color, alpha=0.13, lw=0)
    for name, level in panel.levels.items():
        line = LINES[names.index(name) % len(LINES)]
        axes.axhline(level, color="#57606a", linestyle=line, linewidth=1.3, label=name)
    axes.set_xlabel(AXIS_WORDS.get(panel.axis, panel.axis))
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlim(left=0)


def _legend(panels: Sequence[Axes]) -> tuple[list, list[str]]:
    found: dict[str, object] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)
