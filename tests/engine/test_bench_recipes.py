"""The benchmark of training recipes runs on tiny sizes, and what it times is a step."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from annotator3d.engine.config.schema import TrainingConfig
from annotator3d.registry import MIXES, fill

TOOLS = Path(__file__).parents[2] / "tools"
if not TOOLS.is_dir():
    pytest.skip("the tools are not beside the tests", allow_module_level=True)
sys.path.insert(0, str(TOOLS))
import bench_recipes  # noqa: E402

SMALL = [
    *("model.backbone.planes=[4,4,8,8,4]", "model.voxel_size=2.0", "schedule.batch_size=1"),
    *(f"data.{part}.{key}" for part in ("train", "source") for key in ("scans=3", "sequences=1")),
    *(f"data.{part}.{key}" for part in ("train", "source") for key in ("beams=8", "azimuths=40")),
]


def test_the_tool_times_recipes_beside_plain_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ANNOTATOR3D_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "figures.json"
    sets = [f"--set={setting}" for setting in SMALL]
    report = bench_recipes.main(
        ["--rounds=1", "--epochs=1", "--recipe=lasermix", f"--json={path}", *sets]
    )
    assert json.loads(path.read_text()) == report and list(report) == ["plain", "lasermix"]
    assert report["plain"]["ratio"] == 1 and report["lasermix"]["ratio"] > 0
    assert "lasermix" in capsys.readouterr().out


def test_the_first_step_of_an_epoch_is_not_timed():
    times = iter([10.0, 11.0, 13.0, 50.0, 51.5])
    watch = bench_recipes.Stopwatch(steps_per_epoch=3, clock=lambda: next(times))
    watch.progress("selecting", 1, 9)
    for done in range(1, 6):
        watch.progress("training", done, 6)
    assert watch.seconds == [1.0, 2.0, 1.5]


def test_every_mixing_recipe_is_timed():
    fill(MIXES)
    mixes = [keys.get("training.mix") for keys in bench_recipes.RECIPES.values()]
    assert {m if isinstance(m, str) else m["type"] for m in mixes if m} == set(MIXES.module_dict)
    keys = {key.split(".")[1] for recipe in bench_recipes.RECIPES.values() for key in recipe}
    assert keys <= set(TrainingConfig.__dataclass_fields__)
