"""A value that cannot train is refused before anything is written and anybody labels."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from kitti_scans import make_kitti_in
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """A run whose queries a person answers, over scans without labels."""
    folder = tmp_path_factory.mktemp("values")
    root = make_kitti_in(folder)(sequences=("00",), scans=2, points=80, labels=False)
    values = dataclasses.asdict(tiny_config(root, active={"oracle": "person", "rounds_at": [0]}))
    values["data"] |= {
        "val": None,
        "source": None,
        "train": {**values["data"]["train"], "sequences": ["00"]},
    }
    path = folder / "person.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


SCALE = "schedule.augmentation.scale: expected two factors"
SHIFT = "schedule.augmentation.translate: expected"
REFUSED = {
    "model.label_smoothing=2": "model.label_smoothing: expected at most 1",
    "model.lovasz=1e300": "model.lovasz: expected at most 1,000",
    "model.lovasz=.inf": "model.lovasz: expected a finite number",
    "model.voxel_size=1e-30": "model.voxel_size: expected metres",
    "model.backbone={planes: [4, a, 4]}": "model.backbone.planes: expected an integer",
    "model.backbone={planes: 5}": "model.backbone.planes: expected a list",
    "model.backbone={planes: [4, 4.5, 4]}": "model.backbone.planes: expected an integer",
    "model.backbone={planes: [4, 4]}": "planes: expected 2 L + 1 positive widths",
    "model.backbone={blocks: 1.5}": "model.backbone.blocks: expected an integer",
    "model.backbone={blocks: 99999999999999999999999}": "blocks: expected 1 to 100",
    "model.backbone={type: SPVCNN, blocks: 1000000000}": "blocks: expected 1 to 100",
    "model.backbone={planes: [4, 99999999999, 4]}": "planes: expected at most 16 levels",
    "model.backbone={in_channels: 3}": "this config cannot train: a first step on 80 points",
    "schedule.clip_norm=.nan": "schedule.clip_norm: expected a finite number",
    "schedule.clip_norm=-1": "schedule.clip_norm: expected a number above 0",
    "schedule.augmentation={scale: [0.9]}": SCALE,
    "schedule.augmentation={scale: [1.1, 0.9]}": SCALE,
    "schedule.augmentation={scale: 1}": "schedule.augmentation.scale: expected a list",
    "schedule.augmentation={translate: [1, 2]}": f"{SHIFT} a number",
    "schedule.augmentation={translate: -1}": f"{SHIFT} at least 0",
    "schedule.augmentation={rotate: 7}": "schedule.augmentation.rotate: expected true or false",
    "schedule.optimizer={lr: -1}": "schedule.optimizer.lr: expected a number from 0",
    "schedule.optimizer={lr: true}": "schedule.optimizer.lr: expected a number",
    "schedule.optimizer={lr: fast}": "schedule.optimizer.lr: expected a number",
    "schedule.optimizer={lr: 1e30}": "schedule.optimizer.lr: expected a number from 0",
    "schedule.optimizer={type: LBFGS}": "schedule.optimizer: LBFGS cannot train with",
    "schedule.optimizer={type: SparseAdam}": "schedule.optimizer: SparseAdam cannot train with",
    "schedule.optimizer={type: AdamW, betas: [0.9]}": "optimizer.betas: expected 2 numbers",
    "schedule.optimizer={type: AdamW, betas: [0.9, 2]}": "schedule.optimizer: AdamW cannot train",
    "schedule.optimizer={momentum: 2}": "optimizer.momentum: expected a number from 0 to 1",
    "schedule.optimizer={type: AdamW, capturable: true}": "optimizer.capturable: needs a CUDA",
    "schedule.optimizer={nesterov: 1}": "schedule.optimizer.nesterov: expected true or false",
    "schedule.min_factor=0": "schedule.min_factor: expected a factor above 0",
    "schedule.warmup_epochs=1e300": "schedule.warmup_epochs: expected at most 1,000,000",
    "schedule.epochs=1000000000000": "schedule.epochs: expected at most 1,000,000,000",
    "schedule.workers=100000": "schedule.workers: expected at most 512",
    "seed=100000000000000000000000": "seed: expected at most 4,294,967,294",
    "active.max_range=1e300": "active.max_range: expected metres above 0, at most 1e6",
    "active.min_points=100000000000000000000": "active.min_points: expected at most 1,000,000,000",
    "active.seconds_per_voxel=1e308": "active.seconds_per_voxel: expected seconds above 0",
    "active.oracle={type: noisy, base_seconds: 1e308}": "base_seconds: expected a number from 0 to",
    "data.train.stride=2.5": "data.train.stride: expected an integer",
    "data.train.sequences=7": "data.train.sequences: expected a list",
    "data.train.sequences=[7]": "data.train.sequences: expected text",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_a_value_that_cannot_train_is_refused_before_anything_is_written(
    config, tmp_path, capsys, setting
):
    folder = tmp_path / "run"
    assert main(["train", str(config), "--work-dir", str(folder), "--set", setting]) == 2
    said = capsys.readouterr().err
    assert REFUSED[setting] in said and len(said) < 500, said
    assert not folder.exists()


DATASETS = {  # keyword of the dataset -> what is said of it; a run has up to three datasets
    "data.train.sequences=[]": "data.train: sequences must name at least one",
    "data.train.sequences=null": "data.train: SemanticKITTI needs either sequences or split",
    "data.train.taxonomy=nosuch": "data.train: unknown taxonomy 'nosuch'",
    "data.train.split=nosuch": "data.train: SemanticKITTI needs either sequences or split",
    "data.train.scans=[]": "data.train: scans names no scan",
    "data.train={type: NuScenes, root: ., version: abc}": "data.train: dataset 'NuScenes' needs",
    "data.train={type: SimulatedStreets, beams: 0}": "data.train: dataset 'SimulatedStreets' needs",
    "data.val={type: SemanticKITTI, root: nowhere, sequences: ['00']}": "data.val: ",
}


@pytest.mark.parametrize("setting", DATASETS)
def test_what_a_dataset_refuses_is_said_with_the_key_of_the_dataset(
    config, tmp_path, capsys, setting
):
    folder = tmp_path / "run"
    assert main(["train", str(config), "--work-dir", str(folder), "--set", setting]) != 0
    said = capsys.readouterr().err
    assert DATASETS[setting] in said and said.count("data.") == 1 and len(said) < 500, said
    assert not folder.exists()


def test_an_optimiser_of_torch_trains_where_mmengine_knows_its_name_as_nothing(config, tmp_path):
    line = ["train", str(config), "--work-dir", str(tmp_path / "run")]
    assert main([*line, "--set", "schedule.optimizer={type: Adafactor}"]) == 0


PLUGIN = """
import torch
from torch import nn
from annotator3d.registry import BACKBONES

@BACKBONES.register_module(name="{name}")
class Net(nn.Module):
    def __init__(self, width: int = 4):
        super().__init__()
        self.out_channels = width
        self.layer = nn.Linear(4, width)

    def forward(self, features, cells, splits):
        {body}
"""
BODIES = {
    "ends": ("raise KeyError('rows')", "KeyError: 'rows'"),
    "gives_nan": ("return self.layer(features) * float('nan')", "the loss is not finite"),
    "too_few": ("return self.layer(features)[1:]", "this config cannot train"),
    "too_wide": ("return torch.cat([self.layer(features)] * 2, 1)", "cannot be multiplied"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_network_of_ones_own_that_cannot_train_is_tried_first(config, tmp_path, capsys, name):
    body, words = BODIES[name]
    (tmp_path / f"{name}.py").write_text(PLUGIN.format(name=name, body=body))
    values = yaml.safe_load(config.read_text())
    values["model"]["backbone"] = {"type": name}
    values["custom_imports"] = {"imports": [f"{name}.py"], "folder": str(tmp_path)}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    folder = tmp_path / "run"
    main(["train", "--help"])
    trust = ["--trust"] if "--trust" in capsys.readouterr().out else []
    line = ["train", str(tmp_path / "c.yaml"), "--work-dir", str(folder), *trust]
    assert main(line) == 2
    said = capsys.readouterr().err
    assert words in said and "Nothing was written" in said and len(said) < 500, said
    assert not folder.exists()


def test_the_trial_leaves_random_numbers_and_network_as_they_are(tmp_path, make_kitti):
    from annotator3d.engine.build import build_model
    from annotator3d.engine.datasets import open_datasets
    from annotator3d.engine.training.trial import try_one_step
    from annotator3d.reporter import Reporter

    config = tiny_config(make_kitti(sequences=("00", "01", "02", "03"), scans=1), "ada", init="x")
    datasets = open_datasets(config, None, Reporter())
    model = build_model(config, datasets.taxonomy.num_classes)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = []
    for trial in (False, True):
        torch.manual_seed(3)
        random.seed(3)
        np.random.seed(3)
        if trial:
            try_one_step(config, datasets, model, torch.device("cpu"))
        drawn.append((torch.rand(1).item(), random.random(), np.random.rand()))
    assert drawn[0] == drawn[1]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_every_number_of_a_config_has_two_limits():
    from annotator3d.engine.config.load import make_config
    from annotator3d.errors import ConfigError

    values = yaml.safe_load(dump_config(make_config({})))
    numbers = [
        (table, key)
        for table in ("model", "schedule", "active")
        for key, value in values[table].items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    assert len(numbers) > 15
    for table, key in [*numbers, ("schedule", "ema"), ("active", "max_range")]:
        for huge in (1e300, 10**400, -1e300):
            with pytest.raises(ConfigError, match=f"^{table}.{key}: expected"):
                make_config({table: {key: huge}})


CORRECTED = {
    "a rate": "schedule.optimizer.lr=0.001",
    "no augmentation": "schedule.augmentation=null",
    "the loss": "model.label_smoothing=0",
    "clipping": "schedule.clip_norm=1",
}


@pytest.fixture
def labelled(config, tmp_path):
    """A run that waits for a person, who has answered its first round: config and folder."""
    from annotator3d.ledger.ledger import Ledger
    from annotator3d.ledger.records import Answer
    from annotator3d.ledger.schema import EventKind

    folder = tmp_path / "run"
    assert main(["train", str(config), "--work-dir", str(folder)]) == 0
    with Ledger.open_existing(folder / "ledger.sqlite") as ledger:
        for query in ledger.open_queries():
            labels = np.full(query.num_points, 3, np.uint8)
            ledger.record(query.id, Answer(EventKind.ANSWER, labels, annotator="ann"))
    return config, folder


@pytest.mark.parametrize("what", CORRECTED)
def test_a_value_may_be_corrected_as_long_as_nothing_is_trained(labelled, capsys, what):
    config, folder = labelled
    setting = CORRECTED[what]
    resume = ["train", str(config), "--work-dir", str(folder), "--resume"]
    assert main([*resume, "--set", setting]) == 0
    assert setting.partition("=")[0] in capsys.readouterr().out
    assert list((folder / "checkpoints").glob("*.pth"))
    assert main(resume) == 1  # now it is the past
    assert "run of another config" in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["seed=5", "active.voxel_size=2", "model.voxel_size=1"])
def test_what_the_questions_came_from_is_not_corrected(labelled, capsys, setting):
    config, folder = labelled
    line = ["train", str(config), "--work-dir", str(folder), "--resume", "--set", setting]
    assert main(line) == 1
    assert "run of another config" in capsys.readouterr().err
