"""The levers of ``training``: what each adds to a run, through its config."""

from __future__ import annotations

import csv

import pytest
from tiny_runs import tiny_config

from annotator3d.engine.run import train
from annotator3d.engine.training import logs
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError


@pytest.fixture
def root(make_kitti):
    return make_kitti({"00": 2, "01": 1, "02": 1, "03": 2}, points=60)


def losses(work_dir):
    """The parts of the loss in the last line that has any."""
    with (WorkDir(work_dir).logs / logs.FILE).open() as file:
        lines = [line for line in csv.DictReader(file) if line["loss"]]
    return {name: float(value) for name, value in lines[-1].items() if value}


def test_negative_learning_is_a_part_of_the_loss_of_the_target(root, tmp_path):
    schedule = {"epochs": 1, "optimizer": {"type": "SGD", "lr": 1e-9}}
    found = {}
    for weight in (0.0, 1.0, 3.0):
        config = tiny_config(
            root,
            schedule=schedule,
            active={"rounds_at": [0]},
            training={"negative": weight, "negative_threshold": 0.5},
        )
        train(config, tmp_path / str(weight))
        found[weight] = losses(tmp_path / str(weight))
    assert "loss_negative" not in found[0.0]
    assert found[1.0]["loss_negative"] > 0
    assert found[3.0]["loss_negative"] == pytest.approx(3 * found[1.0]["loss_negative"], rel=1e-4)
    assert found[1.0]["loss_ce"] == found[0.0]["loss_ce"]


@pytest.mark.parametrize("setting", ["source_only", "target_only"])
def test_levers_are_refused_where_all_labels_are_trained_on(root, setting):
    with pytest.raises(ConfigError, match=f"training.negative: setting {setting} trains on all"):
        tiny_config(root, setting, training={"negative": 1.0})
