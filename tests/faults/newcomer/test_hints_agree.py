"""A hint leads on: what it names is taken, and the next message does not ask for it back."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from kitti_scans import make_kitti_in
from tiny_runs import BACKBONE, tiny_config

from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config

SMALL = ["schedule.epochs=1", "active.rounds_at=[0]", "model.voxel_size=2.0", "device=cpu"]
SMALL += [f"model.backbone={BACKBONE}", "active.voxel_size=4.0", "seed=3"]
PERSON, NO_VAL = "active.oracle=person", "data.val=null"


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory) -> Path:
    """Two scans without labels, as `annotator3d import` leaves them."""
    folder = tmp_path_factory.mktemp("unlabelled")
    (folder / "scans").mkdir()
    random = np.random.default_rng(0)
    for frame in range(2):
        points = np.column_stack([random.uniform(-20, 20, (150, 3)), random.random(150)])
        points.astype("<f4").tofile(folder / f"scans/{frame:06d}.bin")
    (folder / "classes.yaml").write_text("classes: [{name: a, ids: [1]}, {name: b, ids: [2]}]\n")
    command = ["import", str(folder / "scans"), str(folder / "data"), "--format", "bin"]
    assert main([*command, "--taxonomy", str(folder / "classes.yaml")]) == 0
    return folder / "data"


def sets(settings) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def train(*arguments: str) -> int:
    return main(["train", *map(str, arguments)])


def hinted(said: str) -> list[str]:
    """The settings that a message names."""
    words = shlex.split(said.replace("(", " ").replace(")", " "), posix=True)
    return [after.rstrip(";,.") for word, after in zip(words, words[1:], strict=False)
            if word == "--set"]  # fmt: skip


@pytest.mark.parametrize("given", [[], [NO_VAL], [PERSON], [PERSON, NO_VAL]], ids=str)
def test_hints_lead_from_scans_without_labels_to_a_person(unlabelled, tmp_path, capsys, given):
    settings = list(given)
    command = ["al/own_data", "--data-root", str(unlabelled), "--work-dir", str(tmp_path / "w")]
    for _ in range(2):  # one hint is enough
        capsys.readouterr()
        code = train(*command, *sets([*SMALL, *settings]))
        if code == 0:
            break
        new = hinted(capsys.readouterr().err)
        assert new and not {s.split("=")[0] for s in new} & {s.split("=")[0] for s in settings}
        settings += new
    assert code == 0
    assert "2 of 2 voxels wait for an answer" in capsys.readouterr().out
    assert sorted(settings) == sorted([PERSON, NO_VAL])


def test_scans_without_labels_in_another_layout(tmp_path, capsys):
    root = make_kitti_in(tmp_path)(sequences=("00", "01", "02"), scans=1, labels=False)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(tiny_config(root)))
    assert train(path, "--work-dir", tmp_path / "w") == 2
    said = capsys.readouterr().err
    assert "none of the 2 scans" in said and hinted(said) == [PERSON, NO_VAL]
    assert train(path, "--work-dir", tmp_path / "w", "--set", PERSON) == 1
    assert hinted(capsys.readouterr().err) == [NO_VAL]
    assert train(path, "--work-dir", tmp_path / "w", *sets([PERSON, NO_VAL])) == 0


def test_every_label_is_needed_where_nobody_is_asked(tmp_path, capsys):
    root = make_kitti_in(tmp_path)(sequences=("00", "01", "02"), scans=1, labels=False)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(tiny_config(root, "target_only")))
    assert train(path, "--work-dir", tmp_path / "w") == 2
    said = capsys.readouterr().err
    assert "target_only trains on all of them" in said and "person" not in said


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    return make_kitti_in(tmp_path_factory.mktemp("k"))(sequences=("00", "01", "02"), scans=1)


@pytest.mark.parametrize("setting", ["al", "target_only"])
def test_a_run_without_validation_is_trained_as_the_hint_says(labelled, tmp_path, capsys, setting):
    path = tmp_path / "config.yaml"
    config = tiny_config(labelled, setting, schedule={"epochs": 1}, active={"rounds_at": [0]})
    path.write_text(dump_config(config))
    assert train(path, "--work-dir", tmp_path / "w", "--set", NO_VAL) == 0
    said = capsys.readouterr().out
    assert "data.val is null: nothing is evaluated" in said and "not evaluated" in said


@pytest.fixture(scope="module")
def waiting(unlabelled, tmp_path_factory) -> Path:
    """A run that waits for a person; not to be changed."""
    run = tmp_path_factory.mktemp("waiting") / "run"
    settings = sets([*SMALL, PERSON, NO_VAL])
    assert train("al/own_data", "--data-root", unlabelled, "--work-dir", run, *settings) == 0
    return run


@pytest.mark.parametrize(
    "forgotten",
    [[PERSON, NO_VAL], [NO_VAL], ["seed=3"], [SMALL[4]], [PERSON, NO_VAL, *SMALL]],
    ids=["person", "validation", "seed", "backbone", "all"],
)
def test_settings_that_were_forgotten_are_named(
    waiting, unlabelled, tmp_path, capsys, forgotten, monkeypatch
):
    run = shutil.copytree(waiting, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    kept = [s for s in [*SMALL, PERSON, NO_VAL] if s not in forgotten]
    command = ["al/own_data", "--data-root", str(unlabelled), "--work-dir", "run", "--resume"]
    assert train(*command, *sets(kept)) == 1
    said = capsys.readouterr().err
    assert "run holds a run of another config" in said and len(said) < 500
    for key in {setting.split("=")[0] for setting in forgotten} & {"seed", "data.val"}:
        assert f"{key}: " in said or "more" in said
    if options := hinted(said):
        assert train(*command, *sets([*kept, *options])) == 0
    words = re.search(r"annotator3d (train run/config.yaml [^()]*--resume)", said)
    assert main(shlex.split(words[1])) == 0  # without the root of the data
    assert "2 of 2 voxels wait" in capsys.readouterr().out
    assert run.is_dir()


@pytest.mark.parametrize(
    "command",
    [
        "train run/config.yaml --work-dir run --resume",
        "train run/config.yaml --resume",
        "train run/config.yaml --work-dir again",
        "select run/config.yaml --work-dir other --set active.strategy=random",
    ],
)
def test_the_folder_of_a_run_knows_where_its_scans_are(
    waiting, tmp_path, capsys, monkeypatch, command
):
    shutil.copytree(waiting, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == 0
    assert "2 voxels" in capsys.readouterr().out
    assert not Path("work_dirs").exists()


def test_a_run_is_resumed_by_its_own_command_without_the_root(waiting, tmp_path, capsys):
    run = shutil.copytree(waiting, tmp_path / "run")
    settings = sets([*SMALL, PERSON, NO_VAL])
    assert train("al/own_data", "--work-dir", run, "--resume", *settings) == 0
    assert "2 of 2 voxels wait" in capsys.readouterr().out
