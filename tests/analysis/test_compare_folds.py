"""Tasks that are folds of one test: their confusion matrices are added up before the IoU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_experiments import write_experiment

from annotator3d.analysis.compare.folds import pool_folds
from annotator3d.analysis.compare.results import read_results
from annotator3d.cli.main import main

pytest.importorskip("statsmodels", reason="the extra `compare` is not installed")

ARMS = {
    "random": {"overrides": {"active.strategy": "random"}},
    "vcd": {"overrides": {"active.strategy": "vcd"}},
}
FOLDS = {"a": (["00"], ["01"]), "b": (["01"], ["00"])}


def compare(file: Path, *more: str) -> int:
    return main(["compare", str(file), "--out", str(file.parent / "out"), "--jobs", "2", *more])


def tasks() -> dict:
    return {
        f"al-{name}": {
            "config": "configs/al.yaml",
            "overrides": {"data.train.sequences": train, "data.val.sequences": val},
        }
        for name, (train, val) in FOLDS.items()
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A finished experiment whose config does not say where the scans are."""
    from kitti_scans import make_kitti_in

    folder = tmp_path_factory.mktemp("folds")
    root = make_kitti_in(folder)(sequences=("00", "01", "02", "03"), scans=2, points=200)
    file = write_experiment(
        folder, root, tasks=tasks(), arms=ARMS, folds={"al": ["al-a", "al-b"]}, pairs=3
    )
    config = folder / "configs" / "al.yaml"
    values = yaml.safe_load(config.read_text())
    for split in ("train", "val"):
        del values["data"][split]["root"]
    config.write_text(yaml.safe_dump(values))
    assert compare(file, "--data-root", str(root)) == 0
    return folder


def last_line(folder: Path, task: str, arm: str, seed: int) -> dict:
    path = folder / "out/runs" / task / arm / f"seed-{seed}" / "metrics.jsonl"
    return json.loads(path.read_text().splitlines()[-1])


def miou(confusion: np.ndarray) -> float:
    """In percent, class by class, over those in the ground truth."""
    found = []
    for c, row in enumerate(confusion):
        if row.sum():
            found.append(row[c] / (row.sum() + confusion[:, c].sum() - row[c]))
    return 100 * sum(found) / len(found)


def test_the_confusion_of_the_folds_is_added_up(world):
    report = json.loads((world / "out/report.json").read_text())
    (finding,) = report["findings"]
    assert (finding["task"], finding["seeds"]) == ("al", [0, 1, 2])
    ends = {}
    for arm in ARMS:
        for seed in range(3):
            parts = [last_line(world, task, arm, seed) for task in ("al-a", "al-b")]
            ends[arm, seed] = miou(sum(np.array(part["confusion"]) for part in parts))
    expected = [ends["vcd", seed] - ends["random", seed] for seed in range(3)]
    assert finding["paired"]["differences"] == pytest.approx(expected)
    assert {(e["arm"], e["seed"]): e["end"] for e in report["folds"]} == pytest.approx(ends)
    plain = np.mean([last_line(world, task, "vcd", 0)["miou"] for task in ("al-a", "al-b")])
    assert abs(plain - ends["vcd", 0]) > 1e-6  # the mean of the folds is another number


def test_budgets_and_queries_of_the_folds_are_added_up(world):
    report = json.loads((world / "out/report.json").read_text())
    for entry in report["folds"]:
        of = {
            e["task"]: e
            for e in report["runs"]
            if (e["arm"], e["seed"]) == (entry["arm"], entry["seed"])
        }
        for axis in ("voxels", "labelled_points"):
            assert entry["spent"][axis] == sum(of[t]["spent"][axis] for t in ("al-a", "al-b")) > 0
        assert entry["asked"] == [a + b for a, b in zip(*(of[t]["asked"] for t in of), strict=True)]
    page = (world / "out/report.html").read_text()
    assert "Folds, tested as one" in page and "al-a, al-b" in page


def test_a_run_without_a_root_is_refused_before_any_begins(world, tmp_path, capsys):
    file = tmp_path / "experiment.yaml"
    file.write_bytes((world / "experiment.yaml").read_bytes())
    (tmp_path / "configs").symlink_to(world / "configs")
    assert compare(file) == 2
    assert (
        "tasks.al-a: where are the scans of data.train? Pass --data-root" in capsys.readouterr().err
    )
    assert not (tmp_path / "out/runs").exists()
    assert compare(file, "--data-root", str(tmp_path / "nowhere")) == 1
    assert "--data-root: there is no folder" in capsys.readouterr().err
    assert compare(file, "--report-only") == 1
    assert "no run has ended yet" in capsys.readouterr().err
    assert not (tmp_path / "out/results.zip").exists()
    # Nothing was run, so the file may still change.
    values = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**values, "name": "another"}))
    assert compare(file, "--report-only") == 1
    assert "another" in (tmp_path / "out/experiment.yaml").read_text()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folds": {"al": ["al-a"]}}, "folds.al: expected at least two tasks"),
        ({"folds": {"al": ["al-a", "al-c"]}}, "folds.al: unknown 'al-c'"),
        ({"folds": {"al-a": ["al-a", "al-b"]}}, "folds.al-a: there is a task of that name"),
        ({"folds": {"x": ["al-a", "al-b"], "y": ["al-b", "al-a"]}}, "is a fold of x already"),
        (
            {"folds": {"al": ["al-a", "source"]}},
            "expected tasks of one setting, got al, source_only",
        ),
        (
            {
                "folds": {"al": ["al-a", "al-b"]},
                "pairs": None,
                "sequential": {"group": 2, "looks": 2},
            },
            "folds: sequential looks at single tasks",
        ),
    ],
)
def test_folds_that_cannot_be_are_refused(tmp_path, capsys, changes, words):
    both = {**tasks(), "source": {"config": "configs/source.yaml"}}
    file = write_experiment(tmp_path, tmp_path, tasks=both, arms=ARMS, **changes)
    assert compare(file) == 2
    assert words in capsys.readouterr().err


def test_folds_that_were_tested_on_the_same_scans_are_refused(world):
    results = read_results(world / "out/results.zip")
    run = results.runs["al-a", "vcd", 0]
    with pytest.raises(ValueError, match="tested on the same scans, which would count twice"):
        pool_folds([run, run])
