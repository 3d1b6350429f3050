"""The figures of a comparison stay readable with many arms, and nothing of them is cut off."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from annotator3d.analysis.figures.comparison import (
    COLORS,
    MOST,
    Band,
    Interval,
    Panel,
    curve_panels,
    heights,
    in_groups,
    interval_plot,
)

ARMS = [f"an-arm-of-a-long-name-{number}" for number in range(19)]


def row(arms, task="ada"):
    band = Band(*(np.array([1.0, 2.0]) * k for k in (1, 10, 9, 11)))
    return [Panel(task, "voxels", dict.fromkeys(arms, band), {"target": 30.0})]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"))


def test_each_arm_is_in_one_figure_and_the_base_in_all():
    groups = in_groups([row(ARMS), row(ARMS[:4], "al")], ARMS[2])
    drawn = [list(group[0][0].bands) for group in groups]
    assert all(len(arms) <= MOST + 1 and ARMS[2] in arms for arms in drawn)
    others = [arm for arms in drawn for arm in arms if arm != ARMS[2]]
    assert sorted(others) == sorted(set(ARMS) - {ARMS[2]})
    assert all(len(panel.levels) == 1 for group in groups for rows in group for panel in rows)


def test_a_few_arms_stay_one_figure_without_a_base():
    assert [list(group[0][0].bands) for group in in_groups([row(ARMS[:MOST])])] == [ARMS[:MOST]]


def test_all_figures_of_a_task_have_one_scale():
    low, high = heights([row(ARMS)])["ada"]
    assert low < 9 and 30 < high < 35


def test_a_long_legend_stays_inside_and_above_the_curves():
    for arms in (ARMS[:1], ARMS[: MOST + 1]):
        image = pixels(curve_panels([row(arms)]))
        assert image[:, :8].min() == 255 and image[:, -8:].min() == 255
    assert len(set(COLORS)) >= MOST + 1  # so that no two curves of a figure look alike


def test_the_names_of_long_comparisons_are_not_cut_off():
    label = "mean of the tasks: class-stratified-points - geometry-random-points"
    for name in ("a - b", label):
        image = pixels(interval_plot([Interval(name, [1.0, 2.0], 1.5, 1.0, 2.0, True)]))
        assert image[:, :8].min() == 255
