"""What a run writes down while it trains."""

from __future__ import annotations

import csv
import json

import pytest
from tiny_runs import tiny_config

from annotator3d.engine.run import train
from annotator3d.engine.training import logs
from annotator3d.engine.training.runner import TrainLoop
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=200)


def lines_of(work_dir):
    with open(WorkDir(work_dir).logs / logs.FILE, newline="") as file:
        return list(csv.DictReader(file))


def test_each_line_says_what_was_spent_until_then(root, tmp_path):
    train(tiny_config(root, active={"queries_per_scan": 2}), tmp_path / "al")
    trained = [line for line in lines_of(tmp_path / "al") if line["loss"]]
    assert [line["step"] for line in trained] == ["2", "4", "6", "8"]
    assert [float(line["round"]) for line in trained] == [1, 2, 3, 3]
    assert [float(line["voxels"]) for line in trained] == [8, 16, 24, 24]
    metrics = [json.loads(t) for t in (tmp_path / "al" / "metrics.jsonl").read_text().splitlines()]
    last, points = metrics[-1], 4 * 200
    assert float(trained[-1]["points"]) == last["points"]
    assert float(trained[-1]["labelled_percent"]) == 100 * last["labelled_points"] / points
    for line in trained:
        assert float(line["scans_per_second"]) > 0 and float(line["memory"]) > 50
    assert float([line for line in lines_of(tmp_path / "al") if line["val/miou"]][-1]["val/miou"])
    scalars = tmp_path / "al" / "logs" / "vis_data" / "scalars.json"
    assert {"loss", "round", "voxels"} <= json.loads(scalars.read_text().splitlines()[0]).keys()


def test_steps_that_are_taken_again_replace_their_lines(root, tmp_path, monkeypatch):
    config = tiny_config(root)
    train(config, tmp_path / "whole")
    taken = TrainLoop.run_iter

    def failing(self, index, data):
        taken(self, index, data)
        if self.iter == 6:  # epoch 3 was trained, and logged, but not saved
            raise RuntimeError("the power is gone")

    monkeypatch.setattr(TrainLoop, "run_iter", failing)
    with pytest.raises(RuntimeError, match="power"):
        train(config, tmp_path / "al")
    monkeypatch.undo()
    train(config, tmp_path / "al", resume=True)
    got, expected = lines_of(tmp_path / "al"), lines_of(tmp_path / "whole")
    assert len(got) == len(expected)
    for name in ("step", "lr", "voxels", "val/miou"):  # not the loss: a mean of fewer steps
        assert [line[name] for line in got] == [line[name] for line in expected]


def test_a_column_that_comes_later_leaves_the_lines_before_it_empty(tmp_path):
    backend = logs.CsvVisBackend(str(tmp_path))
    backend.add_scalars({"loss": 2.5}, step=1)
    backend.add_scalars({"loss": 2.0, "source_loss": 7}, step=2)
    assert (tmp_path / "scalars.csv").read_text() == "step,loss,source_loss\n1,2.5,\n2,2.0,7\n"


def test_tensorboard_is_named_with_its_extra_where_it_is_missing(root, tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "find_spec", lambda name: None)
    config = tiny_config(root, logs=["tensorboard"])
    with pytest.raises(ConfigError, match=r"pip install 'annotator3d\[logs\]'"):
        train(config, tmp_path / "al")
    assert not (tmp_path / "al").exists()
    with pytest.raises(ConfigError, match="logs: expected json, csv or tensorboard, got 'wandb'"):
        tiny_config(root, logs=["wandb"])


def test_tensorboard_gets_the_same_curves(root, tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(tiny_config(root, logs=["tensorboard"]), tmp_path / "al")
    events = reading.EventAccumulator(str(tmp_path / "al" / "logs" / "vis_data"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [2, 4, 6, 8]
    assert [event.value for event in events.Scalars("voxels")] == [4, 8, 12, 12]
