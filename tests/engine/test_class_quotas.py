"""Quotas of predicted classes, through a training: where something is predicted, and where not."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_runs import tiny_config

from annotator3d.active.strategies import QueryStrategy, get_strategy
from annotator3d.engine.run import train
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)


def test_a_round_without_predictions_has_no_quotas_and_says_so(root, tmp_path):
    train(tiny_config(root, active={"class_quota": 0.5}), tmp_path / "al")
    with WorkDir(tmp_path / "al").ledger() as ledger:
        assert [ledger.spent(number) for number in (1, 2, 3)] == [4, 4, 4]
        decisions = [ledger.round_decision(number) for number in (1, 2, 3)]
    assert "nothing is predicted yet" in decisions[0]
    assert not any("nothing is predicted" in (words or "") for words in decisions[1:])


def test_quotas_of_a_strategy_that_has_its_own_are_refused(root):
    with pytest.raises(ConfigError, match="class_random has quotas of its own"):
        tiny_config(root, active={"class_quota": 0.5, "strategy": "class_random"})


def test_one_scan_is_no_round_for_a_stratified_strategy():
    xyz = np.zeros((4, 3), np.float32)
    with pytest.raises(ValueError, match="Run.select"):
        get_strategy("class_random").query(xyz, np.zeros((4, 3), np.float32))


@pytest.mark.parametrize("needs", [("featurs",), "features"])
def test_a_need_that_does_not_exist_is_named_when_the_class_is_made(needs):
    with pytest.raises(TypeError, match="needs must be a tuple of features"):
        type("Wrong", (QueryStrategy,), {"needs": needs})
