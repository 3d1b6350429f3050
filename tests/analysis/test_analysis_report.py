"""Figures and the HTML report: sizes, marks in the right place, one file that needs no other."""

import io
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.image import imread

from annotator3d.analysis.figures.birdseye import birds_eye
from annotator3d.analysis.figures.curves import budget_curves, class_bars
from annotator3d.analysis.report.blocks import duration
from annotator3d.analysis.report.experiment import Notes, write_report

EVIL = r'<script>alert("$\frac$")</script>'  # as a formula, this would not even parse
BACKGROUND = (13, 17, 23)


def make_summary(settings=("al", "ada"), strategies=("random", "vcd"), seeds=(0,)):
    classes = ["car", EVIL, "motorcyclist"]
    runs = []
    for i, (setting, strategy, seed) in enumerate(
        (a, b, c) for a in settings for b in strategies for c in seeds
    ):
        rounds = [
            {
                "round": number,
                "voxels": 40 * number,
                "points": 3210 * number + i,
                "miou": 20.125 + 10 * number + i,
                "iou_per_class": {"car": 80.0 + i, EVIL: 40.0, "motorcyclist": None},
                "epoch": 3 * number,
                "during_training": number < 3,
                "labelled_points": 3100 * number + i,
                "void_queries": number,
            }
            for number in (1, 2, 3)
        ]
        runs.append({"setting": setting, "strategy": strategy, "seed": seed, "rounds": rounds})
    return {
        "source_only_miou": 21.7,
        "zero_label_miou": 23.4,
        "target_only_miou": 60.3,
        "wall_seconds": 754,
        "classes": classes,
        "reference_iou_per_class": {"source_only": runs[0]["rounds"][0]["iou_per_class"]},
        "runs": runs,
    }


def pixels(png):
    """[H, W, 3] int, rows from the top."""
    return np.rint(imread(io.BytesIO(png))[..., :3] * 255).astype(int)


@pytest.mark.parametrize("draw", [budget_curves, class_bars])
@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_a_figure_is_a_png_of_readable_size_in_the_colours_of_its_strategies(tmp_path, draw, seeds):
    png = draw(make_summary(seeds=seeds), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes() == png
    picture = pixels(png)
    assert picture.shape[1] == 1600
    assert picture.shape[0] > 600
    for color in [(0x56, 0xB4, 0xE9), (0xD5, 0x5E, 0x00)]:  # random, vcd
        assert (picture == color).all(axis=-1).sum() > 200


def test_a_panel_is_added_for_each_setting():
    heights = [
        len(pixels(budget_curves(make_summary(settings=s)))) for s in [("al",), ("al", "ada")]
    ]
    assert heights[1] - heights[0] > 300


def test_a_missing_reference_run_draws_no_line():
    summary = make_summary(settings=("ada",))
    line = (0x57, 0x60, 0x6A)

    def count():
        return (pixels(budget_curves(summary)) == line).all(axis=-1).sum()

    with_lines = count()
    for name in ("source_only", "zero_label", "target_only"):
        summary[f"{name}_miou"] = None
    assert count() < with_lines / 2


def test_seeds_that_end_after_different_rounds_are_not_averaged():
    summary = make_summary(seeds=(0, 1))
    summary["runs"][0]["rounds"].pop()
    with pytest.raises(ValueError, match=r"al random end after different rounds: \[2, 3\]"):
        budget_curves(summary)


SIZE = 0.25
CELLS = np.array([[8, 12, 0], [-60, -25, 1], [70, 10, 2]])
HUES = np.array([[255, 0, 255], [0, 255, 255], [255, 255, 0]], dtype=np.uint8)


def marked_scan():
    """Grey points along the edges of the street, and one coloured cluster in each queried cell."""
    rng = np.random.default_rng(0)
    edges = np.linspace([-24, -9, 0], [24, 9, 0], 200) * [1, -1, 1]
    clusters = [(cell + rng.uniform(0.4, 0.6, (40, 3))) * SIZE for cell in CELLS]
    colors = [np.full((200, 3), 120, np.uint8), *(np.tile(hue, (40, 1)) for hue in HUES)]
    return np.concatenate([edges, *clusters]), np.concatenate(colors)


def centre(mask):
    return np.argwhere(mask).mean(axis=0)


def test_the_marks_surround_the_points_of_the_queried_cells():
    xyz, colors = marked_scan()
    picture = pixels(birds_eye(xyz, colors, CELLS, SIZE, numbers=False))
    assert picture.shape == (900, 1600, 3)
    found = []
    for hue in HUES:
        row, column = np.rint(centre((picture == hue).all(axis=-1))).astype(int)
        found.append((column, row))
        window = picture[row - 14 : row + 15, column - 14 : column + 15]
        white = (window > 235).all(axis=-1)
        # A hollow square around the cluster: centred on it, nothing white in its middle.
        assert white.sum() > 30
        np.testing.assert_allclose(centre(white), (14, 14), atol=1.5)
        assert not white[12:17, 12:17].any()
    assert (picture > 235).all(axis=-1).sum() < 3 * 200  # and no mark anywhere else
    # One scale in both axes; x to the right, y up.
    shift = np.diff(np.array(found), axis=0)
    metres = np.diff(CELLS[:, :2], axis=0) * SIZE
    scale = shift / metres * [1, -1]
    np.testing.assert_allclose(scale, scale.mean(), rtol=0.03)
    assert scale.mean() > 0


def test_each_query_has_a_pin_of_its_own_even_in_one_place():
    xyz, colors = marked_scan()
    crowd = np.array([[8, 12, 0], [8, 12, 1], [8, 13, 0], [9, 12, 0]])
    bare = (pixels(birds_eye(xyz, colors, crowd, SIZE, numbers=False)) > 235).all(axis=-1).sum()
    pinned = (pixels(birds_eye(xyz, colors, crowd, SIZE)) > 235).all(axis=-1).sum()
    disc = np.pi * 14**2
    assert pinned - bare > 4 * 0.7 * disc  # overlapping discs would have less area


def test_a_close_up_shows_the_outline_of_the_voxel_in_its_middle():
    xyz, colors = marked_scan()
    picture = pixels(birds_eye(xyz, colors, CELLS, SIZE, title="One scan", zoom=2))
    right = picture[:, 1250:]
    for hue in HUES[:2]:
        row, column = centre((right == hue).all(axis=-1))
        window = right[int(row) - 60 : int(row) + 61, int(column) - 60 : int(column) + 61]
        white = (window > 235).all(axis=-1)
        np.testing.assert_allclose(centre(white), (60, 60), atol=4)
    assert not (right == HUES[2]).all(axis=-1).any()


def test_the_legend_lists_the_classes_that_occur():
    xyz, colors = marked_scan()
    names = {"pole": HUES[0], "truck": np.array([9, 250, 9], np.uint8), EVIL: HUES[1]}
    bottom = pixels(birds_eye(xyz, colors, CELLS, SIZE, legend=names))[-48:]
    assert (bottom == HUES[0]).all(axis=-1).sum() > 150
    assert (bottom == HUES[1]).all(axis=-1).sum() > 150
    assert not (bottom == [9, 250, 9]).all(axis=-1).any()


def test_an_empty_scan_without_queries_is_an_empty_picture():
    picture = pixels(birds_eye(np.empty((0, 3)), np.empty((0, 3)), np.empty((0, 3), int), SIZE))
    assert (picture == BACKGROUND).all(axis=-1).mean() > 0.98


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"xyz": [[0, 0, np.nan]]}, "xyz: expected finite"),
        ({"xyz": [[0, 0]]}, "xyz: expected shape"),
        ({"colors": [[0, 0, 300]]}, "colors: expected integers in 0..255"),
        ({"colors": [[0, 0, 3]] * 2}, "colors: expected one row per point"),
        ({"voxel_size": 0.0}, "voxel_size"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(change, words):
    good = {"xyz": [[0, 0, 0]], "colors": [[9, 9, 9]], "cells": [[0, 0, 0]], "voxel_size": 0.25}
    with pytest.raises(ValueError, match=words):
        birds_eye(**good | change)


class Page(HTMLParser):
    """Collects text and links, and refuses tags that do not nest."""

    VOID = {"meta", "img", "br"}

    def __init__(self, source):
        super().__init__()
        self.open, self.text, self.links, self.tags = [], [], [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def make_report(path, summary, **notes):
    figures = {
        "curves": budget_curves(summary),
        "birds_eye": birds_eye(*marked_scan(), CELLS, SIZE),
        EVIL: class_bars(summary),
    }
    write_report(path, summary, figures, Notes(**notes))
    source = path.read_text(encoding="utf-8")
    return source, Page(source)


def test_the_report_holds_the_numbers_and_says_what_they_are(tmp_path):
    commands = ["annotator3d demo --seed 0 && echo <done>"]
    source, page = make_report(
        tmp_path / "report.html", make_summary(), simulated=True, commands=commands
    )
    text = " ".join(page.text)
    for number in ("21.7", "23.4", "60.3", "12 min 34 s", "3,210", "9,303", "50.1", "53.1"):
        assert number in text
    assert "88 % of target-only" in text  # 53.125 / 60.3
    assert "One seed: no ranking." in text
    assert "Both domains are simulated." in text
    assert commands[0] in text
    assert page.tags.count("img") == 3


def test_the_report_needs_no_other_file_and_no_script(tmp_path):
    source, page = make_report(tmp_path / "report.html", make_summary())
    assert page.links
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    for word in ("http:", "https:", "@import", "url("):
        assert word not in source
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_names_are_text_and_never_markup(tmp_path):
    _, page = make_report(tmp_path / "report.html", make_summary(), title=EVIL, remarks=[EVIL])
    assert "script" not in page.tags
    assert page.text.count(EVIL) >= 5  # title twice, remark, figure, class table


def test_real_data_and_several_seeds_are_said_too(tmp_path):
    _, page = make_report(tmp_path / "report.html", make_summary(seeds=(0, 1)))
    text = " ".join(page.text)
    assert "simulated" not in text
    assert "One seed" not in text
    assert "50.1 to 51.1" in text


def test_a_figure_that_is_no_png_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'curves' is not a PNG"):
        write_report(tmp_path / "r.html", make_summary(), {"curves": b"GIF89a"}, Notes())
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(45.2, "45 s"), (754, "12 min 34 s"), (59.7, "1 min 00 s"), (11100, "3 h 05 min")],
)
def test_a_duration_is_in_words(seconds, words):
    assert duration(seconds) == words


def test_importing_the_figures_loads_no_matplotlib():
    code = "import sys, annotator3d.analysis.report.experiment\n"
    code += "import annotator3d.analysis.figures.curves\n"
    code += "sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
