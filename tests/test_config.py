"""Configs: every one that comes with the package is valid; mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotator3d.engine.build import build_model, learning_rate, optimiser
from annotator3d.engine.config import (
    ConfigError,
    RunConfig,
    ScheduleConfig,
    dump_config,
    find_config,
    load_config,
    make_config,
)

CONFIGS = Path(__file__).parents[1] / "configs"
LEAVES = sorted(p for p in CONFIGS.rglob("*.py") if "_base_" not in p.parts)


@pytest.mark.parametrize("path", LEAVES, ids=lambda p: str(p.relative_to(CONFIGS)))
def test_every_config_loads_and_builds_its_network(path):
    config = load_config(path)
    assert config.setting == path.parent.name
    assert sum(p.numel() for p in build_model(config, 19).parameters()) > 0
    assert optimiser(config.schedule)["optimizer"]["lr"] > 0
    assert len(path.read_text().splitlines()) <= 20


def test_defaults_are_the_published_schedule():
    config = RunConfig()
    assert config.active.rounds_at == [0, 3, 6, 9, 12]
    assert (config.active.budget, config.schedule.epochs, config.active.voxel_size) == (1, 50, 0.25)
    assert config.model.voxel_size == 0.05


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"seting": "al"}, "unknown key 'seting': did you mean 'setting'"),
        ({"active": {"stratgy": "vcd"}}, "unknown key 'active.stratgy': did you mean 'strategy'"),
        ({"setting": "ad"}, "unknown setting 'ad'"),
        ({"active": {"budget": 0}}, "active.budget: expected at least 1, got 0"),
        ({"active": {"budget": "1"}}, "active.budget: expected int, got '1'"),
        ({"active": 3}, "active: expected a table"),
        ({"active": {"rounds_at": [0, 0]}}, "active.rounds_at: expected increasing"),
        ({"active": {"rounds_at": [60]}}, "round 1 is before epoch 60"),
        ({"active": {"first_round": "x"}}, "active.first_round: expected random or self"),
        ({"model": {"voxel_size": 0.0}}, "model.voxel_size: expected metres above 0"),
        ({"device": "tpu"}, "device: expected auto, cpu or cuda"),
    ],
)
def test_mistakes_are_named(values, words):
    with pytest.raises(ConfigError, match=words):
        make_config(values)


def test_overrides_reach_nested_keys_and_keep_their_type(tmp_path):
    path = tmp_path / "c.py"
    path.write_text("setting = 'ada'\nactive = dict(budget=2)\n")
    config = load_config(path, ["active.strategy=margin", "active.rounds_at=[0, 5]", "seed=7"])
    assert (config.setting, config.seed) == ("ada", 7)
    assert (config.active.budget, config.active.strategy) == (2, "margin")
    assert config.active.rounds_at == [0, 5]
    with pytest.raises(ConfigError, match="--set seed: expected key=value"):
        load_config(path, ["seed"])


def test_the_effective_config_reads_back_as_itself(tmp_path):
    config = load_config(LEAVES[0])
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config


def test_a_config_is_found_by_its_name_and_a_near_miss_is_suggested():
    assert find_config("ada/streets_demo").parts[-2:] == ("ada", "streets_demo.py")
    with pytest.raises(ConfigError, match="did you mean 'ada/streets_demo'"):
        find_config("ada/street_demo")


def test_mistakes_in_the_optimizer_are_named():
    with pytest.raises(ValueError, match="unknown 'AdmW': did you mean 'AdamW'"):
        optimiser(ScheduleConfig(optimizer={"type": "AdmW", "lr": 0.1}))
    with pytest.raises(ValueError, match="SGD takes no such key"):
        optimiser(ScheduleConfig(optimizer={"type": "SGD", "learning_rate": 0.1}))


def test_the_learning_rate_warms_up_then_falls_by_iteration():
    import torch
    from mmengine.optim.scheduler import CosineAnnealingLR, LinearLR

    schedule = ScheduleConfig(epochs=5, warmup_epochs=1, min_factor=0.01)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    kinds = {"LinearLR": LinearLR, "CosineAnnealingLR": CosineAnnealingLR}
    phases = []
    for phase in learning_rate(schedule, 10):
        keywords = {k: v for k, v in phase.items() if k != "type"}
        phases.append(kinds[phase["type"]](optimizer, **keywords))
    rates = []
    for _ in range(50):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for phase in phases:
            phase.step()
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0, abs=0.1) and rates.index(max(rates)) in range(8, 13)
    assert all(a >= b for a, b in zip(rates[12:], rates[13:], strict=False))
    assert rates[-1] < 0.05
