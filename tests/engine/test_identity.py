"""A checkpoint says what its network predicts; no other network takes its weights in silence."""

from __future__ import annotations

import warnings

import pytest
import torch
from kitti_scans import make_kitti_in
from named_classes import write_classes, write_config

import annotator3d as a3d
from annotator3d.cli.main import main
from annotator3d.engine.training.identity import NETWORK

CLASSES = ["road", "building", "vegetation", "car"]
SWAPPED = ["building", "road", "vegetation", "car"]
OTHER = ["road", "building", "vegetation", "truck"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Scans, and a source checkpoint of four classes."""
    folder = tmp_path_factory.mktemp("identity")
    root = make_kitti_in(folder)(sequences=("00", "01", "02", "03"), scans=2, points=200)
    classes = write_classes(folder / "classes.yaml", CLASSES)
    config = write_config(folder, root, "source_only", classes)
    assert main(["train", str(config), "--work-dir", str(folder / "run")]) == 0
    return root, folder / "run" / "checkpoints" / "epoch_1.pth"


def commands(folder, root, classes, checkpoint):
    """Everything that takes the weights of a file."""
    asfda = str(write_config(folder, root, "asfda", classes))
    begun = ["--work-dir", str(folder / "work")]
    return {
        "train": ["train", asfda, "--init", checkpoint, *begun],
        "evaluate": ["evaluate", asfda, checkpoint],
        "select": ["select", asfda, "--checkpoint", checkpoint, *begun],
    }


@pytest.mark.parametrize("command", ["train", "evaluate", "select"])
@pytest.mark.parametrize(
    ("names", "words"),
    [(SWAPPED, "the same 4 classes in another order"), (OTHER, "4 other classes: road, building")],
)
def test_a_network_of_other_classes_is_refused(trained, tmp_path, capsys, command, names, words):
    root, checkpoint = trained
    classes = write_classes(tmp_path / "classes.yaml", names)
    assert main(commands(tmp_path, root, classes, str(checkpoint))[command]) != 0
    error = capsys.readouterr().err
    assert words in error and str(checkpoint) in error
    assert not (tmp_path / "work" / "ledger.sqlite").exists()


@pytest.mark.parametrize("command", ["train", "evaluate", "select"])
def test_that_of_the_same_classes_is_taken(trained, tmp_path, command):
    root, checkpoint = trained
    classes = write_classes(tmp_path / "classes.yaml", CLASSES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(commands(tmp_path, root, classes, str(checkpoint))[command]) == 0


def test_a_file_that_does_not_say_what_it_is_of_is_taken(trained, tmp_path):
    root, checkpoint = trained
    content = torch.load(checkpoint, weights_only=True)
    del content[NETWORK]
    torch.save(content, tmp_path / "old.pth")
    classes = write_classes(tmp_path / "classes.yaml", SWAPPED)
    assert main(commands(tmp_path, root, classes, str(tmp_path / "old.pth"))["evaluate"]) == 0


def test_another_size_of_voxels_is_warned_of(trained, tmp_path):
    root, checkpoint = trained
    classes = write_classes(tmp_path / "classes.yaml", CLASSES)
    config = write_config(tmp_path, root, "al", classes, model={"voxel_size": 1.0})
    with pytest.warns(RuntimeWarning, match=r"trained with model\.voxel_size=2\.0, .* says 1\.0"):
        a3d.init_model(str(config), str(checkpoint), device="cpu")
    classes = write_classes(tmp_path / "other.yaml", SWAPPED)
    config = write_config(tmp_path, root, "al", classes)
    with pytest.raises(ValueError, match="in another order"):
        a3d.init_model(str(config), str(checkpoint), device="cpu")


@pytest.mark.parametrize("value", [7, {"classes": "road"}, {"classes": [1, 2]}, {}])
def test_what_makes_no_sense_is_refused(trained, tmp_path, capsys, value):
    root, checkpoint = trained
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, NETWORK: value}, tmp_path / "odd.pth")
    classes = write_classes(tmp_path / "classes.yaml", CLASSES)
    assert main(commands(tmp_path, root, classes, str(tmp_path / "odd.pth"))["evaluate"]) != 0
    assert "expected the classes of its network in it" in capsys.readouterr().err


def test_a_checkpoint_goes_with_classes_that_are_renamed(trained, tmp_path, capsys):
    root, checkpoint = trained
    classes = write_classes(tmp_path / "classes.yaml", CLASSES)
    run = str(tmp_path / "work")
    assert main(commands(tmp_path, root, classes, str(checkpoint))["train"]) == 0
    text = (tmp_path / "classes.yaml").read_text().replace("name: car", "name: vehicle")
    (tmp_path / "renamed.yaml").write_text(text)
    rename = ["taxonomy", "migrate", run, str(tmp_path / "renamed.yaml"), "--map", "car=vehicle"]
    assert main([*rename, "--apply"]) == 0
    config = str(tmp_path / "work" / "config.yaml")
    assert main(["evaluate", config, str(tmp_path / "work/checkpoints/epoch_1.pth")]) == 0
    assert "vehicle" in capsys.readouterr().out
