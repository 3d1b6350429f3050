"""A person answers some of a round: training waits, or goes on with what there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from distributed_runs import command
from processes import run_ranks
from tiny_runs import tiny_config

from annotator3d.active.stored_predictions import StoredPredictions
from annotator3d.cli import main as cli
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.engine.config.load import dump_config
from annotator3d.ledger.closing import CloseResult
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.records import Answer


@pytest.fixture
def case(make_kitti, tmp_path):
    """Work directory and command of a run that a person answers: 4 voxels a round, 2 rounds."""
    root = make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=200)
    config = tiny_config(root, active={"oracle": "person", "rounds_at": [0, 1]})
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    work_dir = tmp_path / "al"
    return work_dir, ["train", str(path), "--work-dir", str(work_dir), "--resume"]


def opened(work_dir: Path) -> Ledger:
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        names, digest, size = ledger.taxonomy_names, ledger.taxonomy_digest, ledger.voxel_size
    return Ledger.open(work_dir / "ledger.sqlite", names, digest, size)


def answer(work_dir: Path, count: int, label: int = 0) -> None:
    with opened(work_dir) as ledger:
        for query in ledger.open_queries()[:count]:
            ledger.answer(query.id, np.full(query.num_points, label, np.uint8), annotator="test")


def labelled_scans(work_dir: Path) -> int:
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        return len(ledger.labels_by_scan())


def test_a_run_waits_says_so_and_goes_on_when_its_rounds_are_closed(case, capsys):
    work_dir, train = case
    assert cli.main(train) == 0
    said = capsys.readouterr().out
    assert f"annotator3d label {work_dir}" in said and "round 1: 4 of 4 voxels wait" in said
    assert json.loads((work_dir / "run.json").read_text())["state"] == "waiting"

    answer(work_dir, 1)
    assert cli.main(train) == 0
    assert "round 1: 3 of 4 voxels wait" in capsys.readouterr().out
    assert cli.main(["round", "close", str(work_dir)]) == 0
    assert "round 1 is closed: 1 of 4 voxels answered, 3 stay open" in capsys.readouterr().out

    assert cli.main(train) == 0  # one epoch, then the second round is selected and waits
    said = capsys.readouterr().out
    assert "round 2: 4 of 4 voxels wait" in said and "kept for the viewer" in said
    assert (work_dir / "checkpoints" / "epoch_1.pth").exists()
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        asked = [(q.scan, q.cell) for q in ledger.queries()]
        assert len(asked) == len(set(asked)) == 8  # what stays open is not asked again
    assert cli.main(["round", "close", str(work_dir)]) == 0
    assert cli.main(train) == 0
    assert json.loads((work_dir / "run.json").read_text())["state"] == "done"
    assert labelled_scans(work_dir) == 1


def test_a_run_that_waits_has_saved_what_it_trained(make_kitti, tmp_path):
    root = make_kitti(sequences=("00", "01", "02"), scans=2, points=200)
    config = tiny_config(
        root, schedule={"checkpoint_every": 4}, active={"oracle": "person", "rounds_at": [0, 2]}
    )
    (tmp_path / "config.yaml").write_text(dump_config(config))
    work_dir = tmp_path / "al"
    train = ["train", str(tmp_path / "config.yaml"), "--work-dir", str(work_dir), "--resume"]
    assert cli.main(train) == 0
    answer(work_dir, 4)
    assert cli.main(train) == 0  # two epochs, then the second round waits
    assert [p.name for p in (work_dir / "checkpoints").iterdir()] == ["epoch_2.pth"]


def test_the_viewer_gets_a_small_file_that_fits_a_scan_with_faulty_points(case):
    work_dir, train = case
    config = yaml.safe_load(Path(train[1]).read_text())
    root = Path(config["data"]["train"]["root"])
    path = root / "sequences" / "00" / "velodyne" / "000000.bin"
    points = np.random.default_rng(0).uniform(-20, 20, (5000, 4)).astype("<f4")
    points[[0, 7, 8, 4999], 1] = np.nan
    points.tofile(path)
    np.zeros(5000, "<u4").tofile(root / "sequences" / "00" / "labels" / "000000.label")
    assert cli.main([*train, "--set", "active.first_round=self"]) == 0
    scan = SemanticKITTI(root, ["00"]).read(0)
    stored = StoredPredictions(work_dir / "rounds")(1, scan)
    assert len(scan) == 4996 and (stored.classes < 19).all() and np.isfinite(stored.score).all()
    assert (work_dir / "rounds" / "1" / "00_000000.npz").stat().st_size < 3 * 5000


def test_released_queries_are_not_spent_and_may_be_asked_again(case, capsys):
    work_dir, train = case
    assert cli.main(train) == 0
    answer(work_dir, 3)
    assert cli.main(["round", "close", str(work_dir), "--release"]) == 0
    assert "3 of 3 voxels answered, 1 released, none stays open" in capsys.readouterr().out
    assert cli.main(train) == 0
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        assert (ledger.spent(1), ledger.spent(2)) == (3, 4)
        assert ledger.open_queries(1) == []


def test_what_somebody_has_worked_on_is_not_given_back(case):
    work_dir, train = case
    assert cli.main(train) == 0
    with opened(work_dir) as ledger:
        undone, *_ = ledger.open_queries()
        ledger.skip(undone.id, annotator="test")
        ledger.undo(undone.id, annotator="test")
        closed = ledger.close_rounds([1], annotator="test", release=True)[0]
        assert closed == CloseResult(round=1, asked=1, answered=0, open=1, released=3)
        assert ledger.is_closed(1) and not ledger.is_closed(2)
        again = ledger.close_rounds([1], annotator="test", release=True)[0]
        assert again.released == 0 and again.open == 1


def test_an_answer_that_comes_after_the_closing_counts_from_the_next_epoch(case):
    work_dir, train = case
    assert cli.main(train) == 0
    assert cli.main(["round", "close", str(work_dir)]) == 0
    assert cli.main(train) == 0
    answer(work_dir, 8)
    assert cli.main(train) == 0
    assert json.loads((work_dir / "run.json").read_text())["state"] == "done"
    lines = list(map(json.loads, (work_dir / "metrics.jsonl").read_text().splitlines()))
    assert lines[-1]["labelled_points"] > 0 and labelled_scans(work_dir) == 4


def test_a_skipped_query_does_not_wait(case, capsys):
    work_dir, train = case
    assert cli.main(train) == 0
    with opened(work_dir) as ledger:
        for query in ledger.open_queries():
            ledger.record(query.id, Answer("unsure", annotator="test"))
    assert cli.main(train) == 0
    assert "round 2: 4 of 4 voxels wait" in capsys.readouterr().out


def test_status_lists_the_rounds(case, capsys):
    work_dir, train = case
    assert cli.main(train) == 0
    answer(work_dir, 1)
    capsys.readouterr()
    assert cli.main(["round", "status", str(work_dir)]) == 0
    assert "round 1 (random): 1 of 4 voxels answered, 3 open, waits" in capsys.readouterr().out
    assert cli.main(["round", "close", str(work_dir)]) == 0
    assert cli.main(["round", "status", str(work_dir)]) == 0
    assert "1 of 4 voxels answered, 3 open, closed" in capsys.readouterr().out
    assert cli.main(["round", "close", str(work_dir)]) == 0
    assert "there is nothing to close" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["close", "{}", "--round", "7"], "there is no round 7 to close", 1),
        (["close", "{}/other"], "there is no ledger", 1),
        (["status", "{}", "--release"], "belongs to round close", 2),
        (["status", "{}", "--round", "7"], "has no round 7", 2),
    ],
)
def test_wrong_use_is_said(case, capsys, arguments, words, code):
    work_dir, train = case
    assert cli.main(train) == 0
    assert cli.main(["round", *(text.format(work_dir) for text in arguments)]) == code
    assert words in capsys.readouterr().err


def test_several_processes_wait_and_go_on_together(case, tmp_path, capsys):
    work_dir, train = case
    log = tmp_path / "log"
    assert run_ranks(2, command, *train, log=log) == [0, 0]
    said = [Path(f"{log}.{rank}").read_text() for rank in range(2)]
    assert "round 1: 4 of 4 voxels wait" in said[0] and "wait" not in said[1]
    answer(work_dir, 2)
    assert cli.main(["round", "close", str(work_dir)]) == 0
    assert run_ranks(2, command, *train, log=log) == [0, 0]
    assert "round 2: 4 of 4 voxels wait" in Path(f"{log}.0").read_text()
