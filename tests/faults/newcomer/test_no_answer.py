"""A round from which nothing can be learnt: it is said, and the next one is drawn as the first."""

from __future__ import annotations

from pathlib import Path

import pytest
from kitti_scans import make_kitti_in
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.engine.build import build_model
from annotator3d.engine.config.load import dump_config
from annotator3d.ledger.ledger import Ledger

WARNING = "warning: no point has a class"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return make_kitti_in(tmp_path_factory.mktemp("k"))(sequences=("00", "02", "03"), scans=2)


def begin(root: Path, folder: Path, setting: str = "al", **changes) -> list[str]:
    """A run that waits for the answers of round 1; its command."""
    active = {"rounds_at": [0, 1, 2], "oracle": "person", **changes}
    config = tiny_config(root, setting, schedule={"epochs": 3}, active=active)
    config.data.train["sequences"] = ["00"]
    if setting != "al":
        import torch

        torch.save({"state_dict": build_model(config, 19).state_dict()}, folder / "source.pth")
        config.init = str(folder / "source.pth")
    (folder / "config.yaml").write_text(dump_config(config))
    command = ["train", str(folder / "config.yaml"), "--work-dir", str(folder / "run")]
    assert main(command) == 0
    return [*command, "--resume"]


def settle(folder: Path, how: str) -> None:
    """Let the open queries of the last round be `how`."""
    if how in ("closed", "released"):
        options = ["--release"] if how == "released" else []
        assert main(["round", "close", str(folder / "run"), *options]) == 0
        return
    with Ledger.open_existing(folder / "run/ledger.sqlite") as ledger:
        for query in ledger.open_queries():
            if how == "answered":
                ledger.answer(query.id, [1] * query.num_points, annotator="ann")
            else:
                getattr(ledger, how)(query.id, annotator="ann")


def strategies(folder: Path) -> list[str]:
    with Ledger.read(folder / "run/ledger.sqlite") as ledger:
        return [entry.strategy for entry in ledger.rounds()]


@pytest.mark.parametrize("how", ["closed", "released", "skip", "unsure", "ignore"])
def test_it_is_said_and_the_next_round_is_drawn_again(root, tmp_path, capsys, how):
    command = begin(root, tmp_path)
    capsys.readouterr()
    settle(tmp_path, how)
    if how in ("closed", "released"):
        assert WARNING in capsys.readouterr().out
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"{WARNING} from the answers up to round 1" in said
    assert "round 2: no point has a class yet, so it is selected as round 1 was" in said
    assert strategies(tmp_path) == ["random", "random"]


def test_the_strategy_begins_with_the_first_label(root, tmp_path, capsys):
    command = begin(root, tmp_path)
    settle(tmp_path, "closed")
    assert main(command) == 0
    settle(tmp_path, "answered")  # those of round 1, too, late
    capsys.readouterr()
    assert main(command) == 0
    assert WARNING not in capsys.readouterr().out
    assert strategies(tmp_path) == ["random", "random", "vcd"]
    for path in (tmp_path / "run/checkpoints").iterdir():
        path.unlink()
    assert main(command) == 0  # the rounds of the ledger are taken as they were asked
    assert strategies(tmp_path) == ["random", "random", "vcd"]


def test_answers_that_teach_something_are_not_warned_of(root, tmp_path, capsys):
    command = begin(root, tmp_path)
    settle(tmp_path, "answered")
    assert main(command) == 0
    assert WARNING not in capsys.readouterr().out
    assert strategies(tmp_path) == ["random", "vcd"]


def test_a_strategy_that_scores_the_first_round_scores_the_next(root, tmp_path, capsys):
    command = begin(root, tmp_path, first_round="self")
    settle(tmp_path, "closed")
    assert main(command) == 0
    assert WARNING in capsys.readouterr().out
    assert strategies(tmp_path) == ["vcd", "vcd"]


@pytest.mark.parametrize(("setting", "words"), [("asfda", "learnt from them."), ("ada", "source")])
def test_a_network_of_the_source_has_something_to_go_by(root, tmp_path, capsys, setting, words):
    command = begin(root, tmp_path, setting)
    settle(tmp_path, "closed")
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr().out
    assert WARNING in said and words in said
    assert strategies(tmp_path) == ["vcd", "vcd"]
