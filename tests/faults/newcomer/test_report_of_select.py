"""`report` writes a page about what `select` has asked, answered or not, without any training."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_runs import tiny_config

import annotator3d as a3d
from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.records import Answer
from annotator3d.ledger.schema import EventKind


@pytest.fixture
def folder(tmp_path, make_kitti):
    config = tiny_config(make_kitti(sequences=("00", "01", "02", "03"), scans=1, points=80))
    (tmp_path / "c.yaml").write_text(dump_config(config))
    line = ["select", str(tmp_path / "c.yaml"), "--work-dir", str(tmp_path / "asked")]
    for _ in range(2):
        assert main([*line, "--set", "active.strategy=random"]) == 0
    return tmp_path / "asked"


def test_the_report_of_rounds_without_training(folder, capsys):
    assert main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text()
    for words in ("SELECT, random, seed 0", "selected", "without training", "Queried voxels"):
        assert words in page
    assert "None" not in page and "epoch 0 of" not in page


def test_answers_stand_in_it(folder):
    with Ledger.open_existing(folder / "ledger.sqlite") as ledger:
        for query in ledger.open_queries(1):
            labels = np.full(query.num_points, 8, np.uint8)
            ledger.record(query.id, Answer(EventKind.ANSWER, labels, annotator="ann"))
    path = a3d.Run.open(folder).report(folder / "own.html")
    page = path.read_text()
    assert "Classes that were asked about" in page and "road" in page


def test_a_folder_without_anything_is_still_named(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / "empty")]) == 1
    assert "expected the work directory of a run" in capsys.readouterr().err
