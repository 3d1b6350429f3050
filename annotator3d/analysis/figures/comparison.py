"""Figures of a comparison of arms: curves over every budget, differences of pairs, intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from annotator3d.analysis.figures.style import DPI, new_figure, style, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision; the marker repeats the distinction.
COLORS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#7f7f7f", "#24292f")
MARKERS = ("o", "s", "D", "^", "P", "v", "X", "*")
LINES = ("--", "-.", ":")
WIDTH = 1600  # pixels
LABEL = 44  # letters in a line
MOST = 6  # curves in a panel, besides the base
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


def in_groups(rows: Sequence[Sequence[Panel]], base: str | None = None) -> list[list[list[Panel]]]:
    """The same panels as several figures of few curves, each with those of `base`.

    More than a handful of curves in one panel tell nobody anything.
    """
    names = dict.fromkeys(name for row in rows for panel in row for name in panel.bands)
    others = [name for name in names if name != base]
    number = max(-(-len(others) // MOST), 1)
    groups = [each.tolist() for each in np.array_split(np.array(others, object), number)]
    found = []
    for group in groups:
        chosen = {base, *group}
        parts = [[_part(panel, chosen) for panel in row] for row in rows]
        found.append([row for row in parts if any(panel.bands for panel in row)])
    return found


def _part(panel: Panel, names: Collection[str | None]) -> Panel:
    return replace(panel, bands={arm: b for arm, b in panel.bands.items() if arm in names})


def heights(rows: Sequence[Sequence[Panel]]) -> dict[str, tuple[float, float]]:
    """By task: from where to where its curves and levels go, with a margin."""
    found = {}
    for row in rows:
        bands = [band for panel in row for band in panel.bands.values()]
        levels = [level for panel in row for level in panel.levels.values()]
        low = min([*levels, *(float(np.min(band.low)) for band in bands)])
        high = max([*levels, *(float(np.max(band.high)) for band in bands)])
        margin = 0.05 * (high - low) or 1.0
        found[row[0].task] = low - margin, high + margin
    return found


def curve_panels(
    rows: Sequence[Sequence[Panel]],
    label: str = "mIoU [%]",
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> bytes:
    """A row for each task, a column for each axis.

    Args:
        limits: by task, of the vertical axis; see `heights`.
    """
    arms = list(dict.fromkeys(arm for row in rows for panel in row for arm in panel.bands))
    names = list(dict.fromkeys(name for row in rows for panel in row for name in panel.levels))
    with style():
        figure = new_figure(WIDTH, 130 + 430 * len(rows))
        grid = figure.subplots(len(rows), len(rows[0]), squeeze=False, sharey="row")
        for axes_row, row in zip(grid, rows, strict=True):
            for axes, panel in zip(axes_row, row, strict=True):
                _draw(axes, panel, arms, names)
            axes_row[0].set_ylabel(label)
            axes_row[0].set_title(row[0].task, loc="left")
            if limits is not None:
                axes_row[0].set_ylim(limits[row[0].task])
        legend = _add_legend(figure, grid.ravel().tolist())
        height = 90 + legend + 430 * len(rows)
        figure.set_figheight(height / DPI)
        figure.legends[0].set_bbox_to_anchor((0.5, 1 - 6 / height))
        figure.subplots_adjust(
            left=0.07,
            right=0.985,
            top=1 - (legend + 55) / height,
            bottom=75 / height,
            hspace=0.42,
            wspace=0.1,
        )
        return to_png(figure)


def _add_legend(figure: Figure, panels: Sequence[Axes]) -> float:
    """Draw the legend at the top, in as many columns as fit; its height in pixels."""
    handles, labels = _legend(panels)
    for columns in range(min(6, max(1, len(labels))), 0, -1):
        figure.legends.clear()
        legend = figure.legend(handles, labels, loc="upper center", ncols=columns)
        extent = legend.get_window_extent(figure.canvas.get_renderer())
        if extent.width <= WIDTH - 40:
            break
    return extent.height


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
        labels = [
            textwrap.fill(each.label, LABEL, break_on_hyphens=False) for each in reversed(intervals)
        ]
        axes.set_yticks(range(len(intervals)), labels)
        axes.set(xlabel="difference of mIoU [points]", ylim=(-0.6, len(intervals) - 0.3))
        axes.grid(axis="y", visible=False)
        figure.subplots_adjust(right=0.98, top=1 - 15 / height, bottom=75 / height)
        widest = max(label.get_window_extent().width for label in axes.get_yticklabels())
        figure.subplots_adjust(left=(widest + 30) / WIDTH)
        return to_png(figure)


def _draw(axes: Axes, panel: Panel, arms: Sequence[str], names: Sequence[str]) -> None:
    for arm, band in panel.bands.items():
        place = arms.index(arm)
        color = COLORS[place % len(COLORS)]
        axes.plot(
            band.budgets,
            band.middle,
            color=color,
            marker=MARKERS[(place + place // len(COLORS)) % len(MARKERS)],  # no pair comes twice
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
