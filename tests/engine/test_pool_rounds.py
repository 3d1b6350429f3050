"""Rounds that choose among the whole pool, through the doors that a user takes."""

from __future__ import annotations

import pool_rounds
import pytest
from processes import run_ranks
from tiny_runs import tiny_config

from annotator3d.active.evidence import POOL
from annotator3d.active.strategies import STRATEGIES, get_strategy
from annotator3d.cli import main as cli
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.config.schema import ModelConfig
from annotator3d.engine.run import train
from annotator3d.ledger.ledger import Ledger
from annotator3d.registry import fill

fill(STRATEGIES)
OF_THE_POOL = [n for n in sorted(STRATEGIES.module_dict) if POOL in get_strategy(n).needs]


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)


def write(config, path) -> str:
    path.write_text(dump_config(config))
    return str(path)


def test_any_number_of_processes_chooses_the_same(root, tmp_path):
    limits = {"queries_per_scan": 2, "max_queries": 5}
    path, found = write(tiny_config(root, active=limits), tmp_path / "config.yaml"), []
    for size in (1, 2, 3):
        folder = tmp_path / str(size)
        assert (
            run_ranks(size, pool_rounds.two_rounds, path, folder, OF_THE_POOL, log=tmp_path / "log")
            == [0] * size
        ), (tmp_path / "log.0").read_text()
        found.append({name: (folder / f"{name}.txt").read_text() for name in OF_THE_POOL})
    assert found[0] == found[1] == found[2]
    for name in OF_THE_POOL:
        with Ledger.read(tmp_path / "1" / f"{name}.sqlite") as ledger:
            asked = [(q.scan, q.cell) for q in ledger.queries()]
            assert len(set(asked)) == len(asked) == 10
            for number in (1, 2):
                scans = [q.scan for q in ledger.queries(number)]
                assert max(map(scans.count, scans)) <= 2


@pytest.mark.parametrize("first", ["typiclust", {"type": "probcover", "delta": 0.5}])
def test_a_first_round_without_a_network_looks_at_the_whole_pool(root, tmp_path, first):
    train(tiny_config(root, active={"first_round": first}), tmp_path / "al")
    name = first if isinstance(first, str) else first["type"]
    with Ledger.read(tmp_path / "al" / "ledger.sqlite") as ledger:
        rounds = ledger.rounds()
        assert [(r.strategy, r.source == "none") for r in rounds] == [
            (name, True),
            ("vcd", False),
            ("vcd", False),
        ]
        assert [len(ledger.queries(r)) for r in (1, 2, 3)] == [4, 4, 4]
        assert ledger.round_decision(1).startswith("chosen among ")
        scores = [q.score for q in ledger.queries(1)]
        if name == "typiclust":  # it always finds as many as it may ask
            assert sorted(scores) == [1, 2, 3, 4]


def test_select_by_geometry_needs_no_model(root, tmp_path, capsys):
    path = write(tiny_config(root, active={"strategy": "typiclust"}), tmp_path / "config.yaml")
    assert cli.main(["select", path, "--work-dir", str(tmp_path / "s")]) == 0
    assert "chosen among" in capsys.readouterr().out
    with Ledger.read(tmp_path / "s" / "ledger.sqlite") as ledger:
        assert len(ledger.queries()) == 4


@pytest.mark.parametrize("strategy", ["coreset", "badge"])
def test_features_of_the_network_choose_in_a_run(root, tmp_path, strategy):
    train(tiny_config(root, active={"strategy": strategy, "max_queries": 3}), tmp_path / "al")
    with Ledger.read(tmp_path / "al" / "ledger.sqlite") as ledger:
        assert [r.strategy for r in ledger.rounds()] == ["random", strategy, strategy]
        assert [len(ledger.queries(r)) for r in (1, 2, 3)] == [3, 3, 3]
        for number in (2, 3):
            assert ledger.round_decision(number).startswith("chosen among ")
            assert sorted(q.score for q in ledger.queries(number)) == [1, 2, 3]


@pytest.mark.parametrize("strategy", ["coreset", {"type": "probcover", "space": "features"}])
def test_predictions_in_files_have_no_features(root, tmp_path, capsys, strategy):
    path = write(tiny_config(root, active={"strategy": strategy}), tmp_path / "config.yaml")
    arguments = ["--work-dir", str(tmp_path / "s"), "--predictions", str(tmp_path)]
    assert cli.main(["select", path, *arguments]) == 2
    words = " ".join(capsys.readouterr().err.split())
    assert "needs features, which predictions in files do not have" in words
    assert "--checkpoint" in words and not (tmp_path / "s").exists()


@pytest.mark.parametrize("backbone", ["PolarNet", "SalsaNext"])
def test_a_backbone_without_features_is_named_before_anything_is_trained(
    root, tmp_path, capsys, backbone
):
    config = tiny_config(root, active={"strategy": "coreset"})
    config.model = ModelConfig(backbone={"type": backbone})
    path = write(config, tmp_path / "config.yaml")
    assert cli.main(["train", path, "--work-dir", str(tmp_path / "al")]) == 2
    words = " ".join(capsys.readouterr().err.split())
    assert "active.strategy" in words and "coreset" in words and backbone in words
    assert not (tmp_path / "al").exists()
