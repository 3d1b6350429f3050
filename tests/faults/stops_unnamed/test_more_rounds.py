"""A run goes on after its end: more epochs, more rounds, other budgets; its past stays as it is."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from kitti_scans import make_kitti_in
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.jobs import Job, run_jobs
from annotator3d.engine.training.runner import TrainLoop
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.ledger import Ledger
from annotator3d.reporter import Reporter

AFTER = ["schedule.epochs=3", "active.rounds_at=[0,1,2]"]


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """`config.yaml` and its finished run of two rounds in `run`; not to be changed."""
    folder = tmp_path_factory.mktemp("done")
    root = make_kitti_in(folder)(sequences=("00", "01", "02"), scans=2, points=200)
    schedule = {"epochs": 2, "keep_checkpoints": 5}
    config = tiny_config(root, schedule=schedule, active={"rounds_at": [0, 1]})
    (folder / "config.yaml").write_text(dump_config(config))
    assert train(folder, folder / "run") == 0
    return folder


@pytest.fixture
def run(done, tmp_path) -> Path:
    return shutil.copytree(done / "run", tmp_path / "run")


def train(folder: Path, run: Path, *settings: str, resume: bool = False) -> int:
    options = [word for setting in settings for word in ("--set", setting)]
    resumed = ["--resume"] * resume
    config = str(folder / "config.yaml")
    return main(["train", config, "--work-dir", str(run), *resumed, *options])


def asked(run: Path) -> dict[int, list]:
    with Ledger.read(run / "ledger.sqlite") as ledger:
        found = {entry.number: [] for entry in ledger.rounds()}
        for query in ledger.queries():
            found[query.round].append((query.scan, query.cell))
    return found


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_more_rounds_are_asked_and_trained_on(done, run, capsys):
    before = asked(run)
    assert train(done, run, *AFTER, resume=True) == 0
    said = capsys.readouterr().out
    assert "active.rounds_at: [0, 1], now [0, 1, 2]" in said
    assert "schedule.epochs: 2, now 3" in said
    after = asked(run)
    assert {1: after[1], 2: after[2]} == before and len(after[3]) == 4
    assert not set(after[3]) & {*after[1], *after[2]}
    assert [(line["epoch"], line["final"]) for line in lines(run)][-2:] == [(2, False), (3, True)]
    assert lines(run)[-1]["voxels"] == 12
    info = json.loads((run / "run.json").read_text())
    assert info["state"] == "done" and info["epochs"] == 3
    assert {(c["key"], c["epoch"]) for c in info["changes"]} == {
        ("schedule.epochs", 2),
        ("active.rounds_at", 2),
    }
    assert main(["report", str(run)]) == 0


def test_more_epochs_without_another_round(done, run):
    before = asked(run)
    assert train(done, run, "schedule.epochs=4", resume=True) == 0
    assert asked(run) == before
    assert lines(run)[-1]["epoch"] == 4 and lines(run)[-1]["final"]
    assert train(done, run, "schedule.epochs=4", resume=True) == 0  # and then it is that run


@pytest.mark.parametrize(
    ("settings", "voxels"),
    [
        (["active.queries_per_scan=3"], 12),
        (["active.max_queries=2"], 2),
        (["active.queries_per_scan=2", "active.max_queries=5"], 5),
        (["active.budget_hours=0.01", "active.seconds_per_voxel=12"], 3),
    ],
    ids=["voxels of a scan", "voxels of a round", "both", "hours"],
)
def test_later_rounds_have_another_budget(done, run, settings, voxels):
    before = asked(run)
    assert train(done, run, *AFTER, *settings, resume=True) == 0
    after = asked(run)
    assert {1: after[1], 2: after[2]} == before
    assert len(after[3]) == voxels
    (run / "checkpoints/epoch_3.pth").unlink()  # round 2 is trained on again, with its own budget
    (run / "checkpoints/epoch_2.pth").unlink()
    assert train(done, run, *AFTER, *settings, resume=True) == 0
    assert asked(run) == after


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["schedule.epochs=3", "active.rounds_at=[0,2]"], "holds round 2 before epoch 1, the new"),
        (["schedule.epochs=3", "active.rounds_at=[1,2]"], "holds round 1 before epoch 0"),
        (["schedule.epochs=3", "active.rounds_at=[0]"], "the new schedule has none there"),
        (["schedule.epochs=3", "active.rounds_at=[]"], "begin with [0, 1]"),
        (["schedule.epochs=1", "active.rounds_at=[0]"], "trained 2 epochs already, now 1"),
        ([*AFTER, "active.strategy=margin"], "active.strategy: vcd, now margin"),
        ([*AFTER, "active.first_round=self"], "active.first_round: random, now self"),
        ([*AFTER, "schedule.batch_size=1"], "schedule.batch_size: 2, now 1"),
        ([*AFTER, "seed=1"], "seed: 0, now 1"),
        ([*AFTER, "active.stride=2"], "active.stride: 1, now 2"),
        ([*AFTER, "model.lovasz=0"], "model.lovasz: 1.0, now 0"),
    ],
)
def test_another_past_is_refused_with_what_differs(done, run, capsys, settings, words):
    files = times(run)
    assert train(done, run, *settings, resume=True) == 1
    said = capsys.readouterr().err
    assert words in said and len(said) < 560
    assert times(run) == files


def times(run: Path) -> dict[Path, int]:
    """When each file was written, those aside that reading the ledger makes."""
    found = (path for path in run.rglob("*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in found if "sqlite-" not in path.name}


def test_a_new_round_among_trained_epochs_is_refused(done, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(done, run, "active.rounds_at=[0]") == 0
    assert train(done, run, "active.rounds_at=[0,1]", resume=True) == 1
    assert "round 2 is new and before epoch 1" in capsys.readouterr().err
    assert train(done, run, *["schedule.epochs=3", "active.rounds_at=[0,2]"], resume=True) == 0
    assert Counter(len(cells) for cells in asked(run).values()) == {4: 2}


def test_a_run_that_was_stopped_may_get_more_rounds(done, tmp_path):
    run = tmp_path / "run"
    person = "active.oracle=person"
    assert train(done, run, person) == 0
    answer_all(run)
    settings = [person, *AFTER, "active.queries_per_scan=2"]
    assert train(done, run, *settings, resume=True) == 0
    assert {number: len(cells) for number, cells in asked(run).items()} == {1: 4, 2: 8}


def answer_all(run: Path) -> None:
    with Ledger.open_existing(run / "ledger.sqlite") as ledger:
        for query in ledger.open_queries():
            ledger.answer(query.id, [0] * query.num_points, annotator="ann")


def test_the_learning_rate_is_that_of_the_longer_schedule(done, run, tmp_path, monkeypatch):
    rates = {}
    taken = TrainLoop.run_iter

    def telling(self, index, data):
        rates.setdefault(self.runner.iter, set()).add(self.runner.optim_wrapper.get_lr()["lr"][0])
        taken(self, index, data)

    monkeypatch.setattr(TrainLoop, "run_iter", telling)
    assert train(done, run, *AFTER, resume=True) == 0
    continued = {step: rate.pop() for step, rate in rates.items()}
    rates.clear()
    assert train(done, tmp_path / "unbroken", *AFTER) == 0
    unbroken = {step: rate.pop() for step, rate in rates.items()}
    assert sorted(continued) == [4, 5] and sorted(unbroken) == list(range(6))
    assert continued == pytest.approx({step: unbroken[step] for step in continued})
    assert continued[4] > 0.001  # not the end of the shorter one


def test_an_experiment_takes_no_run_of_another_schedule(done, run):
    config = WorkDir(run).config(settings=["schedule.epochs=3"])
    with pytest.raises(RuntimeError, match=r"another config .schedule.epochs: 2, now 3"):
        run_jobs([Job("one", config, WorkDir(run))], Reporter())
