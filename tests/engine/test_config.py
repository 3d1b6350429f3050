"""Configs: keys, defaults and overrides; mistakes are named."""

from __future__ import annotations

import dataclasses
import inspect
import re
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from annotator3d.engine.config.load import dump_config, find_config, load_config, make_config
from annotator3d.engine.config.schema import RunConfig, ScheduleConfig
from annotator3d.engine.continuation import check_start
from annotator3d.engine.record import RunRecord
from annotator3d.engine.training.optim import learning_rate
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.registry import BACKBONES, lookup

CONFIGS = Path(__file__).parents[2] / "configs"
LEAVES = sorted(p for p in CONFIGS.rglob("*.py") if "_base_" not in p.parts)


def test_defaults_are_the_published_schedule():
    config = RunConfig()
    assert config.active.rounds_at == [0, 3, 6, 9, 12]
    assert (config.active.queries_per_scan, config.schedule.epochs, config.active.voxel_size) == (
        1,
        50,
        0.25,
    )
    assert config.model.voxel_size == 0.05


def test_the_documented_defaults_are_those_of_the_code():
    text = (CONFIGS.parent / "docs/settings.md").read_text()
    keys = text.partition("\n## Config keys")[2]
    checked = []
    for key, cell in re.findall(r"^\| `([a-z_.]+)` \| ([^|]+) \|", keys, re.MULTILINE):
        value = dataclasses.asdict(RunConfig())
        for part in key.split(".") if cell not in ("none", "empty") else ():
            value = value[part]
        if cell not in ("none", "empty"):
            assert value == yaml.safe_load(cell.strip("`")), key
            checked.append(key)
    assert len(checked) > 30 and "active.seconds_per_voxel" in checked


def test_the_documented_keys_of_the_networks_on_images_are_all_of_theirs():
    page = (CONFIGS.parent / "docs/settings.md").read_text()
    section = page.partition("\n## Networks\n")[2].partition("\n## ")[0].partition("Keys of")[2]
    for name, text in zip(("SalsaNext", "PolarNet"), section.split("**PolarNet**"), strict=True):
        documented = {}
        for keys, defaults in re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|]+) \|", text, re.MULTILINE):
            values = yaml.safe_load(f"[{defaults.replace('`', '')}]")
            names = re.findall(r"[a-z_]+", keys)
            values *= len(names) if values == ["measured"] else 1
            documented |= dict(zip(names, values, strict=True))
        parameters = inspect.signature(lookup(BACKBONES, name)).parameters
        own = {
            key: "measured" if each.default is None else each.default
            for key, each in parameters.items()
        }
        own = {key: list(v) if isinstance(v, tuple) else v for key, v in own.items()}
        assert documented == own


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"seting": "al"}, "unknown key 'seting': did you mean 'setting'"),
        ({"active": {"stratgy": "vcd"}}, "unknown key 'active.stratgy': did you mean 'strategy'"),
        ({"setting": "ad"}, "setting: expected al, asfda, ada, .* or target_only, got 'ad'"),
        (
            {"active": {"queries_per_scan": 0}},
            "active.queries_per_scan: expected at least 1, got 0",
        ),
        (
            {"active": {"queries_per_scan": "1"}},
            "active.queries_per_scan: expected an integer, got '1'",
        ),
        ({"active": 3}, "active: expected a table"),
        ({"active": {"rounds_at": [0, 0]}}, "active.rounds_at: expected increasing"),
        ({"active": {"rounds_at": [60]}}, "round 1 is before epoch 60"),
        ({"active": {"first_round": "x"}}, "active.first_round: unknown strategy 'x'"),
        ({"model": {"voxel_size": 0.0}}, "model.voxel_size: expected metres above 0"),
        ({"device": "tpu"}, "device: expected auto, cpu or cuda"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"active": {"strategy": "vdc"}}, "active.strategy: unknown .*did you mean 'vcd'"),
        ({"active": {"oracle": "thruth"}}, "active.oracle: unknown .*did you mean 'truth'"),
        ({"active": {"rounds_at": [0.5]}}, "active.rounds_at: expected an integer, got 0.5"),
        ({"active": {"rounds_at": ["a"]}}, "active.rounds_at: expected an integer, got 'a'"),
        ({"active": {"max_queries": 0}}, "active.max_queries: expected at least 1"),
        ({"active": {"max_range": 0.0}}, "active.max_range: expected metres above 0"),
        (
            {"schedule": {"evaluate_at": [True]}},
            "schedule.evaluate_at: expected an integer, got true",
        ),
        ({"schedule": {"evaluate_at": [0]}}, "schedule.evaluate_at: .* 1 to 50, got 0"),
        ({"schedule": {"evaluate_at": [3, 51]}}, "schedule.evaluate_at: .* 1 to 50, got 51"),
        ({"schedule": {"source_batch_size": 0}}, "schedule.source_batch_size: expected at least"),
        ({"schedule": {"workers": -1}}, "schedule.workers: expected at least 0"),
        ({"schedule": {"source_until": -1}}, "schedule.source_until: expected at least 0"),
        ({"schedule": {"warmup_epochs": -0.5}}, "schedule.warmup_epochs: expected at least 0"),
        (
            {"schedule": {"warmup_epochs": float("nan")}},
            "schedule.warmup_epochs: expected a finite",
        ),
        (
            {"schedule": {"augmentation": {"rotat": False}}},
            "'schedule.augmentation.rotat': did you mean 'rotate'",
        ),
        ({"schedule": {"augmentation": {"seed": 1}}}, "unknown key 'schedule.augmentation.seed'"),
        (
            {"schedule": {"optimizer": {"learning_rate": 0.1}}},
            "schedule.optimizer.learning_rate: SGD takes no such key",
        ),
        ({"model": {"bn": "sourc"}}, "model.bn: expected target or published, got 'sourc'"),
        ({"model": {"target_rule": "x"}}, "model.target_rule: expected any or first, got 'x'"),
        ({"model": {"features": "x"}}, "model.features: expected first or mean, got 'x'"),
        ({"model": {"backbone": {"type": "MinkNet"}}}, "model.backbone.type: .*mean 'MinkUNet'"),
        (
            {"model": {"backbone": {"type": ["MinkUNet"]}}},
            "model.backbone.type: expected the name of a",
        ),
        (
            {"model": {"backbone": {"type": "MinkUNet", "blcks": 1}}},
            "unknown key 'model.backbone.blcks': did you mean 'blocks'",
        ),
        ({"data": {"train": {"type": "SemanticKITI"}}}, "data.train.type: .*'SemanticKITTI'"),
        ({"data": {"val": {"root": "x"}}}, "data.val.type: .*needs the key 'type'"),
        (
            {"data": {"source": {"type": "SimulatedStreets", "beam": 3}}},
            "unknown key 'data.source.beam': did you mean 'beams'",
        ),
        ({1: 2}, "unknown key '1'"),
    ],
)
def test_mistakes_are_named(values, words):
    with pytest.raises(ConfigError, match=words):
        make_config(values)


def test_a_partial_optimizer_or_backbone_keeps_the_other_defaults():
    path = find_config("al/semantickitti_minkunet")
    config = load_config(path, ["schedule.optimizer.lr=0.1"])
    published = {"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
    assert config.schedule.optimizer == published
    assert make_config({"model": {"backbone": {"blocks": 1}}}).model.backbone == {
        "type": "MinkUNet",
        "blocks": 1,
    }
    # Another type takes nothing from the default: AdamW has no momentum.
    adamw = {"type": "AdamW", "lr": 0.02}
    assert make_config({"schedule": {"optimizer": adamw}}).schedule.optimizer == adamw
    assert RunConfig().schedule.optimizer["lr"] == 0.16  # the default itself has not changed


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "+1.e-3", ".1e-2", "1.0e-3", "0.001"])
def test_numbers_with_an_exponent_are_numbers(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(f"name: demo\nmodel: {{lovasz: {text}}}\n")
    setting = f"schedule.optimizer.lr={text}"
    config = load_config(path, [setting, f"schedule.augmentation.scale=[{text}, 1]"])
    assert config.schedule.optimizer["lr"] == config.model.lovasz == 0.001
    assert config.schedule.augmentation["scale"] == [0.001, 1]


def test_quoted_text_that_looks_like_a_number_stays_text(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: demo\n")
    assert load_config(path, ["name='1e3'"]).name == "1e3"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.py", "setting = al"),
        ("c.py", "setting = = 'al'"),
        ("c.py", "setting = 1 / 0"),
        ("c.yaml", "active: [1"),
        ("c.json", "{'a'"),
        ("c.toml", "a = 1"),
        ("c.py", "_base_ = 'none.py'"),
    ],
)
def test_a_file_that_is_no_config_is_named(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"{name}: cannot be read as a config"):
        load_config(path)


def test_a_value_that_is_no_yaml_is_named(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: demo\n")
    with pytest.raises(ConfigError, match="--set active.rounds_at=.1: the value is not YAML"):
        load_config(path, ["active.rounds_at=[1"])


def test_a_tuple_in_a_python_config_is_a_list(tmp_path):
    path = tmp_path / "c.py"
    path.write_text("active = dict(rounds_at=(0, 5))\n")
    assert load_config(path).active.rounds_at == [0, 5]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_the_tested_versions_exist_for_every_python_that_takes_them(python):
    path = CONFIGS.parent / "constraints.txt"
    if not path.exists():
        pytest.skip("constraints.txt is not beside the tests")
    checked = 0
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        try:
            installed = metadata.distribution(pin.name)
        except metadata.PackageNotFoundError:
            continue
        version, needs = installed.version, installed.metadata["Requires-Python"]
        if version in pin.specifier and (not pin.marker or pin.marker.evaluate(_on(python))):
            assert f"{python}.99" in SpecifierSet(needs or ""), f"{line}: needs Python {needs}"
            checked += 1
    if not checked:
        pytest.skip("none of the tested versions is installed here")


def _on(python: str) -> dict[str, str]:
    return {"python_version": python, "python_full_version": f"{python}.99"}


def test_overrides_reach_nested_keys_and_keep_their_type(tmp_path):
    path = tmp_path / "c.py"
    path.write_text("setting = 'ada'\nactive = dict(queries_per_scan=2)\n")
    config = load_config(path, ["active.strategy=margin", "active.rounds_at=[0, 5]", "seed=7"])
    assert (config.setting, config.seed) == ("ada", 7)
    assert (config.active.queries_per_scan, config.active.strategy) == (2, "margin")
    assert config.active.rounds_at == [0, 5]
    with pytest.raises(ConfigError, match="--set seed: expected key=value"):
        load_config(path, ["seed"])


def test_the_old_name_of_a_key_is_read_but_not_written(tmp_path):
    path = tmp_path / "config.yaml"
    text = dump_config(make_config({"active": {"queries_per_scan": 4}}))
    path.write_text(text.replace("queries_per_scan: 4", "budget: 4"))
    config = load_config(path)
    assert config.active.queries_per_scan == 4 and dump_config(config) == text
    assert load_config(path, ["active.budget=5"]).active.queries_per_scan == 5
    path.write_text(text)  # a config with the new name, and a command line with the old one
    assert load_config(path, ["active.budget=5"]).active.queries_per_scan == 5


def test_a_work_directory_with_the_old_name_goes_on(tmp_path):
    config = make_config({"active": {"queries_per_scan": 4}, "model": {"voxel_size": 2}})
    text = dump_config(config).replace("queries_per_scan: 4", "budget: 4")
    (tmp_path / "config.yaml").write_text(text.replace("voxel_size: 2.0", "voxel_size: 2"))
    (tmp_path / "run.json").write_text('{"state": "done"}')
    record = RunRecord(WorkDir(tmp_path), config, [])
    check_start(WorkDir(tmp_path), config, resume=True)
    assert record.is_done()
    config.active.queries_per_scan = 3
    assert not record.is_done()
    with pytest.raises(ValueError, match="active.queries_per_scan"):
        check_start(WorkDir(tmp_path), config, resume=True, may_grow=False)
    (tmp_path / "config.yaml").write_text("active: {budget: many}")
    assert not record.is_done()


def test_a_key_under_both_of_its_names_is_refused(tmp_path):
    both = {"active": {"budget": 1, "queries_per_scan": 1}}
    words = "active.budget is the old name of active.queries_per_scan: give only one"
    with pytest.raises(ConfigError, match=words):
        make_config(both)
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(both))
    with pytest.raises(ConfigError, match=words):
        load_config(path)


def test_the_effective_config_reads_back_as_itself(tmp_path):
    config = load_config(LEAVES[0])
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config


def test_a_config_is_found_by_its_name_and_a_near_miss_is_suggested():
    assert find_config("ada/streets_demo").parts[-2:] == ("ada", "streets_demo.py")
    with pytest.raises(ConfigError, match="did you mean 'ada/streets_demo'"):
        find_config("ada/street_demo")


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        ({"type": "AdmW", "lr": 0.1}, "optimizer.type: unknown 'AdmW': did you mean 'AdamW'"),
        ({"type": ["SGD"]}, "optimizer.type: unknown"),
        ({"learning_rate": 0.1}, "optimizer.learning_rate: SGD takes no such key"),
        ({"params": 1}, "optimizer.params: SGD takes no such key"),
        ({"lr": float("nan")}, "schedule.optimizer.lr: expected a finite number, got nan"),
        ({"type": "AdamW", "betas": [0.9, float("inf")]}, "optimizer.betas: expected a finite"),
    ],
)
def test_mistakes_in_the_optimizer_are_named(optimizer, words):
    with pytest.raises(ConfigError, match=words):
        make_config({"schedule": {"optimizer": optimizer}})


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
