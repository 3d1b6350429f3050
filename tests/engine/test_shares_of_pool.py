"""A round is the same for any number of processes, whatever its strategy asks for."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from strategy_evidence import add_poses
from thread_world import run_ranks

from annotator3d.active.strategies import get_strategy
from annotator3d.data.batch import InputRule
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.engine.config.schema import ActiveConfig
from annotator3d.engine.prediction import strategy_inputs
from annotator3d.engine.rounds.select_round import RoundPlan, select_round
from annotator3d.ledger.ledger import Ledger
from annotator3d.models.segmentor import Segmentor

SMALL = {"type": "MinkUNet", "planes": [4, 4, 8, 8, 4], "blocks": 1}
RULE = InputRule(num_classes=19, voxel_size=1.0)
SCANS = 5
STRATEGIES = {
    "views": "ensemble",
    "the round before": "previous_model",
    "neighbouring scans": "interframe",
    "strata": "class_stratified",
    "the pool and the labels": "class_inverse",
    "all of these": {
        "type": "hybrid",
        "parts": {"ensemble": 1, "previous_model": 1, "interframe": 1, "class_inverse": 1},
    },
    "no network": "geometry_random",
}


@pytest.fixture
def pool(make_kitti):
    root = make_kitti(scans=SCANS, points=300)
    add_poses(root, "00", SCANS)
    return SemanticKITTI(root, ["00"])


@pytest.fixture(scope="module")
def models():
    """Of two rounds."""
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        found.append(Segmentor(SMALL, 19))
    return found


def two_rounds(size, config, pool, models, folder):
    """The ledger after two rounds, the first of which is answered."""
    active = ActiveConfig(strategy=config, queries_per_scan=3, voxel_size=2.0, max_queries=11)
    name, names = active.strategy_name, pool.taxonomy.names
    strategy = get_strategy(config)
    folder.mkdir()

    def work(world):
        ledger = None
        if world.is_first:
            ledger = Ledger.open(folder / "ledger", names, pool.taxonomy.digest(), 2.0)
        for number, model in enumerate(models, start=1):
            own = deepcopy(model)  # what a process scores with is its own

            def scorer(scan, own=own):
                return strategy_inputs(own, scan, RULE, strategy.needs)

            plan = RoundPlan(number, 0, name, 7, "weights", 19, rounds=2)
            needed = scorer if strategy.needs_model else lambda scan: {}
            select_round(ledger, pool, plan, active, needed, folder / "rounds", world=world)
            if ledger is not None and number == 1:
                for query in ledger.open_queries():
                    labels = np.full(query.num_points, query.id % 19, np.uint8)
                    ledger.answer(query.id, labels, annotator="a", seconds=1.0, clicks=1)
        if ledger is not None:
            asked = [(q.round, q.scan, q.cell, q.score) for q in ledger.queries()]
            ledger.close()
            return asked
        return None

    return run_ranks(size, work)


@pytest.mark.parametrize("kind", STRATEGIES)
def test_one_two_and_three_processes_ask_the_same(kind, pool, models, tmp_path):
    found = [
        two_rounds(size, STRATEGIES[kind], pool, models, tmp_path / str(size)) for size in (1, 2, 3)
    ]
    assert [q[0] for q in found[0]].count(1) == [q[0] for q in found[0]].count(2) == 11
    assert len({q[1:3] for q in found[0]}) == 22  # nothing twice
    assert found[1] == found[0] and found[2] == found[0]
