"""Runs whose training scans are mixed: every recipe, setting and kind of network."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from stopped_runs import stopped_after, train_source
from test_image_backbones import BACKBONES
from tiny_runs import BACKBONE, tiny_config

from annotator3d.engine.config.load import make_config
from annotator3d.engine.run import train
from annotator3d.engine.training import logs
from annotator3d.engine.training.runner import TrainLoop
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.models.segmentor import Segmentor
from annotator3d.registry import MIXES, fill

fill(MIXES)
RECIPES = {name: {"type": name} for name in sorted(MIXES.module_dict)}
RECIPES["balanced, labelled points only"] = {"type": "balanced", "unlabelled": False}


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)


@pytest.fixture
def source(root, tmp_path):
    return train_source(root, tmp_path)


@pytest.fixture
def batches(monkeypatch):
    """What each step was given, as (epoch, batches)."""
    taken, kept = TrainLoop.run_iter, []

    def telling(self, index, data):
        kept.append((self.epoch, data))
        taken(self, index, data)

    monkeypatch.setattr(TrainLoop, "run_iter", telling)
    return kept


def weights(work_dir, epochs=4):
    path = work_dir / "checkpoints" / f"epoch_{epochs}.pth"
    return torch.load(path, weights_only=True)["state_dict"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains_in_ada_on_both_domains(root, tmp_path, source, batches, recipe):
    config = tiny_config(root, "ada", init=source, training={"mix": RECIPES[recipe]})
    train(config, tmp_path / "run")
    assert {epoch for epoch, data in batches if "of_source" in data["batch"]} == {0, 1, 2}
    keeps = RECIPES[recipe]["type"] != "balanced"
    assert {epoch for epoch, data in batches if "source" in data} == ({0, 1, 2} if keeps else set())
    for epoch, data in batches:
        for name, batch in data.items():
            if epoch < 3:
                assert len(batch["of_source"]) == len(batch["cells"]), name
                assert (batch["target"][batch["of_source"]] != 255).any()
    assert any(data["batch"]["of_source"].any() for epoch, data in batches if epoch < 3)
    with (WorkDir(tmp_path / "run").logs / logs.FILE).open() as file:
        lines = [line for line in csv.DictReader(file) if line["loss"]]
    assert float(lines[0]["source_loss_ce"]) > 0 and float(lines[0]["loss_ce"]) > 0


@pytest.mark.parametrize("setting", ["al", "asfda"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_mixes_scans_of_the_target(root, tmp_path, source, batches, recipe, setting):
    init = source if setting == "asfda" else None
    config = tiny_config(
        root, setting, init=init, training={"mix": RECIPES[recipe]}, schedule={"epochs": 3}
    )
    train(config, tmp_path / "run")
    plain = tiny_config(root, setting, init=init, schedule={"epochs": 3})
    train(plain, tmp_path / "plain")
    assert all("of_source" not in data["batch"] for _, data in batches)
    assert not same(weights(tmp_path / "run", 3), weights(tmp_path / "plain", 3))


@pytest.mark.parametrize("network", BACKBONES)
@pytest.mark.parametrize("recipe", sorted(MIXES.module_dict))
def test_range_images_and_polar_grids_read_mixed_scans(root, tmp_path, network, recipe):
    model = {"backbone": BACKBONES[network], "voxel_size": 0.05, "features": "first"}
    config = tiny_config(
        root,
        model=model,
        schedule={"epochs": 2},
        active={"rounds_at": [0, 1]},
        training={"mix": recipe},
    )
    train(config, tmp_path / "run")
    assert all(value.isfinite().all() for value in weights(tmp_path / "run", 2).values())


def test_a_range_image_of_labelled_points_alone_is_refused(root):
    with pytest.raises(ConfigError, match="SalsaNext sees a whole scan.*unlabelled=true"):
        tiny_config(
            root,
            model={"backbone": BACKBONES["SalsaNext"], "voxel_size": 0.05, "features": "first"},
            training={"mix": RECIPES["balanced, labelled points only"]},
        )


@pytest.mark.parametrize("setting", ["al", "ada"])
def test_a_teacher_reads_the_mix_and_knows_what_is_answered(
    root, tmp_path, source, batches, setting
):
    training = {"mix": "lasermix", "teacher": {"pseudo_labels": 1.0}, "negative": 0.5}
    init = source if setting == "ada" else None
    train(tiny_config(root, setting, init=init, training=training), tmp_path / "run")
    for epoch, data in batches:
        batch = data["batch"]
        assert len(batch["answered"]) == len(batch["cells"])
        assert batch["answered"][batch["target"] != 255].all()
        assert torch.equal(batch["raw"]["num_points"], batch["num_points"])
        if setting == "ada" and epoch < 3:
            assert batch["answered"][batch["of_source"]].all()


@pytest.mark.parametrize("setting", ["al", "ada"])
def test_processes_that_read_scans_change_nothing(root, tmp_path, source, setting):
    found = []
    for workers in (0, 2):
        config = tiny_config(
            root,
            setting,
            init=source if setting == "ada" else None,
            schedule={"workers": workers},
            training={"mix": "polarmix"},
        )
        train(config, tmp_path / str(workers))
        found.append(weights(tmp_path / str(workers)))
    assert same(*found)


@pytest.mark.parametrize("setting", ["al", "ada"])
@pytest.mark.parametrize("step", [3, 4, 5])
def test_a_run_that_is_stopped_at_any_step_ends_as_the_unbroken_one(
    root, tmp_path, source, monkeypatch, setting, step
):
    config = tiny_config(
        root,
        setting,
        init=source if setting == "ada" else None,
        schedule={"batch_size": 1},
        training={"mix": "lasermix"},
    )
    train(config, tmp_path / "whole")
    with stopped_after(step):
        train(config, tmp_path / "broken")
    train(config, tmp_path / "broken", resume=True)
    assert same(weights(tmp_path / "broken"), weights(tmp_path / "whole"))


def test_scans_that_are_never_mixed_train_as_without(root, tmp_path):
    found = []
    for name, training in (("plain", {}), ("mix", {"mix": {"type": "paste", "probability": 0}})):
        train(tiny_config(root, training=training), tmp_path / name)
        found.append(weights(tmp_path / name))
    assert same(*found)


def test_the_loss_of_each_domain_is_the_mean_over_its_own_rows():
    """By hand: rows of two mixed batches, sorted by domain, through the plain loss."""
    torch.manual_seed(0)
    model = Segmentor(BACKBONE, 3, lovasz=0.5, negative=1.0, negative_threshold=0.4).eval()
    mixed = [batch_of(rows, seed) for seed, rows in enumerate((40, 30))]
    found = model(mixed[0], mixed[1], mode="loss")
    outputs = torch.cat([model(batch) for batch in mixed])
    target = torch.cat([batch["target"] for batch in mixed])
    of_source = torch.cat([batch["of_source"] for batch in mixed])
    for domain, prefix in ((False, ""), (True, "source_")):
        rows = (of_source == domain) & (target != 255)
        expected = torch.nn.functional.cross_entropy(
            outputs[rows], target[rows], label_smoothing=0.1
        )
        assert found[f"{prefix}loss_ce"].item() == pytest.approx(expected.item(), rel=1e-5)
    unlabelled = outputs[~of_source & (target == 255)].softmax(1)
    expected = -torch.log1p(-unlikely(unlabelled)).mean()
    assert found["loss_negative"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert "source_loss_negative" not in found


def unlikely(probabilities):
    return probabilities[probabilities < 0.4]


def batch_of(rows, seed):
    random = np.random.default_rng(seed)
    cells = np.unique(random.integers(-4, 4, (rows, 3)), axis=0).astype(np.int32)
    count = len(cells)
    return {
        "cells": torch.from_numpy(cells),
        "features": torch.from_numpy(random.normal(size=(count, 4)).astype(np.float32)),
        "splits": torch.tensor([0, count]),
        "target": torch.from_numpy(random.choice([0, 1, 2, 255], count)),
        "of_source": torch.from_numpy(random.random(count) < 0.5),
    }


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"mix": "lasermx"}, "training.mix: unknown mix 'lasermx': did you mean 'lasermix'"),
        ({"mix": {"type": "paste", "patchs": 3}}, "unknown key 'training.mix.patchs': did you"),
        ({"mix": {"type": "paste", "patches": "3"}}, "training.mix.patches: expected an integer"),
        ({"mix": {"type": "paste", "patches": 0}}, "training.mix.patches: expected a number from"),
        ({"mix": {"type": "lasermix", "bands": [2.5]}}, "training.mix.bands: expected an integer"),
        ({"mix": 3}, "training.mix: expected a name, or a table of keys"),
    ],
)
def test_what_is_no_recipe_is_refused(root, training, words):
    with pytest.raises(ConfigError, match=words):
        tiny_config(root, training=training)


def test_a_class_that_is_unknown_is_refused_before_anything_is_written(root, tmp_path):
    config = tiny_config(root, training={"mix": {"type": "polarmix", "classes": ["cart"]}})
    with pytest.raises(ConfigError, match="training.mix.classes: no class 'cart': did you mean"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_online_selection_and_full_labels_do_not_go_with_mixing(root):
    with pytest.raises(ConfigError, match="training.mix: online selection asks about the scans"):
        tiny_config(root, active={"when": "online"}, training={"mix": "lasermix"})
    with pytest.raises(ConfigError, match="training.mix: setting target_only trains on all"):
        make_config({"setting": "target_only", "training": {"mix": "lasermix"}})
