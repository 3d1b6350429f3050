"""Predictions of all scans of a run, or of those that are named; counted in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kitti_scans import make_kitti_in
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config
from annotator3d.ledger.ledger import Ledger

TRAIN, VAL = {"00/000000", "00/000001", "01/000000", "01/000001"}, {"02/000000", "02/000001"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A trained run; sequence 03 is the source of its config."""
    folder = tmp_path_factory.mktemp("export")
    root = make_kitti_in(folder)(sequences=("00", "01", "02", "03"), scans=2, points=100)
    config = tiny_config(root, schedule={"epochs": 1}, active={"rounds_at": [0]})
    (folder / "config.yaml").write_text(dump_config(config))
    work = folder / "run"
    assert main(["train", str(folder / "config.yaml"), "--work-dir", str(work)]) == 0
    return work


def export(run: Path, out: Path, *options: str, what: str = "predictions") -> int:
    command = ["export", str(run), str(out), "--what", what, "--format", "semantickitti"]
    return main([*command, *options])


def written(out: Path) -> set[str]:
    files = out.rglob("*.label")
    return {f"{path.parts[-3]}/{path.stem}" for path in files}


@pytest.mark.parametrize(
    ("options", "scans", "words"),
    [
        ([], TRAIN | VAL, "6 of 6 scans (4 for training, 2 for validation)"),
        (["--split", "all"], TRAIN | VAL, "6 of 6 scans (4 for training, 2 for validation)"),
        (["--split", "train"], TRAIN, "4 of 4 scans (4 for training)"),
        (["--split", "val"], VAL, "2 of 2 scans (2 for validation)"),
        (["--split", "source"], {"03/000000", "03/000001"}, "2 of 2 scans (2 of the source)"),
        (["--zip"], VAL, "2 of 2 scans (2 for validation)"),
        (["--set", "data.val=null"], TRAIN, "4 of 4 scans (4 for training)"),
    ],
    ids=["default", "all", "train", "val", "source", "zip", "no validation"],
)
def test_the_scans_that_are_written_are_counted(run, tmp_path, capsys, options, scans, words):
    assert export(run, tmp_path / "out", *options) == 0
    assert written(tmp_path / "out") == scans
    said = capsys.readouterr().out
    assert f"predictions of {words} in" in said
    assert f"{100 * len(scans):,} of {100 * len(scans):,} points have a class" in said


def test_a_scan_of_both_splits_is_written_once(run, tmp_path, capsys):
    assert export(run, tmp_path / "out", "--set", 'data.val.sequences=["01","02"]') == 0
    assert written(tmp_path / "out") == TRAIN | VAL
    assert "6 of 6 scans (4 for training, 2 for validation)" in capsys.readouterr().out


def test_two_scans_of_one_name_are_not_written_into_one_file(run, tmp_path, capsys):
    other = make_kitti_in(tmp_path)(sequences=("00",), scans=1, points=50)
    options = ["--set", f"data.val.root={other}", "--set", 'data.val.sequences=["00"]']
    assert export(run, tmp_path / "out", *options, "--split", "train") == 0
    root = str(run.parent / "kitti")
    split = ["--set", f"data.val={{type: SemanticKITTI, root: {other}, sequences: ['00']}}"]
    (run / "run.json").rename(tmp_path / "run.json")  # else the roots are those of the run
    try:
        assert export(run, tmp_path / "two", *split, "--set", f"data.train.root={root}") == 1
    finally:
        (tmp_path / "run.json").rename(run / "run.json")
    assert "would both be written to" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()


def test_answers_are_those_of_the_scans_that_were_asked_about(run, tmp_path, capsys):
    assert export(run, tmp_path / "a", what="answers") == 0
    assert "answers of 4 of 4 scans in" in capsys.readouterr().out
    assert export(run, tmp_path / "b", "--split", "val", what="answers") == 2
    assert "answers are about data.train" in capsys.readouterr().err


def test_a_run_that_a_person_answered_without_validation_scans(tmp_path, capsys):
    scans, run = tmp_path / "scans", tmp_path / "run"
    scans.mkdir()
    random = np.random.default_rng(0)
    for frame in range(3):
        points = np.column_stack([random.uniform(-9, 9, (80, 3)), random.random(80)])
        points.astype("<f4").tofile(scans / f"{frame:06d}.bin")
    (tmp_path / "c.yaml").write_text("classes: [{name: a, ids: [1]}, {name: b, ids: [2]}]\n")
    data = str(tmp_path / "data")
    command = ["import", str(scans), data, "--format", "bin", "--taxonomy"]
    assert main([*command, str(tmp_path / "c.yaml")]) == 0
    settings = ["active.oracle=person", "data.val=null", "schedule.epochs=1", "device=cpu"]
    settings += ["active.rounds_at=[0]", "model.voxel_size=2.0", "active.voxel_size=3.0"]
    train = ["train", "al/own_data", "--data-root", data, "--work-dir", str(run)]
    train += [word for setting in settings for word in ("--set", setting)]
    assert main(train) == 0
    with Ledger.open_existing(run / "ledger.sqlite") as ledger:
        for query in ledger.open_queries():
            ledger.answer(query.id, [1] * query.num_points, annotator="ann")
    assert main([*train, "--resume"]) == 0
    capsys.readouterr()
    command = ["export", str(run), str(tmp_path / "LABELLED"), "--what", "predictions"]
    assert main([*command, "--format", "ply"]) == 0  # as README has it
    assert "predictions of 3 of 3 scans (3 for training)" in capsys.readouterr().out
    assert len(list((tmp_path / "LABELLED").rglob("*.ply"))) == 3
