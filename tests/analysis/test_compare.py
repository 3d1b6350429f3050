"""`annotator3d compare` through its door: runs, failures, kills, shares, archive and report."""

from __future__ import annotations

import json
import shutil
import signal
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import Command
from tiny_experiments import write_experiment

from annotator3d.analysis.compare.picks import Pick, dump_picks, parse_picks
from annotator3d.analysis.compare.queries import jaccard
from annotator3d.analysis.compare.results import ComparedRun, Results, read_results
from annotator3d.cli.main import main
from annotator3d.engine.config.experiment import find_experiment
from annotator3d.engine.workdir import WorkDir

pytest.importorskip("statsmodels", reason="the extra `compare` is not installed")

ARMS = {
    "random": {"overrides": {"active.strategy": "random"}},
    "vcd": {"overrides": {"active.strategy": "vcd"}},
    "zero": {"control": True},
}


def compare(file: Path, *more: str) -> int:
    return main(["compare", str(file), "--out", str(file.parent / "out"), "--jobs", "2", *more])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A finished experiment; not to be changed."""
    from kitti_scans import make_kitti_in

    folder = tmp_path_factory.mktemp("compared")
    root = make_kitti_in(folder)(sequences=("00", "01", "02", "03"), scans=2, points=200)
    file = write_experiment(folder, root, arms=ARMS)
    assert compare(file) == 0
    return folder


@pytest.fixture
def copy(world, tmp_path):
    """A copy of it, with its scans where they were."""
    shutil.copytree(world / "configs", tmp_path / "configs")
    shutil.copytree(world / "out", tmp_path / "out", symlinks=True)
    shutil.copy(world / "experiment.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def write(world, tmp_path):
    """Writes an experiment over the same scans into a folder of its own."""
    config = yaml.safe_load((world / "configs" / "al.yaml").read_text())
    root = Path(config["data"]["train"]["root"])
    return lambda **changes: write_experiment(tmp_path, root, **changes)


def report_of(folder: Path) -> dict:
    return json.loads((folder / "out" / "report.json").read_text())


def result_of(folder: Path) -> dict[str, bytes]:
    """What each run measured and asked; all that does not depend on the clock."""
    with zipfile.ZipFile(folder / "out" / "results.zip") as archive:
        names = [n for n in archive.namelist() if n.endswith(("metrics.jsonl", "picks.jsonl"))]
        return {name: archive.read(name) for name in names}


def test_differences_are_those_of_the_runs_on_the_same_seed(world):
    report = report_of(world)
    end = {}
    for task, arm in (("ada", "random"), ("ada", "vcd"), ("ada", "zero")):
        for seed in (0, 1):
            folder = world / "out" / "runs" / task / arm / f"seed-{seed}"
            lines = (folder / "metrics.jsonl").read_text().splitlines()
            end[arm, seed] = json.loads(lines[-1])["miou"]
    found = {each["arm"]: each["paired"]["differences"] for each in report["findings"]}
    for arm in ("vcd", "zero"):
        assert found[arm] == [end[arm, seed] - end["random", seed] for seed in (0, 1)]
    first = [WorkDir(world / "out/runs/ada" / arm / "seed-0").config().init for arm in ARMS]
    assert len(set(first)) == 1 and "source/seed-0" in first[0]


def test_two_pairs_show_nothing_and_the_report_says_so(world):
    report, page = report_of(world), (world / "out" / "report.html").read_text()
    assert not any(each["shown"] for each in report["findings"])
    assert report["findings"][0]["words"].startswith("not shown at 2 pairs")
    assert "nothing can be shown at 5 %, 7 pairs are needed" in page
    assert "vcd is &lt;better&gt; than random" in page  # a bet, as plain text
    for word in ("labelled points", "clicks", "Overlap", "Differences by class", "Holm"):
        assert word in page


def test_costs_are_counted_for_one_and_the_same_run(world):
    results = read_results(world / "out" / "results.zip")
    run = results.runs["ada", "vcd", 0]
    with WorkDir(world / "out/runs/ada/vcd/seed-0").ledger() as ledger:
        classes = [len(set(a.labels.tolist()) - {255}) for _, a in ledger.responses()]
    voxels, _ = run.curve("voxels")
    # Two rounds of one voxel in each of the four scans of the pool.
    assert voxels.tolist() == [4, 8] and len(classes) == 8
    clicks, scores = run.curve("clicks")
    expected = [1 if n < 2 else n + 1 for n in classes]
    assert clicks.tolist() == [sum(expected[:4]), sum(expected)]
    seconds, _ = run.curve("seconds")
    assert seconds[-1] == sum(2 + 1.5 * n + (c - 1) for n, c in zip(classes, expected, strict=True))
    points, _ = run.curve("labelled_points")
    assert points.tolist() == [e.labelled_points for e in run.run.evaluations]
    assert scores[-1] == run.run.final.miou


def test_an_area_is_over_the_budgets_that_the_two_arms_cover(world, monkeypatch):
    """A third arm with budgets of its own, far from theirs, changes nothing."""
    curves = {"random": ([1, 3], [10, 20]), "vcd": ([2, 4], [30, 40]), "far": ([90, 99], [1, 1])}

    class Stub:
        def __init__(self, arm):
            self.curve = lambda axis: tuple(map(np.array, curves[arm]))

    monkeypatch.setattr(Results, "asking", lambda self, task: list(curves))
    monkeypatch.setattr(Results, "of", lambda self, task, arm: {0: Stub(arm)})
    results = read_results(world / "out" / "results.zip")
    assert results.budget_range("ada", "voxels") is None
    # from 2 to 3 voxels: 15 to 20 against 30 to 35
    found = results.differences("area", "ada", "vcd", "random", "voxels")
    assert found == {0: pytest.approx(15.0)}


def test_the_archive_gives_the_same_report_without_the_runs(world, tmp_path):
    archive = shutil.copy(world / "out" / "results.zip", tmp_path / "results.zip")
    assert main(["compare", "--from", str(archive), "--out", str(tmp_path / "again")]) == 0
    for name in ("report.html", "report.json"):
        assert (tmp_path / "again" / name).read_bytes() == (world / "out" / name).read_bytes()


def test_the_same_command_again_trains_nothing_and_writes_the_same_bytes(copy):
    # The copied runs name the checkpoints of where they were trained: report only.
    before = (copy / "out" / "results.zip").read_bytes()
    (copy / "out" / "results.zip").unlink()
    assert compare(copy / "experiment.yaml", "--report-only") == 0
    assert (copy / "out" / "results.zip").read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:200], "expected the results.zip of a comparison"),
        (lambda data: b"PK\x05\x06" + bytes(18), "there is no manifest.json in it"),
    ],
)
def test_a_damaged_archive_is_refused_in_words(world, tmp_path, capsys, damage, words):
    path = tmp_path / "results.zip"
    path.write_bytes(damage((world / "out" / "results.zip").read_bytes()))
    assert main(["compare", "--from", str(path), "--out", str(tmp_path / "o")]) == 1
    assert words in capsys.readouterr().err


def test_an_archive_with_a_line_that_is_no_pick_names_it(world, tmp_path, capsys):
    path, name = tmp_path / "results.zip", "runs/ada/vcd/seed-1/picks.jsonl"
    with zipfile.ZipFile(world / "out/results.zip") as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, b"{}\n" if entry == name else old.read(entry))
    assert main(["compare", "--from", str(path), "--out", str(tmp_path / "o")]) == 1
    assert f"{name}, line 1: damaged" in capsys.readouterr().err


def test_an_arm_that_fails_is_named_and_the_others_go_on(write, capsys):
    bad = {"overrides": {"data.train.sequences": ["77"]}}
    file = write(arms={**ARMS, "bad": bad}, pairs=1)
    assert compare(file) == 1
    assert "failed: ada/bad/seed-0: data.train: sequence '77'" in capsys.readouterr().out
    report, page = report_of(file.parent), (file.parent / "out/report.html").read_text()
    states = {(run["arm"], run["state"]) for run in report["runs"]}
    assert states == {
        (None, "done"), ("random", "done"), ("vcd", "done"), ("zero", "done"), ("bad", "failed")
    }  # fmt: skip
    assert "has no folder" in page and "no whole pair" in page
    assert report["wins"]["ada"]["arms"] == ["random", "vcd"]  # the one that failed beat nobody


def test_what_starts_from_a_run_that_failed_fails_with_it(write, capsys):
    tasks = {
        "source": {
            "config": "configs/source.yaml",
            "overrides": {"data.source.sequences": ["77"]},
        },
        "ada": {"config": "configs/ada.yaml", "starts_from": "source"},
        "al": {"config": "configs/al.yaml"},
    }
    file = write(tasks=tasks, pairs=1)
    assert compare(file) == 1
    assert "ada/vcd/seed-0: it starts from source/seed-0, which failed" in capsys.readouterr().out
    done = [r["task"] for r in report_of(file.parent)["runs"] if r["state"] == "done"]
    assert done == ["al", "al"]


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_if_it_had_not_been(world, write, tmp_path):
    file = write(arms=ARMS)
    arguments = ["compare", str(file), "--out", str(tmp_path / "out"), "--jobs", "2"]
    for name in ("source/seed-0", "ada/random/seed-0", "ada/vcd/seed-1"):
        command = Command(arguments, tmp_path / "log")
        checkpoint = tmp_path / "out" / "runs" / name / "checkpoints" / "epoch_1.pth"
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and command.poll() is None:
            assert time.monotonic() < deadline, command.output
            time.sleep(0.005)
        command.kill()
        command.wait(60)
    assert compare(file) == 0
    assert result_of(tmp_path) == result_of(world)


def test_a_scheduler_that_stops_it_is_answered_in_words(write, tmp_path):
    file = write(arms=ARMS, pairs=1)
    arguments = ["compare", str(file), "--out", str(tmp_path / "out"), "--jobs", "2"]
    command = Command(arguments, tmp_path / "log")
    deadline = time.monotonic() + 120
    while not (tmp_path / "out" / "runs").exists() and command.poll() is None:
        assert time.monotonic() < deadline, command.output
        time.sleep(0.005)
    command.send_signal(signal.SIGTERM)
    assert command.wait(60) == 128 + signal.SIGTERM, command.output
    assert "stopped by signal 15; runs that have ended and checkpoints are kept" in command.output
    assert "the same command continues" in command.output and "Traceback" not in command.output


@pytest.mark.slow
def test_shares_side_by_side_do_all_runs_once(world, write, tmp_path):
    file = write(arms=ARMS)
    shares = [
        Command(
            ["compare", str(file), "--out", str(tmp_path / "out"), "--jobs", "1"]
            + ["--task-index", str(index), "--task-count", "2"],
            tmp_path / f"log{index}",
        )
        for index in (0, 1)
    ]
    assert [share.wait(200) for share in shares] == [0, 0], [s.output for s in shares]
    assert not (tmp_path / "out" / "report.html").exists()
    assert compare(file, "--report-only") == 0
    assert result_of(tmp_path) == result_of(world)


def test_a_changed_file_is_refused_unless_it_is_said(copy, capsys):
    values = yaml.safe_load((copy / "experiment.yaml").read_text())
    (copy / "experiment.yaml").write_text(yaml.safe_dump({**values, "pairs": 1, "bets": []}))
    assert compare(copy / "experiment.yaml", "--report-only") == 2
    assert "other bets, pairs. Comparisons are planned before" in capsys.readouterr().err
    assert compare(copy / "experiment.yaml", "--report-only", "--amend") == 0
    assert report_of(copy)["amendments"][0]["keys"] == ["bets", "pairs"]
    assert report_of(copy)["amendments"][0]["ended"] == 4
    assert "was changed after the first run" in (copy / "out" / "report.html").read_text()
    assert compare(copy / "experiment.yaml", "--report-only") == 0


@pytest.mark.slow
def test_a_sequential_experiment_stops_arms_that_are_decided(write, monkeypatch):
    from annotator3d.analysis.compare import results

    # No tiny network is better than another: what decides is made up here, by the arm.
    plain = results.ComparedRun.end.fget

    def end(run):
        better = 20.0 if run.run.strategy == "vcd" else 0.0
        return plain(run) * 1e-3 + better * (1 + run.run.seed * 1e-3)

    monkeypatch.setattr(results.ComparedRun, "end", property(end))
    arms = {**ARMS, "alike": {"overrides": {"active.strategy": "random", "active.stride": 2}}}
    arms.pop("zero")
    tasks = {"al": {"config": "configs/al.yaml", "overrides": {"schedule.epochs": 2}}}
    file = write(
        arms=arms, tasks=tasks, pairs=None, sequential={"group": 4, "looks": 3}, first_seed=5
    )
    assert compare(file) == 0
    report = report_of(file.parent)
    shown = {each["arm"]: [look["shown"] for look in each["looks"]] for each in report["findings"]}
    # Level 0.025: two of 256 signs are at most 2/3 of it, two of 16 are not.
    assert shown == {"vcd": [False, True], "alike": [False, False, False]}
    seeds = {arm: [r["seed"] for r in report["runs"] if r["arm"] == arm and r["state"] == "done"]
             for arm in arms}  # fmt: skip
    assert seeds == {
        "vcd": list(range(5, 13)),
        "random": list(range(5, 17)),
        "alike": list(range(5, 17)),
    }


@pytest.mark.slow
def test_the_example_runs_at_tiny_size(tmp_path, monkeypatch):
    monkeypatch.setenv("ANNOTATOR3D_CACHE", str(tmp_path / "cache"))
    values = yaml.safe_load(find_experiment("experiments/streets_demo").read_text())
    values |= {"pairs": 2, "calibrate": {"arm": "random", "splits": 100}}
    values["overrides"] = {
        "schedule": {"epochs": 3, "source_until": 3},
        "active.rounds_at": [0, 1],
        "data.source": {"sequences": 1, "scans": 2},
        "data.train": {"sequences": 1, "scans": 2},
        "data.val": {"sequences": 1, "scans": 1},
        "model.backbone.planes": [4, 4, 4],
    }
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    assert compare(file) == 0
    report = report_of(tmp_path)
    tested = [(each["task"], each["arm"]) for each in report["findings"]]
    assert tested == [
        ("ada", "vcd"), ("asfda", "vcd"), ("ada", "entropy"), ("ada", "zero-label"),
        ("mean of the tasks", "vcd"),
    ]  # fmt: skip
    mean = np.mean([each["paired"]["differences"] for each in report["findings"][:2]], axis=0)
    assert report["findings"][-1]["paired"]["differences"] == pytest.approx(mean.tolist())
    assert report["calibration"]["ada"]["runs"] == 4  # two pairs, and two other seeds
    assert len(report["pool"]["ada"]) == len(report["runs"][0]["iou_per_class"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "simulated" in page and "Calibration" in page


def test_our_published_calibration_is_reported_from_its_archive(tmp_path):
    archive = Path(__file__).parents[2] / "docs/experiments/questions_streets_aa.zip"
    assert main(["compare", "--from", str(archive), "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    alarms = {task: found["alarms"] for task, found in report["calibration"].items()}
    assert alarms == {"al": 41, "asfda": 47, "ada": 52}  # as docs/results.md has them
    page = (tmp_path / "report.html").read_text()
    assert "False alarms" in page and "10 seeds more to calibrate" in page
    assert "What is shown" not in page and "Other measures" not in page  # nothing is compared


PLUGIN = """
from annotator3d.active.strategies import RandomSampling
from annotator3d.registry import STRATEGIES


@STRATEGIES.register_module("mine")
class Mine(RandomSampling):
    pass
"""


@pytest.mark.slow
def test_a_strategy_of_your_own_is_an_arm_after_a_yes(write, tmp_path):
    tasks = {"mine": {"config": "configs/mine.yaml"}}
    arms = {"random": ARMS["random"], "mine": {"overrides": {"active.strategy": "mine"}}}
    file = write(tasks=tasks, arms=arms, pairs=1)
    values = yaml.safe_load((tmp_path / "configs" / "al.yaml").read_text())
    values["custom_imports"] = {"imports": ["mine_strategy.py"]}
    (tmp_path / "configs" / "mine.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "configs" / "mine_strategy.py").write_text(PLUGIN)
    arguments = ["compare", str(file), "--out", str(tmp_path / "out"), "--jobs", "2"]
    refused = Command(arguments, tmp_path / "log0")
    assert refused.wait(60) == 2 and "Nobody has said yes" in refused.output
    trusted = Command([*arguments, "--trust"], tmp_path / "log1")
    assert trusted.wait(120) == 0, trusted.output
    states = {run["arm"]: run["state"] for run in report_of(tmp_path)["runs"]}
    assert states == {"random": "done", "mine": "done"}


def test_an_experiment_without_any_ended_run_has_no_report(write, capsys):
    assert compare(write(), "--report-only") == 1
    assert "no run has ended yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected either an experiment file or --from"),
        (["--from", "results.zip"], "--out: where shall the report of the archive go"),
        (["x.yaml", "--jobs", "0"], "--jobs: expected at least 1"),
        (["x.yaml", "--task-count", "3"], "--task-index and --task-count belong together"),
        (["x.yaml", "--task-index", "3", "--task-count", "3"], "expected 0 to 2, got 3"),
        (["x.yaml"], "no experiment file x.yaml"),
    ],
)
def test_wrong_usage_is_said_in_words(capsys, arguments, words):
    assert main(["compare", *arguments]) == 2
    assert words in capsys.readouterr().err


def pick(scan: str, *cell: int, clicks: int | None = None) -> Pick:
    return Pick(1, scan, cell, 9, {0: 4, 3: 5}, clicks, None)


def test_picks_are_read_back_as_they_were_written():
    picks = [pick("00/1", -1, 2, 3), pick("00/2", 0, 0, 0, clicks=4)]
    assert parse_picks(dump_picks(picks), "x") == picks
    assert [each.clicks for each in picks] == [3, 4]


def test_the_overlap_of_two_query_sets_is_their_jaccard_index():
    one = (pick("a", 0, 0, 0), pick("a", 0, 0, 1), pick("b", 0, 0, 0))
    other = (pick("a", 0, 0, 1), pick("b", 0, 0, 0), pick("c", 0, 0, 0))
    assert jaccard(ComparedRun(None, one), ComparedRun(None, other)) == 2 / 4
    assert jaccard(ComparedRun(None, ()), ComparedRun(None, ())) == 0.0
