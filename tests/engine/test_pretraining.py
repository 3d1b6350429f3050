"""A network to start from: a file without code, with a card, for scans of other classes too."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from kitti_scans import make_kitti_in
from named_classes import write_classes, write_config
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.training.checkpoint_file import read_checkpoint

KNOWN = ["road", "building", "vegetation", "car"]


def of_classes(folder, root, setting, names):
    return write_config(folder, root, setting, write_classes(folder / "classes.yaml", names))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretraining")
    root = make_kitti_in(folder)(sequences=("00", "01", "02", "03"), scans=2, points=200)
    config = of_classes(folder, root, "source_only", KNOWN)
    assert main(["pretrain", str(config), "--out", str(folder / "start")]) == 0
    return folder


def weights_of(path):
    return read_checkpoint(path)["state_dict"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def start(world, tmp_path, classes, init, *more):
    config = of_classes(tmp_path, world / "kitti", "asfda", classes)
    command = ["train", str(config), "--work-dir", str(tmp_path / "run"), "--init", str(init)]
    return main([*command, *more])


def test_the_file_holds_the_trained_weights_and_what_they_are(world, capsys):
    start = world / "start"
    capsys.readouterr()
    assert same(
        weights_of(start / "network.safetensors"), weights_of(start / "run/checkpoints/epoch_1.pth")
    )
    with safe_open(start / "network.safetensors", "pt") as file:
        told = json.loads(file.metadata()["annotator3d"])
    assert told["network"] == {"classes": KNOWN, "features": "mean", "voxel_size": 2.0}
    evaluate = ["evaluate", str(world / "source_only.yaml"), str(start / "network.safetensors")]
    assert main([*evaluate, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert told["card"]["miou"] == pytest.approx(found["miou"])
    card = (start / "MODEL_CARD.md").read_text()
    assert told["card"]["weights"] in card
    assert "Licence: not stated" in card and "simulated" not in card  # these scans are not ours
    assert all(f"| {name} |" in card for name in KNOWN)


def test_the_same_command_keeps_what_is_finished(world):
    path = world / "start" / "network.safetensors"
    before, trained = path.read_bytes(), (world / "start/run/metrics.jsonl").stat().st_mtime_ns
    assert main(["pretrain", str(world / "source_only.yaml"), "--out", str(world / "start")]) == 0
    assert path.read_bytes() == before
    assert (world / "start/run/metrics.jsonl").stat().st_mtime_ns == trained


def test_a_run_from_the_file_is_that_from_the_checkpoint(world, tmp_path):
    ends = []
    for name in ("network.safetensors", "run/checkpoints/epoch_1.pth"):
        folder = tmp_path / name.rpartition("/")[2]
        folder.mkdir()
        assert start(world, folder, KNOWN, world / "start" / name) == 0
        ends.append(weights_of(folder / "run/checkpoints/epoch_1.pth"))
    assert same(*ends)


def test_other_classes_take_the_rows_of_the_same_name(world, tmp_path, capsys):
    """With a learning rate of nearly nothing, a training leaves the weights that it begins with."""
    classes, still = ["wall", "car", "road"], ["--set", "schedule.optimizer.lr=1e-9"]
    still += ["--set", "schedule.optimizer.weight_decay=0", "--set", "model.adapt_bn=false"]
    path = world / "start" / "network.safetensors"
    assert start(world, tmp_path, classes, path, *still) == 0
    assert "it knows 2 classes of 3 by name (car, road); new, and random at first: wall" in (
        capsys.readouterr().out
    )
    known, found = weights_of(path), weights_of(tmp_path / "run/checkpoints/epoch_1.pth")
    for name in ("head.weight", "head.bias"):
        assert torch.allclose(found[name][1], known[name][KNOWN.index("car")], atol=1e-6)
        assert torch.allclose(found[name][2], known[name][KNOWN.index("road")], atol=1e-6)
    assert not any(
        torch.allclose(found["head.weight"][0], row, atol=1e-3) for row in known["head.weight"]
    )
    inner = next(name for name in known if name.startswith("backbone") and name.endswith("weight"))
    assert torch.allclose(found[inner], known[inner], atol=1e-6)


def test_where_outputs_are_asked_for_other_classes_are_refused(world, tmp_path, capsys):
    config = of_classes(tmp_path, world / "kitti", "asfda", ["wall", "car", "road"])
    path = str(world / "start" / "network.safetensors")
    assert main(["evaluate", str(config), path]) != 0
    assert "4 other classes" in capsys.readouterr().err


def test_weights_of_another_tool_are_taken_where_they_fit(world, tmp_path):
    save_file(weights_of(world / "start/network.safetensors"), tmp_path / "bare.safetensors")
    assert start(world, tmp_path, KNOWN, tmp_path / "bare.safetensors") == 0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: data[:-5], "is damaged"),
        (lambda data: data[:100], "is damaged"),
        (lambda data: b"", "is damaged"),
        (lambda data: data.replace(b'\\"classes\\": [', b'\\"classes\\": {'), "is damaged"),
        (lambda data: data.replace(b'{\\"card\\"', b'[\\"card\\"'), "is damaged"),
    ],
)
def test_a_damaged_file_is_refused(world, tmp_path, capsys, spoil, words):
    data = (world / "start/network.safetensors").read_bytes()
    path = tmp_path / "spoilt.safetensors"
    path.write_bytes(spoil(data))
    assert path.read_bytes() != data
    assert start(world, tmp_path, KNOWN, path) != 0
    error = capsys.readouterr().err
    assert words in error and str(path) in error
    assert not (tmp_path / "run" / "ledger.sqlite").exists()


def test_weights_that_are_no_numbers_are_refused(world, tmp_path, capsys):
    weights = weights_of(world / "start/network.safetensors")
    weights["head.bias"] = torch.full_like(weights["head.bias"], torch.nan)
    save_file(weights, tmp_path / "nan.safetensors")
    assert start(world, tmp_path, KNOWN, tmp_path / "nan.safetensors") != 0
    assert "not finite" in capsys.readouterr().err


def test_a_config_that_cannot_be_pretrained_is_refused(world, tmp_path, capsys):
    config = of_classes(tmp_path, world / "kitti", "target_only", KNOWN)
    assert main(["pretrain", str(config), "--out", str(tmp_path / "out")]) == 2
    assert "expected a config of the setting source_only" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_of_simulated_streets_the_card_says_so(tmp_path):
    streets = {"type": "SimulatedStreets", "domain": "hdl64", "beams": 16, "azimuths": 90}
    streets |= {"sequences": 1, "scans": 1}
    data = {"source": streets, "val": {**streets, "first_sequence": 60}}
    config = tiny_config(tmp_path, "source_only", schedule={"epochs": 1, "source_until": 1})
    values = {**yaml.safe_load(dump_config(config)), "data": data}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert main(["pretrain", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "Licence: Apache-2.0" in card and "These are simulated streets too" in card


def test_prototypes_go_with_the_classes_of_the_same_name(world, tmp_path):
    """Those of classes that the source lacks are not taken from another class."""
    path, classes = world / "start" / "network.safetensors", ["wall", "car", "road", "vegetation"]
    assert start(world, tmp_path, classes, path, "--set", "active.strategy=prototypes") == 0
    known = read_checkpoint(path)["prototypes"]
    found = read_checkpoint(tmp_path / "run/checkpoints/epoch_1.pth")["prototypes"]
    assert found[0].isnan().all()
    for row, name in enumerate(classes[1:], start=1):
        assert torch.equal(found[row], known[KNOWN.index(name)])
