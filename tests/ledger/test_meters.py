"""Budgets are reported in every unit side by side, from the ledger alone."""

import pytest
from asked import Asked

from annotator3d.ledger.effort import RoundCost, round_cost, round_costs
from annotator3d.ledger.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite", ["x", "y", "z"], "digest") as ledger:
        ledger.register_scan("a", "file", 50)
        yield ledger


def ask(ledger, number, sizes):
    picks = [Asked((number, i, 0), size) for i, size in enumerate(sizes)]
    return [query.id for query in ledger.add_round(number, "vcd", 0, 9, {"a": picks})]


def test_a_round_is_metered_in_voxels_points_clicks_and_seconds(ledger):
    mixed, uniform, void, nothing, passed, _waiting, back = ask(ledger, 1, [4, 2, 3, 2, 6, 5, 9])
    ledger.answer(mixed, [0, 0, 0, 0], annotator="p", seconds=2, clicks=1)
    ledger.answer(mixed, [0, 1, 2, 255], annotator="p", seconds=3, clicks=4)  # a correction
    ledger.answer(uniform, [1, 1], annotator="p", seconds=1.5, clicks=1)
    ledger.answer(void, [255, 255, 255], annotator="p")
    ledger.ignore(nothing, annotator="p")
    ledger.skip(passed, annotator="p", seconds=0.5)
    ledger.release(back, annotator="p")
    first = RoundCost(
        round=1,
        voxels=6,
        points=4 + 2 + 3 + 2 + 6 + 5,
        answered=4,
        labelled_points=3 + 2,
        void_voxels=2,
        classes_per_voxel=(3 + 1) / 2,
        seconds=7.0,
        clicks=6,
    )
    assert round_cost(ledger, 1) == first

    (query,) = ask(ledger, 2, [1])
    ledger.answer(query, [2], annotator="p", seconds=1, clicks=1)
    alone, together = round_cost(ledger, 2), round_cost(ledger, 2, cumulative=True)
    assert (alone.voxels, alone.points, alone.classes_per_voxel, alone.clicks) == (1, 1, 1.0, 1)
    assert (together.voxels, together.points, together.labelled_points) == (7, 23, 6)
    assert together.classes_per_voxel == pytest.approx((3 + 1 + 1) / 3)
    assert (together.seconds, together.clicks, together.void_voxels) == (8.0, 7, 2)
    assert round_costs(ledger)[0] == round_costs(ledger, cumulative=True)[0] == first


def test_rounds_without_queries_or_answers_are_metered(ledger):
    assert round_costs(ledger) == []
    ask(ledger, 1, [])
    ask(ledger, 2, [3])
    assert round_cost(ledger, 1) == RoundCost(1, 0, 0, 0, 0, 0, 0.0, 0.0, 0)
    assert round_cost(ledger, 2) == RoundCost(2, 1, 3, 0, 0, 0, 0.0, 0.0, 0)
    for absent in (0, 3, -1):
        with pytest.raises(ValueError, match="no round"):
            round_cost(ledger, absent)
