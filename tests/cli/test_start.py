"""`annotator3d start` and `run`: from a folder of scans to the first query, and on from there."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_frontend import label_by
from kitti_scans import make_kitti_in
from named_classes import write_classes, write_config
from tiny_runs import BACKBONE

from annotator3d.cli.main import main
from annotator3d.engine.workdir import WorkDir
from annotator3d.models.trained import START

SMALL = ["schedule.epochs=2", "active.rounds_at=[0,1]", "model.voxel_size=2.0", "device=cpu"]
SMALL += [f"model.backbone={BACKBONE}", "active.voxel_size=4.0"]
KNOWN = ["road", "building", "vegetation", "car"]


def write_scans(folder: Path, scans: int = 2) -> Path:
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for frame in range(scans):
        points = np.column_stack([random.uniform(-20, 20, (150, 3)), random.random(150)])
        points.astype("<f4").tofile(folder / f"{frame:06d}.bin")
    return folder


def start(folder: Path, *more: str) -> int:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    command = ["start", str(folder / "scans"), "--format", "bin", "--out", str(folder / "out")]
    return main([*command, *settings, *more])


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """A network of four classes, as `pretrain` writes it."""
    folder = tmp_path_factory.mktemp("network")
    root = make_kitti_in(folder)(sequences=("00", "01", "02", "03"), scans=2, points=200)
    classes = write_classes(folder / "classes.yaml", KNOWN)
    config = write_config(folder, root, "source_only", classes)
    assert main(["pretrain", str(config), "--out", str(folder / "start")]) == 0
    return folder / "start" / "network.safetensors"


@pytest.fixture(scope="module")
def begun(network, tmp_path_factory) -> Path:
    """Two scans, and the first round of a run on them that waits; not to be changed."""
    folder = tmp_path_factory.mktemp("begun")
    write_scans(folder / "scans")
    assert start(folder, "--no-view", "--init", str(network)) == 0
    return folder


@pytest.fixture
def copy(begun, tmp_path) -> Path:
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    return tmp_path


def queries(folder: Path) -> list:
    with WorkDir(folder / "out/run").ledger() as ledger:
        return ledger.queries()


def answered(folder: Path) -> int:
    with WorkDir(folder / "out/run").ledger() as ledger:
        return len(ledger.queries()) - len(ledger.open_queries())


def answer_some(number):
    """A person in front of a browser who answers so many voxels and closes it."""

    def work(session):
        for _ in range(number):
            session.assign(0)
            session.next()

    return work


def test_one_command_leads_from_a_folder_to_the_first_questions(tmp_path, network, capsys):
    write_scans(tmp_path / "scans")
    assert start(tmp_path, "--no-view", "--init", str(network)) == 0
    said = capsys.readouterr().out
    assert "2 scans" in said and f"starting from {network}" in said
    assert "2 of 2 voxels wait for an answer, on 2 scans" in said
    config = WorkDir(tmp_path / "out/run").config()
    assert (config.setting, config.active.oracle) == ("asfda", "person")
    assert len(queries(tmp_path)) == 2 and (tmp_path / "out/data/dataset.yaml").is_file()


def test_the_next_command_that_it_prints_goes_on(copy, begun, capsys):
    assert start(copy, "--no-view") == 0
    said = capsys.readouterr().out
    words = shlex.split(said.rpartition("next: annotator3d ")[2].strip())
    assert main([*words, "--no-view"]) == 0
    assert "2 of 2 voxels wait" in capsys.readouterr().out


def test_a_second_call_imports_nothing_and_asks_nothing_anew(copy, capsys):
    before = {p: p.stat().st_mtime_ns for p in (copy / "out/data").rglob("*") if p.is_file()}
    asked = [(q.scan, q.cell) for q in queries(copy)]
    shutil.rmtree(copy / "scans")
    (copy / "scans").mkdir()  # the scans have been imported: nobody reads them again
    assert start(copy, "--no-view") == 0
    assert before == {p: p.stat().st_mtime_ns for p in before}
    assert [(q.scan, q.cell) for q in queries(copy)] == asked
    assert "importing" not in capsys.readouterr().out


def test_a_run_that_was_lost_begins_again_from_the_imported_scans(copy, capsys):
    shutil.rmtree(copy / "out/run")
    shutil.rmtree(copy / "scans")
    (copy / "scans").mkdir()
    assert start(copy, "--no-view") == 0
    assert "2 of 2 voxels wait" in capsys.readouterr().out


def test_options_of_another_start_are_not_passed_over(copy, network, capsys):
    classes = write_classes(copy / "classes.yaml", ["car", "wall"])
    assert start(copy, "--no-view", "--taxonomy", classes) == 2
    assert "has other classes than the scans that were imported" in capsys.readouterr().err
    other = shutil.copy(network, copy / "other.safetensors")
    assert start(copy, "--no-view", "--init", str(other)) == 2
    assert f"started from {network}" in capsys.readouterr().err
    assert start(copy, "--no-view", "--init", str(network)) == 0


def test_answers_lead_to_the_next_round_and_to_the_end(copy, monkeypatch, capsys):
    label_by(monkeypatch, answer_some(2))
    assert start(copy, "--web", "--port", "0") == 0
    said = capsys.readouterr().out
    assert answered(copy) == 4  # both rounds, in one call
    assert "all rounds are answered" in said and "next: annotator3d export" in said
    assert (copy / "out/run/checkpoints/epoch_2.pth").is_file()


def test_a_viewer_that_is_closed_early_ends_it_and_keeps_the_answers(copy, monkeypatch, capsys):
    label_by(monkeypatch, answer_some(1))
    assert start(copy, "--web", "--port", "0") == 0
    assert answered(copy) == 1 and "next: annotator3d start" in capsys.readouterr().out
    assert main(["run", str(copy / "out/run"), "--web", "--port", "0"]) == 0
    assert answered(copy) == 3  # the other one of round 1, and one of round 2


def test_run_goes_on_without_the_folder_of_scans(copy, monkeypatch, capsys):
    label_by(monkeypatch, answer_some(2))
    assert main(["run", str(copy / "out/run"), "--no-view"]) == 0
    assert "next: annotator3d run" in capsys.readouterr().out
    assert main(["run", str(copy / "out/run"), "--web", "--port", "0"]) == 0
    assert answered(copy) == 4


def test_other_classes_start_from_what_the_network_knows_of_them(tmp_path, network, capsys):
    write_scans(tmp_path / "scans")
    classes = write_classes(tmp_path / "classes.yaml", ["car", "wall", "road"])
    assert start(tmp_path, "--no-view", "--init", str(network), "--taxonomy", classes) == 0
    assert "not wall: these begin with random weights" in capsys.readouterr().out
    assert WorkDir(tmp_path / "out/run").config().setting == "asfda"


def test_classes_that_the_network_does_not_know_start_from_random(tmp_path, network, capsys):
    write_scans(tmp_path / "scans")
    (tmp_path / "classes.yaml").write_text("classes: [{name: crane, ids: [1]}]\n")
    options = ["--no-view", "--init", str(network), "--taxonomy", str(tmp_path / "classes.yaml")]
    assert start(tmp_path, *options) == 0
    assert "knows none of the classes (crane)" in capsys.readouterr().out
    assert WorkDir(tmp_path / "out/run").config().setting == "al"


def test_an_installation_without_a_network_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("annotator3d.models.trained.START", tmp_path / "missing.safetensors")
    write_scans(tmp_path / "scans")
    assert start(tmp_path, "--no-view") == 0
    assert "no network to start from" in capsys.readouterr().out
    assert START.parent.is_dir()


@pytest.mark.parametrize(
    "more, words",
    [
        (["--init", "nowhere.safetensors"], "--init nowhere.safetensors: there is no such file"),
        (["--taxonomy", "semantickiti19"], "unknown taxonomy 'semantickiti19'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(tmp_path, capsys, more, words):
    write_scans(tmp_path / "scans")
    assert start(tmp_path, "--no-view", *more) != 0
    assert words in capsys.readouterr().err


def test_scans_that_are_not_there_are_named(tmp_path, capsys):
    assert start(tmp_path, "--no-view") == 1
    assert "SCANS" in capsys.readouterr().err
    (tmp_path / "scans").mkdir()
    assert start(tmp_path, "--no-view") == 1
    assert "scans" in capsys.readouterr().err and not (tmp_path / "out/run").exists()


def test_run_refuses_what_asks_nothing(network, capsys):
    run = network.parent / "run"
    assert main(["run", str(run), "--no-view"]) == 2
    assert "asks nothing" in capsys.readouterr().err
    assert main(["run", str(run.with_name("nowhere")), "--no-view"]) == 1
