"""Strategies by name and by table, from a config through a training run to its ledger."""

from __future__ import annotations

import pytest
from strategy_evidence import add_poses
from tiny_runs import tiny_config

from annotator3d.cli import main as cli
from annotator3d.engine.config.load import dump_config
from annotator3d.ledger.ledger import Ledger

RUNS = {
    "strata and noise": {"type": "class_stratified", "uncertainty": "impurity"},
    "views, rounds, scans, classes": {
        "type": "hybrid",
        "parts": [
            {"type": "ensemble", "measure": "bald"},
            {"type": "previous_model", "weight": 0.5},
            {"type": "interframe"},
            {"type": "class_inverse", "weight": 2.0},
        ],
    },
}


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_asks_by_a_table_after_a_first_round_without_a_network(kind, make_kitti, tmp_path):
    root = make_kitti(sequences=("00", "01", "02"), scans=2, points=300)
    for sequence in ("00", "01"):
        add_poses(root, sequence, 2)
    active = {"strategy": RUNS[kind], "first_round": "geometry_random", "queries_per_scan": 2}
    config, run = tmp_path / "config.yaml", tmp_path / "run"
    config.write_text(dump_config(tiny_config(root, active=active)))
    assert cli.main(["train", str(config), "--work-dir", str(run)]) == 0
    with Ledger.read(run / "ledger.sqlite") as ledger:
        names = [round.strategy for round in ledger.rounds()]
        asked = [(q.scan, q.cell) for q in ledger.queries()]
        assert [ledger.spent(number) for number in (1, 2, 3)] == [8, 8, 8]
    assert names == ["geometry_random", RUNS[kind]["type"], RUNS[kind]["type"]]
    assert len(set(asked)) == 24


def test_predictions_in_files_have_no_views(make_kitti, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(dump_config(tiny_config(make_kitti(sequences=("00", "01"), scans=1))))
    code = cli.main(
        ["select", str(config), "--work-dir", str(tmp_path / "run"), "--predictions"]
        + [str(tmp_path), "--set", "active.strategy=ensemble"]
    )
    assert code == 2
    assert "strategy ensemble needs views, which predictions in files do not" in (
        " ".join(capsys.readouterr().err.split())
    )
