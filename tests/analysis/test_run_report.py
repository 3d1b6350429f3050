"""The report of one run: finished, waiting, interrupted, or without a single evaluation."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from tiny_runs import tiny_config

from annotator3d.analysis.report.classes_asked import picked_points, pool_classes
from annotator3d.analysis.report.run import state_of
from annotator3d.cli import main as cli
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.engine.rounds.hook import WaitingForOracleError
from annotator3d.engine.run import train
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.ledger import Ledger


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)


def text_of(path):
    """The words of a page, one cell or paragraph a line."""
    page = re.sub(r"<style>.*?</style>|<img[^>]*>", "", path.read_text(), flags=re.S)
    return re.sub(r"\s*(<[^>]+>\s*)+", "\n", page).replace("\N{NO-BREAK SPACE}", " ")


def report(work_dir):
    assert cli.main(["report", str(work_dir)]) == 0
    return text_of(work_dir / "report.html")


def test_a_finished_run_is_reported_with_its_picks_against_the_pool(root, tmp_path):
    train(tiny_config(root), tmp_path / "al")
    text = report(tmp_path / "al")
    assert "\ndone\n" in text and "epoch 4 of 4" in text and "\n12\n" in text
    for heading in ("Budget curves", "Classes that were asked about", "Rounds", "Training"):
        assert f"\n{heading}\n" in text

    # Picks and pool counted independently: over every answer and every label file.
    with Ledger.read(tmp_path / "al" / "ledger.sqlite") as ledger:
        picked = picked_points(ledger, 19)
        answers = [answer.labels for _, answer in ledger.responses()]
    flat = np.concatenate(answers)
    assert picked.shape == (3, 19)
    assert picked.sum(0).tolist() == [int((flat == c).sum()) for c in range(19)]
    pool = SemanticKITTI(root, ["00", "01"])
    labels = np.concatenate([pool.read(i).labels for i in range(4)])
    there = [int((labels == c).sum()) for c in range(19)]
    run_info = json.loads((tmp_path / "al" / "run.json").read_text())
    found = pool_classes(WorkDir(tmp_path / "al"), run_info, lambda done, total: None)
    assert found.points.tolist() == there and (found.scans, found.of) == (4, 4)
    car = text.split("\ncar\n")[1].split("\n")
    assert car[3] == f"{picked[:, 0].sum():,}" and car[5] == f"{100 * there[0] / sum(there):.1f} %"


def test_the_pool_is_read_once(root, tmp_path):
    train(tiny_config(root), tmp_path / "al")
    report(tmp_path / "al")
    for path in (root / "sequences").glob("0[01]/labels/*.label"):
        path.unlink()
    assert "Shares of the pool: 4 of its 4 scans" in report(tmp_path / "al")
    (tmp_path / "al" / "pool_classes.json").unlink()
    assert "The labels of the pool cannot be read here" in report(tmp_path / "al")


def test_a_run_whose_data_are_gone_is_still_reported(root, tmp_path):
    train(tiny_config(root), tmp_path / "al")
    shutil.rmtree(root)
    assert "The labels of the pool cannot be read here" in report(tmp_path / "al")


def test_a_run_that_waits_in_its_first_round_is_reported(root, tmp_path):
    config = tiny_config(root, active={"oracle": "person"})
    with pytest.raises(WaitingForOracleError):
        train(config, tmp_path / "al")
    text = report(tmp_path / "al")
    assert "\nwaiting\n" in text and "4 wait for an answer" in text and "mIoU" not in text


def test_a_run_without_rounds_is_reported(root, tmp_path):
    train(tiny_config(root, "source_only"), tmp_path / "source")
    text = report(tmp_path / "source")
    assert "\ndone\n" in text and "IoU of each class" in text and "Rounds" not in text


def test_a_run_whose_process_is_gone_is_not_said_to_run(root, tmp_path):
    train(tiny_config(root), tmp_path / "al")
    run_info = json.loads((tmp_path / "al" / "run.json").read_text())
    run_info["state"] = "running"  # as a SIGKILL leaves it
    assert state_of(run_info) == "running"  # this process
    assert state_of({**run_info, "pid": 2**22 + 1}) == "interrupted"
    assert state_of({**run_info, "pid": 2**22 + 1, "host": "elsewhere"}) == "running"


def test_a_folder_without_a_run_is_said(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path)]) == 1
    assert "expected the work directory of a run" in capsys.readouterr().err
