"""The marks of queried voxels in a picture: squares, pins and numbered badges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annotator3d.analysis.figures.style import DPI

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BACKGROUND, MARK = "#0d1117", "#ffffff"
BADGE = 15  # radius in pixels


@dataclass(frozen=True)
class PixelView:
    """The part of the ground that fills a rectangle of the picture. Metres and pixels."""

    low: np.ndarray  # [2]
    size: np.ndarray  # [2]
    pixels: np.ndarray  # [2]: width and height of the rectangle

    def place(self, xy: np.ndarray) -> np.ndarray:
        """[Q, 2] metres -> [Q, 2] pixels from the lower left corner."""
        return (xy - self.low) / self.size * self.pixels


def points(pixels: float) -> float:
    """Pixels -> typographic points."""
    return pixels * 72 / DPI


def draw_marks(axes: Axes, view: PixelView, centres: np.ndarray, numbers: bool) -> None:
    """White squares of fixed size around `centres` [Q, 3] metres, and numbered pins."""
    from matplotlib.patheffects import Normal, Stroke

    halo = [Stroke(linewidth=3.0, foreground=BACKGROUND), Normal()]
    axes.plot(
        *centres[:, :2].T,
        linestyle="none",
        marker="s",
        markersize=points(15),
        markerfacecolor="none",
        markeredgecolor=MARK,
        markeredgewidth=1.2,
        path_effects=halo,
        zorder=5,
    )
    if not numbers:
        return
    marks = view.place(centres[:, :2])
    for number, (mark, badge) in enumerate(zip(marks, _badges(marks, view.pixels), strict=True), 1):
        away = (badge - mark) / np.linalg.norm(badge - mark)
        start = mark + away * 10
        line = np.stack([start, badge]) / view.pixels
        axes.plot(
            *line.T, color=MARK, lw=1.1, path_effects=halo, transform=axes.transAxes, zorder=6
        )
        draw_badge(axes, badge / view.pixels, number)


def draw_badge(axes: Axes, place: np.ndarray, number: int) -> None:
    """A numbered disc at `place` [2], in fractions of the axes."""
    axes.plot(
        *place,
        marker="o",
        markersize=points(2 * BADGE),
        color=MARK,
        markeredgecolor=BACKGROUND,
        markeredgewidth=1.0,
        transform=axes.transAxes,
        zorder=7,
    )
    axes.text(
        *place,
        str(number),
        color=BACKGROUND,
        size=7.5 if number < 100 else 5.5,
        weight="bold",
        ha="center",
        va="center_baseline",
        transform=axes.transAxes,
        zorder=8,
    )


def _badges(marks: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """[Q, 2] pixels: where the number of each mark stands. Greedy: the nearest free place."""
    angles = np.deg2rad([60, 120, 30, 150, -60, -120, -30, -150, 90, -90])
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    offsets = np.concatenate([radius * directions for radius in (42, 64, 90, 120)])
    placed: list[np.ndarray] = []
    for i, mark in enumerate(marks):
        obstacles = np.stack([*placed, *np.delete(marks, i, axis=0), np.full(2, np.inf)])
        candidates = mark + offsets
        distance = np.linalg.norm(candidates[:, None] - obstacles[None], axis=2).min(axis=1)
        outside = ((candidates < BADGE + 2) | (candidates > pixels - BADGE - 2)).any(axis=1)
        free = (distance > 2 * BADGE + 4) & ~outside
        best = free.argmax() if free.any() else np.where(outside, -1, distance).argmax()
        placed.append(candidates[best])
    return np.stack(placed) if placed else np.empty((0, 2))
