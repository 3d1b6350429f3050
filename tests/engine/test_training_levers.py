"""The levers of ``training``: what each adds to a run, through its config."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
import torch
from stopped_runs import stopped_after
from tiny_runs import tiny_config

from annotator3d.data.batch import InputRule, TrainingScans
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.scan import VoxelLabels
from annotator3d.engine.run import train
from annotator3d.engine.training import logs
from annotator3d.engine.training.loading import RequestSampler
from annotator3d.engine.training.runner import TrainLoop
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger


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


def scans_of(monkeypatch):
    """(epoch, ids) of each step that is taken from here on."""
    taken, kept = TrainLoop.run_iter, []

    def telling(self, index, data):
        kept.append((self.epoch, data["batch"]["ids"], data["batch"]["features"]))
        taken(self, index, data)

    monkeypatch.setattr(TrainLoop, "run_iter", telling)
    return kept


def test_scans_with_rare_classes_are_drawn_more_often_each_time_augmented_anew(
    root, tmp_path, monkeypatch
):
    """One scan of six is answered as a class that the others do not have."""
    rare, kept = "01/000000", scans_of(monkeypatch)
    monkeypatch.setattr(Ledger, "labels_by_scan", labels_with_one_rare(rare))
    config = tiny_config(
        root,
        schedule={"epochs": 12, "batch_size": 1},
        active={"rounds_at": [0]},
        training={"balance": {"scans": 1.0}},
    )
    train(config, tmp_path / "run")
    drawn = Counter(ids[0] for _, ids, _ in kept)
    # It weighs 5, since its class is in one scan and the other class in five: half of an epoch.
    assert sum(drawn.values()) == 6 * 12 and drawn[rare] == 3 * 12
    assert len(drawn) == 6
    first, second, third = (f for epoch, ids, f in kept if epoch == 0 and ids == [rare])
    assert not torch.equal(first, second) and not torch.equal(second, third)


def labels_with_one_rare(rare):
    given = Ledger.labels_by_scan

    def labels(self, **keywords):
        found = given(self, **keywords)
        return {
            scan: [v._replace(labels=np.full_like(v.labels, 1 + (scan == rare))) for v in voxels]
            for scan, voxels in found.items()
        }

    return labels


@pytest.mark.parametrize("processes", [1, 2])
def test_each_process_draws_its_share_of_the_same_epoch(root, processes):
    dataset = SemanticKITTI(str(root), ["00", "01"])
    answers = {dataset.ids[0]: [VoxelLabels((0, 0, 0), np.array([3], np.uint8), 1)]}
    scans = TrainingScans(dataset, InputRule(19), 0, answers=answers, balance=1.0)
    sampler = RequestSampler(scans, 5)
    sampler.set_epoch(2)
    whole = [(request.index, request.repeat) for request in sampler]
    parts = []
    for rank in range(processes):
        sampler.rank, sampler.world_size = rank, processes
        parts.append([(request.index, request.repeat) for request in sampler])
    assert [parts[k % processes][k // processes] for k in range(len(whole))] == whole
    sampler.skipped = 1
    assert [(r.index, r.repeat) for r in sampler] == parts[-1][1:]


def test_a_balanced_run_that_is_stopped_ends_as_the_unbroken_one(root, tmp_path, monkeypatch):
    config = tiny_config(
        root,
        schedule={"batch_size": 1},
        training={"balance": {"scans": 1.0, "classes": 0.5}, "mix": "lasermix"},
    )
    train(config, tmp_path / "whole")
    with stopped_after(4):
        train(config, tmp_path / "broken")
    train(config, tmp_path / "broken", resume=True)
    whole, broken = (
        torch.load(tmp_path / name / "checkpoints" / "epoch_4.pth", weights_only=True)["state_dict"]
        for name in ("whole", "broken")
    )
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_class_weights_are_those_of_the_answers_so_far(root, tmp_path, monkeypatch):
    seen, taken = [], TrainLoop.run_iter

    def telling(self, index, data):
        seen.append((self.epoch, self.runner.network.class_weights))
        taken(self, index, data)

    monkeypatch.setattr(TrainLoop, "run_iter", telling)
    config = tiny_config(root, training={"balance": {"classes": 0.5}}, active={"rounds_at": [1, 2]})
    train(config, tmp_path / "run")
    assert {epoch for epoch, weights in seen if weights is None} == {0}
    with Ledger.read(tmp_path / "run" / "ledger.sqlite") as ledger:
        for rounds, epoch in ((1, 1), (2, 2), (2, 3)):
            labels = ledger.labels_by_scan(up_to_round=rounds)
            points = Counter(c for voxels in labels.values() for v in voxels for c in v.labels)
            expected = [
                min(10, (max(n for k, n in points.items() if k != 255) / points[c]) ** 0.5)
                if points[c]
                else 1
                for c in range(19)
            ]
            [weights] = {tuple(w.tolist()) for e, w in seen if e == epoch}
            assert weights == pytest.approx(expected)


def test_online_selection_needs_each_scan_once(root):
    with pytest.raises(ConfigError, match="training.balance.scans: online selection asks about"):
        tiny_config(root, active={"when": "online"}, training={"balance": {"scans": 0.5}})
    tiny_config(root, active={"when": "online"}, training={"balance": {"classes": 0.5}})
