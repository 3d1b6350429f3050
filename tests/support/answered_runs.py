"""A tiny run that waits for a person, with most of its queries answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from kitti_scans import make_kitti_in
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config
from annotator3d.ledger.ledger import Ledger


def make_answered(folder: Path) -> Path:
    """``folder/run`` with seven of eight queries answered; ``folder/tiny.yaml`` is its config."""
    root = make_kitti_in(folder)(sequences=("00", "01", "02"), scans=1, points=200)
    asked = {"oracle": "person", "strategy": "random", "queries_per_scan": 4}
    (folder / "tiny.yaml").write_text(dump_config(tiny_config(root, active=asked)))
    command = ["train", str(folder / "tiny.yaml"), "--work-dir", str(folder / "run")]
    assert main(command) == 0
    with Ledger.open_existing(folder / "run/ledger.sqlite") as ledger:
        for query in ledger.open_queries()[:-1]:
            labels = np.arange(query.num_points) % 3
            ledger.answer(query.id, labels, annotator="ann", seconds=2.5, clicks=3)
        ledger.undo(1, annotator="ann")
        ledger.answer(1, [2] * ledger.query(1).num_points, annotator="ann")
        ledger.close_rounds([1], annotator="lead")
    return folder
