"""Strategies joined by ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from annotator3d.active.evidence import LABELLED, POOL, VIEWS, Given, Moment
from annotator3d.active.strategies import get_strategy
from annotator3d.active.strategies.hybrid import ranks
from annotator3d.engine.config.load import make_config
from annotator3d.errors import ConfigError


@given(st.lists(st.integers(-3, 3)))
def test_the_rank_is_one_more_than_the_number_of_higher_ones(values):
    found = ranks(torch.tensor(values, dtype=torch.float64)).tolist()
    assert found == [1 + sum(other > value for other in values) for value in values]


def scan(points=200, classes=4, seed=0):
    random = np.random.default_rng(seed)
    xyz = random.uniform(0, 4, (points, 3)).astype(np.float32)
    return xyz, torch.from_numpy(random.normal(0, 2, (points, classes)).astype(np.float32))


def utilities(table, xyz, logits) -> dict:
    strategy = get_strategy(table, voxel_size=1.0)
    found = strategy.select(xyz, logits, batch_size=10_000, num_classes=logits.shape[1])
    return {pick.cell: pick.utility for pick in found.picks}


@pytest.mark.parametrize(
    "parts",
    [
        {"vcd": 2, "margin_min": 0.5},
        [{"type": "vcd", "weight": 2}, {"type": "margin_min", "weight": 0.5}],
    ],
)
def test_ranks_are_added_by_weight(parts):
    xyz, logits = scan()
    vcd, margin = utilities("vcd", xyz, logits), utilities("margin_min", xyz, logits)

    def rank(of: dict, cell) -> int:
        return 1 + sum(value > of[cell] for value in of.values())

    expected = {c: 2 / (60 + rank(vcd, c)) + 0.5 / (60 + rank(margin, c)) for c in vcd}
    assert utilities({"type": "hybrid", "parts": parts}, xyz, logits) == pytest.approx(expected)


def test_keywords_of_a_part_reach_it():
    xyz, logits = scan(60)
    alone = utilities({"type": "impurity", "neighbourhood": 3}, xyz, logits)
    parts = [{"type": "impurity", "neighbourhood": 3}]
    joined = utilities({"type": "hybrid", "parts": parts}, xyz, logits)
    assert joined == pytest.approx(
        {c: 1 / (61 + sum(v > alone[c] for v in alone.values())) for c in alone}
    )


def test_the_needs_are_those_of_all_parts():
    joined = get_strategy({"type": "hybrid", "parts": {"ensemble": 1, "class_inverse": 1}})
    assert joined.needs == (VIEWS, POOL, LABELLED) and joined.needs_model
    controls = get_strategy(
        {"type": "hybrid", "parts": {"crowded_random": 1, "geometry_random": 1}}
    )
    assert controls.needs == () and not controls.needs_model
    assert get_strategy({"type": "hybrid", "parts": {"vcd": 1, "crowded_random": 1}}).only_classes
    assert not get_strategy("hybrid").only_classes and not get_strategy("hybrid").asks_for_more


def test_each_part_gets_its_own_view_of_the_pool():
    xyz, logits = scan()
    strategy = get_strategy(
        {"type": "hybrid", "parts": {"vcd": 1, "class_inverse": 1}}, voxel_size=1.0
    )
    before = Given(pool=(), labelled=np.zeros(4, np.int64))
    seen = strategy.evidence(xyz, logits, None, 4, "0/0", before)
    pool = strategy.conclude({"0/0": strategy.observe(seen)}, Moment())
    assert pool[0] is None and pool[1].sum() == len(xyz)
    after = Given(pool=pool, labelled=np.zeros(4, np.int64))
    seen = strategy.evidence(xyz, logits, None, 4, "0/0", after)
    assert len(strategy.score(seen)) == len(seen.voxels)


def test_what_a_part_says_of_the_pool_is_passed_on():
    xyz, _ = scan()
    parts = {"crowded_random": 1, "typiclust": 1}
    strategy = get_strategy({"type": "hybrid", "parts": parts}, voxel_size=1.0)
    given = Given(pool=(), moment=Moment(budget=3, scans=1, per_scan=3))
    seen = strategy.evidence(xyz, None, None, 4, "0/0", given)
    pool = strategy.conclude({"0/0": strategy.observe(seen)}, given.moment)
    assert strategy.remark(pool).startswith("typiclust: chosen among")
    assert get_strategy("hybrid").remark(None) is None


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({}, "parts: expected"),
        ([], "parts: expected"),
        ({"vdc": 1.0}, "unknown strategy 'vdc'.*'vcd'"),
        ({"vcd": 0.0}, "parts: expected weights above 0, got 0.0"),
        ([{"weight": 1.0}], "the key 'type'"),
        ([{"type": "vcd", "voxel_size": 1.0}], "parts: all parts have the same voxel_size"),
        ([{"type": "impurity", "neighbors": 3}], "no keyword 'neighbors'.*'neighbourhood'"),
    ],
)
def test_parts_that_make_no_sense_are_refused_with_the_config(parts, words):
    with pytest.raises(ConfigError, match=words):
        make_config({"active": {"strategy": {"type": "hybrid", "parts": parts}}})
