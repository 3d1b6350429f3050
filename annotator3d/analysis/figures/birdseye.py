"""A scan from above, coloured by class, with the queried voxels marked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from annotator3d.analysis.figures.marks import (
    BACKGROUND,
    MARK,
    PixelView,
    draw_badge,
    draw_marks,
    points,
)
from annotator3d.analysis.figures.style import new_figure, style, to_png
from annotator3d.errors import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRAME, TEXT = "#3a434d", "#b6bec8"
WIDTH, HEIGHT = 1600, 900  # pixels
TITLE_BAND, LEGEND_ROW, GAP = 62, 34, 14
MAX_INSETS, INSET_REACH = 4, 1.0  # metres from the middle of the voxel to the edge of its inset
RINGS = range(10, 200, 10)  # metres
MIN_LUMINANCE = 0.25


def birds_eye(
    xyz: ArrayLike,
    colors: ArrayLike,
    cells: ArrayLike,
    voxel_size: float,
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
    *,
    numbers: bool = True,
    zoom: int = 0,
    legend: Mapping[str, Sequence[float]] | None = None,
) -> bytes:
    """Draw a scan from above: x (forward) to the right, y (left) up, higher points on top.

    Each queried voxel gets a small white square of fixed size around its centre and a numbered pin;
    the first `zoom` queries are also shown close up, with the true outline of the voxel.

    Args:
        xyz: [N, 3] metres, finite.
        colors: [N, 3] RGB, integers in 0..255 or floats in 0..1.
        cells: [Q, 3] integer cells floor(xyz / voxel_size), in the order of their numbers.
        voxel_size: metres.
        path: where to save the PNG as well.
        numbers: False leaves the pins out.
        zoom: number of close-ups, at most 4.
        legend: class name -> RGB as in `colors`; the classes that occur in the scan are listed.

    Returns:
        The PNG, 1600 x 900 pixels.
    """
    xyz = _array(xyz, "xyz", np.float64)
    cells = _array(cells, "cells", np.int64)
    rgb = _unit_rgb(colors, "colors")
    if len(rgb) != len(xyz):
        raise ValueError(f"colors: expected one row per point ({len(xyz)}), got {len(rgb)}")
    if not voxel_size > 0:
        raise ValueError(f"voxel_size: expected metres > 0, got {voxel_size}")
    centres = (cells + 0.5) * voxel_size
    zoom = min(zoom, len(cells), MAX_INSETS)
    names = {name: _unit_rgb([color], "legend") for name, color in (legend or {}).items()}
    rows = _legend_rows(_present(names, rgb))
    rgb = _lift(rgb)
    top = TITLE_BAND if title else GAP
    low = GAP + LEGEND_ROW * len(rows)
    inset = (HEIGHT - top - low - GAP * max(zoom - 1, 0)) / max(zoom, 2) if zoom else 0
    width = WIDTH - 2 * GAP - (inset + GAP if zoom else 0)
    order = np.argsort(xyz[:, 2], kind="stable")
    with style():
        figure = new_figure(WIDTH, HEIGHT, BACKGROUND)
        if title:
            figure.text(GAP / WIDTH, 1 - 20 / HEIGHT, title, color="#f0f3f6", size=12, va="top")
        axes = _axes(figure, GAP, low, width, HEIGHT - top - low)
        view = _fit_view(xyz, centres, np.array([width, HEIGHT - top - low]))
        _draw_scan(axes, view, xyz[order], rgb[order])
        draw_marks(axes, view, centres, numbers)
        for i in range(zoom):
            bottom = HEIGHT - top - inset * (i + 1) - GAP * i
            close_up = _axes(figure, WIDTH - GAP - inset, bottom, inset, inset)
            _draw_inset(close_up, xyz[order], rgb[order], cells[i], voxel_size, i + 1)
        _draw_legend(figure, rows)
        return to_png(figure, path)


def _array(values: ArrayLike, name: str, dtype: type) -> np.ndarray:
    array = np.asarray(values, dtype=dtype)
    if array.size == 0:
        return array.reshape(0, 3)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"{name}: expected shape [*, 3], got {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers; drop the non-finite rows first")
    return array


def _unit_rgb(colors: ArrayLike, name: str) -> np.ndarray:
    """[N, 3] float in 0..1."""
    scale = 255.0 if np.asarray(colors).dtype.kind in "iu" else 1.0
    rgb = _array(colors, name, np.float64) / scale
    if rgb.size and (rgb.min() < 0 or rgb.max() > 1):
        raise ValueError(f"{name}: expected integers in 0..255 or floats in 0..1")
    return rgb


def _fit_view(xyz: np.ndarray, centres: np.ndarray, pixels: np.ndarray) -> PixelView:
    """Nearly all points and every queried voxel, in the proportions of the rectangle."""
    if len(xyz) + len(centres) == 0:
        low, high = np.full(2, -10.0), np.full(2, 10.0)
    else:
        # A few far returns must not shrink the street to a line: the sides may cut 4 % each.
        inner = np.quantile(xyz[:, :2], (0.04, 0.96), axis=0) if len(xyz) else centres[:, :2]
        shown = np.concatenate([inner, centres[:, :2]])
        low, high = shown.min(axis=0) - 2.0, shown.max(axis=0) + 2.0
    middle, size = (low + high) / 2, high - low
    size = np.max(size / pixels) * pixels
    return PixelView(middle - size / 2, size, pixels)


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    axes = figure.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))
    axes.set(facecolor=BACKGROUND, xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=FRAME, linewidth=0.8)
    return axes


def _draw_scan(axes: Axes, view: PixelView, xyz: np.ndarray, rgb: np.ndarray) -> None:
    from matplotlib.patches import Circle
    from matplotlib.patheffects import Normal, Stroke

    axes.set_xlim(view.low[0], view.low[0] + view.size[0])
    axes.set_ylim(view.low[1], view.low[1] + view.size[1])
    halo = [Stroke(linewidth=2.5, foreground=BACKGROUND), Normal()]
    for radius in RINGS:
        axes.add_patch(Circle((0, 0), radius, fill=False, color="#2d353e", linewidth=0.8, zorder=0))
        if view.low[1] + 1 < -radius:
            look = {"size": 6.5, "ha": "center", "va": "center", "path_effects": halo, "zorder": 3}
            axes.text(0, -radius, f"{radius} m", color="#8c959f", **look)
    axes.scatter(*xyz[:, :2].T, s=points(2.5) ** 2, c=rgb, linewidths=0, zorder=2)
    axes.plot(0, 0, marker="+", color=TEXT, markersize=7, zorder=3)


def _draw_inset(
    axes: Axes, xyz: np.ndarray, rgb: np.ndarray, cell: np.ndarray, size: float, number: int
) -> None:
    from matplotlib.patches import Rectangle

    low = cell * size
    offset = xyz - (low + size / 2)
    near = (np.abs(offset) < max(INSET_REACH, 2 * size)).all(axis=1)
    # The same float32 division as the grid itself, so that the count is the voxel's own.
    inside = (np.floor(xyz.astype(np.float32) / np.float32(size)) == cell).all(axis=1)
    around = near & ~inside
    axes.scatter(*offset[around, :2].T, s=points(4.5) ** 2, c=rgb[around], alpha=0.55, linewidths=0)
    axes.scatter(*offset[inside, :2].T, s=points(9) ** 2, c=rgb[inside], linewidths=0, zorder=3)
    outline = Rectangle(
        (-size / 2, -size / 2), size, size, fill=False, color=MARK, lw=1.4, zorder=4
    )
    axes.add_patch(outline)
    reach = max(INSET_REACH, 2 * size)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    pixels = axes.bbox.width
    draw_badge(axes, np.array([24, pixels - 24]) / pixels, number)
    words = (
        f"{count(inside.sum(), 'point')}, "
        f"{count(len(np.unique(rgb[inside], axis=0)), 'class', 'classes')}"
    )
    axes.text(
        46 / pixels,
        1 - 24 / pixels,
        words,
        color="#f0f3f6",
        size=7.5,
        va="center_baseline",
        transform=axes.transAxes,
        zorder=8,
        bbox={"facecolor": BACKGROUND, "edgecolor": "none", "alpha": 0.7, "pad": 1.5},
    )


def _lift(rgb: np.ndarray) -> np.ndarray:
    """Mix dark colours with white until they can be seen on the dark background."""
    luminance = rgb @ (0.2126, 0.7152, 0.0722)
    share = np.maximum(0, MIN_LUMINANCE - luminance) / (1 - np.minimum(luminance, MIN_LUMINANCE))
    return rgb + share[..., None] * (1 - rgb)


def _present(legend: Mapping[str, np.ndarray], rgb: np.ndarray) -> dict[str, np.ndarray]:
    """The entries of the legend whose colour some point has, in the colour that is drawn."""
    drawn = {tuple(row) for row in np.unique(rgb, axis=0)}
    return {name: _lift(color)[0] for name, color in legend.items() if tuple(color[0]) in drawn}


def _legend_rows(
    entries: Mapping[str, np.ndarray],
) -> list[list[tuple[float, str, np.ndarray]]]:
    """Entries with their left edge in pixels, broken into rows that fit the picture."""
    rows: list[list[tuple[float, str, np.ndarray]]] = []
    left = float(WIDTH)
    for name, color in entries.items():
        width = 46 + 11.2 * len(name)  # DejaVu Sans at 8 points is about 11 pixels a letter
        if left + width > WIDTH:
            rows.append([])
            left = GAP
        rows[-1].append((left, name, color))
        left += width
    return rows


def _draw_legend(figure: Figure, rows: Sequence[Sequence[tuple[float, str, np.ndarray]]]) -> None:
    from matplotlib.patches import Rectangle

    for i, row in enumerate(rows):
        middle = (GAP + LEGEND_ROW * (len(rows) - i - 0.5) - 6) / HEIGHT
        for left, name, color in row:
            corner = (left / WIDTH, middle - 8 / HEIGHT)
            figure.add_artist(Rectangle(corner, 16 / WIDTH, 16 / HEIGHT, color=color))
            figure.text((left + 24) / WIDTH, middle, name, color=TEXT, size=8, va="center_baseline")
