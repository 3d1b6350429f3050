"""The configs that come with the package: each builds, those of the benchmark run; variants."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from benchmark_layouts import (
    write_nuscenes,
    write_semantickitti,
    write_semanticposs,
    write_synlidar,
)

from annotator3d.data.datasets.nuscenes_tables import scenes_of
from annotator3d.engine.build import build_model
from annotator3d.engine.config.load import dump_config, find_config, load_config
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.datasets import open_datasets
from annotator3d.engine.run import train
from annotator3d.engine.training.optim import learning_rate, optimiser
from annotator3d.errors import ConfigError
from annotator3d.reporter import Reporter

CONFIGS = Path(__file__).parents[2] / "configs"
LEAVES = sorted(p for p in CONFIGS.rglob("*.py") if "_base_" not in p.parts)
SETTINGS = ("source_only", "target_only", "al", "asfda", "ada")
TASKS = {
    "synlidar_semantickitti": ("synlidar", "semantickitti", 19),
    "synlidar_semanticposs": ("synlidar", "semanticposs", 13),
    "semantickitti_nuscenes": ("semantickitti", "nuscenes", 7),
    "nuscenes_semantickitti": ("nuscenes", "semantickitti", 7),
}
NETWORKS = {"minkunet": "MinkUNet", "spvcnn": "SPVCNN"}
IMAGES = {"salsanext": "SalsaNext", "polarnet": "PolarNet"}
# The paper's table of other networks: SemanticPOSS alone, 10 voxels a scan.
TENS = [f"{s}/synlidar_semanticposs_{net}" for s in SETTINGS for net in IMAGES]
BENCHMARK = [f"{s}/{task}_{net}" for s in SETTINGS for task in TASKS for net in NETWORKS]
ACTIVE = ("al", "asfda", "ada")


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    """The four datasets, small, each in its own layout."""
    folder = tmp_path_factory.mktemp("benchmark")
    names = [*scenes_of("val"), *scenes_of("train")]
    return {
        "semantickitti": write_semantickitti(folder / "semantickitti"),
        "semanticposs": write_semanticposs(folder / "semanticposs"),
        "synlidar": write_synlidar(folder / "synlidar"),
        "nuscenes": write_nuscenes(folder / "nuscenes", names, recorded=152),
    }


def small(name: str, roots: dict[str, Path]) -> list[str]:
    """Settings that make a config of the benchmark run on the fixtures in a moment."""
    source, target, _ = TASKS[name.split("/")[1].rpartition("_")[0]]
    settings = [
        f"data.source.root={roots[source]}",
        f"data.train.root={roots[target]}",
        f"data.val.root={roots[target]}",
        "device=cpu",
        "model.voxel_size=4.0",
        "model.backbone.planes=[4, 4, 8, 8, 4]",
        "model.backbone.blocks=1",
        "schedule.epochs=1",
        "active.rounds_at=[0]",
        "active.voxel_size=8.0",
    ]
    for key, dataset in (("source", source), ("train", target), ("val", target)):
        settings.append(f"data.{key}.scans={two_scans(dataset, key)}")
    return settings


def two_scans(dataset: str, key: str) -> list[str]:
    if dataset == "nuscenes":
        scenes = scenes_of("val" if key == "val" else "train")
        return [f"{scene}/1500000000000000" for scene in scenes[:2]]
    if key == "val":
        return [{"semantickitti": "08/000000", "semanticposs": "03/000000"}[dataset]]
    return ["00/000000", "01/000000"]


@cache
def parameters(backbone: str, ignored_output: bool) -> int:
    config = load_config(CONFIGS / "al/streets_demo.py")
    config.model.backbone, config.model.ignored_output = yaml.safe_load(backbone), ignored_output
    with torch.device("meta"):  # as built, without the time to draw 20 million weights
        return sum(p.numel() for p in build_model(config, 19).parameters())


@cache
def loaded(path: Path) -> RunConfig:
    return load_config(path)


@pytest.mark.parametrize("path", LEAVES, ids=lambda p: str(p.relative_to(CONFIGS)))
def test_every_config_is_short_and_builds_its_network_and_schedule(path):
    config = loaded(path)
    assert config.setting == path.parent.name
    assert len(path.read_text().splitlines()) <= 20
    size = parameters(yaml.safe_dump(config.model.backbone), config.model.ignored_output)
    published = {"MinkUNet": 21.7e6, "SPVCNN": 21.8e6, "SalsaNext": 6.7e6, "PolarNet": 13.5e6}
    if not ({"planes"} & config.model.backbone.keys()):
        assert size == pytest.approx(published[config.model.backbone["type"]], rel=0.005)
    assert optimiser(config.schedule)["optimizer"]["lr"] > 0
    assert learning_rate(config.schedule, 10)


def test_every_task_setting_and_network_of_the_paper_has_its_config():
    assert {f"{p.parent.name}/{p.stem}" for p in LEAVES} >= set(BENCHMARK) and len(BENCHMARK) == 40
    for name in BENCHMARK:
        setting, _, rest = name.partition("/")
        config, net = loaded(find_config(name)), rest.rpartition("_")[2]
        assert config.model.backbone == {"type": NETWORKS[net]}
        assert config.schedule.epochs == (10 if setting.endswith("_only") else 50)
        # The published rate: 0.01 for each scan of the target in a batch.
        batch = 8 if setting == "ada" else 16
        assert config.schedule.batch_size == batch
        assert config.schedule.optimizer["lr"] == pytest.approx(0.01 * batch)
        assert config.active.strategy == "vcd" and config.active.rounds_at == [0, 3, 6, 9, 12]


def test_the_other_networks_ask_about_ten_voxels_of_a_scan():
    for name in TENS:
        config, net = loaded(find_config(name)), name.rpartition("_")[2]
        assert config.model.backbone["type"] == IMAGES[net]
        voxels = config.active.queries_per_scan * len(config.active.rounds_at)
        assert voxels == (10 if config.is_active else 5)
        assert config.schedule.epochs == (50 if config.is_active else 10)


@pytest.mark.parametrize("name", TENS)
def test_every_config_of_the_other_networks_trains_and_evaluates(name, roots, tmp_path):
    setting, net = name.split("/")[0], name.rpartition("_")[2]
    drop = ("model.voxel_size", "model.backbone")
    settings = [s for s in small(name, roots) if not s.startswith(drop)]
    settings += (
        ["model.backbone.planes=[4, 4, 4]", "model.backbone.width=64"]
        if net == "salsanext"
        else ["model.backbone.grid=[16, 16, 4]", "model.backbone.planes=[4, 4, 4]"]
    )
    if setting in ("asfda", "ada"):
        settings.append(f"init={source_checkpoint(name, settings, tmp_path)}")
    record = train(load_config(find_config(name), settings), tmp_path / "run")
    assert 0 <= record.final()["miou"] <= 100
    assert record.final()["voxels"] == (4 if setting in ACTIVE else 0)


@pytest.mark.parametrize("task", TASKS)
def test_datasets_of_each_task_have_its_split_and_classes(task, roots):
    source, target, classes = TASKS[task]
    settings = [f"data.source.root={roots[source]}"]
    config = load_config(find_config(f"ada/{task}_minkunet"), settings)
    opened = open_datasets(config, str(roots[target]), Reporter())
    assert opened.taxonomy.num_classes == classes
    assert not set(opened.pool.ids) & set(opened.val.ids)
    sizes = {"semantickitti": (10, 1), "semanticposs": (5, 1), "nuscenes": (2, 150)}
    assert (len(opened.pool), len(opened.val)) == sizes[target]
    assert len(opened.source) == {"synlidar": 13, "semantickitti": 10, "nuscenes": 2}[source]
    for dataset in (opened.pool, opened.val, opened.source):
        found = set(dataset.read(0).labels.tolist())
        assert found == {*range(classes), 255}


@pytest.mark.parametrize("name", BENCHMARK)
def test_every_config_of_the_benchmark_trains_and_evaluates(name, roots, tmp_path):
    setting, settings = name.split("/")[0], small(name, roots)
    if setting in ("asfda", "ada"):
        settings.append(f"init={source_checkpoint(name, settings, tmp_path)}")
    record = train(load_config(find_config(name), settings), tmp_path / "run")
    assert 0 <= record.final()["miou"] <= 100
    assert record.final()["voxels"] == (2 if setting in ("al", "asfda", "ada") else 0)


def test_a_drawn_split_is_kept_with_the_run_and_read_back(roots, tmp_path):
    name = "source_only/synlidar_semanticposs_minkunet"
    settings = [s for s in small(name, roots) if "source.scans" not in s]
    settings += ["data.source.split_seed=5", "data.source.stride=1", "schedule.batch_size=13"]
    train(load_config(find_config(name), settings), tmp_path / "run")
    first, *ids = (tmp_path / "run/source_scans.txt").read_text().splitlines()
    assert first.startswith("# SynLiDAR split=train split_seed=5 val_share=0.1")
    assert ids == [f"{i:02d}/000000" for i in range(13)]
    assert not (tmp_path / "run/val_scans.txt").exists()
    settings += ["data.source.split=null", f"data.source.scans={tmp_path / 'run/source_scans.txt'}"]
    config = load_config(find_config(name), settings)
    assert open_datasets(config, None, Reporter()).source.ids == ids


def source_checkpoint(name: str, settings: list[str], folder: Path) -> Path:
    """Weights of the config's network as it is before any training."""
    config, path = load_config(find_config(name), settings), folder / "source.pth"
    classes = TASKS[name.split("/")[1].rpartition("_")[0]][2]
    torch.save(build_model(config, classes).state_dict(), path)
    return path


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_published_variant_trains_in_every_setting(setting, roots, tmp_path):
    name = f"{setting}/nuscenes_semantickitti_spvcnn"
    settings = [*small(name, roots), "variant=published", "schedule.precision=fp32"]
    if setting in ("asfda", "ada"):
        settings.append(f"init={source_checkpoint(name, settings, tmp_path)}")
    config = load_config(find_config(name), settings)
    record = train(config, tmp_path / "run")
    assert record.final()["voxels"] == (2 if setting in ("al", "asfda", "ada") else 0)


def test_published_variant_is_what_the_paper_did_and_one_key_away():
    config = load_config(find_config("ada/synlidar_semantickitti_minkunet"), ["variant=published"])
    model, schedule, active = config.model, config.schedule, config.active
    assert (model.target_rule, model.bn, model.features) == ("first", "published", "first")
    assert model.ignored_output and not model.adapt_bn
    assert (schedule.cosine, schedule.precision, schedule.clip_norm) == ("published", "fp16", 10.0)
    published = {"type": "SGD", "lr": 0.08, "momentum": 0.9, "weight_decay": 1e-4}
    assert schedule.optimizer == published  # and so no Nesterov
    assert (active.when, active.first_round) == ("online", "self")
    assert {d["intensity"] for d in vars(config.data).values() if d} == {"raw"}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    "name", ["semantickitti_nuscenes_spvcnn", "semantickitti_few", "streets_demo"]
)
def test_published_variant_goes_over_every_kind_of_config(setting, name):
    path = find_config(f"{setting}/{name}")
    settings = ["variant=published", "schedule.precision=fp32"]  # the demo's device is the CPU
    plain, config = loaded(path), load_config(path, settings)
    assert config.model.target_rule == "first"
    assert config.model.backbone == plain.model.backbone
    assert config.schedule.optimizer == plain.schedule.optimizer
    assert config.schedule.epochs == plain.schedule.epochs


def test_settings_have_the_last_word_over_a_variant_also_when_read_back(tmp_path):
    path = tmp_path / "mine.py"
    base = find_config("al/synlidar_semantickitti_minkunet")
    path.write_text(f"_base_ = '{base}'\nvariant = 'published'\nname = 'mine'\n")
    config = load_config(path, ["model.bn=target", "data.val.intensity=unit"])
    assert (config.name, config.model.bn, config.model.target_rule) == ("mine", "target", "first")
    assert [d["intensity"] for d in (config.data.train, config.data.val)] == ["raw", "unit"]
    kept = tmp_path / "config.yaml"
    kept.write_text(dump_config(config))
    assert load_config(kept) == config


def test_a_variant_adds_no_dataset_and_an_unknown_one_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("data: {train: {type: SemanticKITTI, sequences: ['00']}}\n")
    data = load_config(path, ["variant=published"]).data
    assert (data.train["intensity"], data.val, data.source) == ("raw", None, None)
    with pytest.raises(ConfigError, match="variant: unknown 'publised': did you mean 'published'"):
        load_config(path, ["variant=publised"])
