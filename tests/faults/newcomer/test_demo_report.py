"""The report of an experiment leads with its main setting and says what a number may mean."""

from __future__ import annotations

import re

import pytest

from annotator3d.analysis.report.experiment import Notes, write_report
from annotator3d.engine.config.load import find_config, load_config

CLASSES = ["car", "road"]


def summary_of(ada: float, target: float) -> dict:
    runs = [
        {
            "setting": setting,
            "strategy": strategy,
            "seed": 0,
            "rounds": [
                {
                    **{"round": 1, "epoch": 3, "voxels": 60, "points": 900, "labelled_points": 800},
                    **{"miou": miou, "void_queries": 0, "during_training": False},
                    "iou_per_class": dict.fromkeys(CLASSES, miou),
                }
            ],
        }
        for setting, strategy, miou in (
            ("al", "random", 6.0),
            ("al", "vcd", 7.0),
            ("ada", "random", 25.0),
            ("ada", "vcd", ada),
        )
    ]
    return {
        "source_only_miou": 19.0,
        "zero_label_miou": 22.0,
        "target_only_miou": target,
        "wall_seconds": 240.0,
        "classes": CLASSES,
        "runs": runs,
    }


@pytest.fixture
def page(tmp_path):
    def write(ada: float, target: float) -> str:
        write_report(tmp_path / "r.html", summary_of(ada, target), {}, Notes())
        return (tmp_path / "r.html").read_text()

    return write


def test_the_main_setting_leads_and_the_first_card_says_what_to_read(page):
    text = page(27.0, 30.0)
    assert text.index(">ADA<") < text.index(">AL<")
    first = text.index("read this first: mIoU after 60 answers")
    assert first < text.index("Source-only") and "ADA, vcd" in text
    assert "22.0" in text and "+5.0 is what they gave" in text


@pytest.mark.parametrize(("ada", "target"), [(27.0, 19.5), (30.1, 30.0)])
def test_more_than_target_only_comes_with_its_reason(page, ada, target):
    text = page(ada, target)
    assert not [
        int(share) for share in re.findall(r"(\d+) % of target-only", text) if int(share) > 100
    ]
    assert "above target-only (*)" in text and "a reference and no upper bound" in text


def test_below_it_the_share_is_given_and_no_reason_is_needed(page):
    text = page(27.0, 30.0)
    assert "90 % of target-only" in text and "no upper bound" not in text


def test_the_target_only_reference_trains_longer_than_what_it_is_compared_with():
    epochs = {
        setting: load_config(find_config(f"{setting}/streets_demo")).schedule.epochs
        for setting in ("target_only", "al", "asfda", "ada")
    }
    assert epochs["target_only"] > max(epochs["al"], epochs["asfda"], epochs["ada"])
