"""Balance: weights computed by hand, and draws that follow them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator3d.data.balance import class_weights, draw, points_of_classes, scan_weights
from annotator3d.data.scan import VoxelLabels


def answer(*labels):
    return VoxelLabels((0, 0, 0), np.array(labels, np.uint8), 1)


def test_points_of_classes_are_counted_without_those_that_have_none():
    counts = points_of_classes([answer(2, 2, 255), answer(2, 0)])
    assert counts[[0, 1, 2]].tolist() == [1, 0, 3] and counts.sum() == 4 and len(counts) == 255


def test_class_weights_by_hand():
    counts = np.array([100, 25, 0, 4])
    assert class_weights(counts, 0.5).tolist() == [1, 2, 1, 5]
    assert class_weights(counts, 1.0).tolist() == [1, 4, 1, 10]  # 25, but at most 10
    assert class_weights(counts, 0.0).tolist() == [1, 1, 1, 1]
    assert class_weights(np.zeros(3, np.int64), 1.0).tolist() == [1, 1, 1]


def test_a_scan_weighs_as_the_rarest_class_in_its_answers():
    answers = {
        "a": [answer(0, 0), answer(1)],  # class 0 in 4 scans, class 1 in 1
        "b": [answer(0)],
        "c": [answer(0, 255)],
        "d": [answer(0)],
        "e": [answer(255)],  # asked about, no class
    }
    ids = ["b", "a", "nobody asked", "e", "c"]
    assert scan_weights(ids, answers, 1.0).tolist() == [1, 4, 1, 1, 1]
    assert scan_weights(ids, answers, 0.5).tolist() == [1, 2, 1, 1, 1]
    assert scan_weights(ids, {}, 1.0).tolist() == [1] * 5


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(1, 10), min_size=1, max_size=30),
    st.integers(1, 60),
    st.integers(0, 1000),
)
def test_each_row_is_drawn_as_often_as_its_share_up_to_rounding(weights, number, seed):
    weights = np.array(weights)
    found = draw(weights, number, np.random.default_rng(seed))
    assert len(found) == number and found == draw(weights, number, np.random.default_rng(seed))
    counts = Counter(found)
    for row, weight in enumerate(weights):
        wanted = number * weight / weights.sum()
        assert np.floor(wanted - 1e-6) <= counts[row] <= np.ceil(wanted + 1e-6)


def test_draws_come_in_random_order():
    orders = {tuple(draw(np.ones(6), 6, np.random.default_rng(s))) for s in range(9)}
    assert len(orders) > 5 and all(sorted(order) == list(range(6)) for order in orders)


@pytest.mark.parametrize("row", [0, 1, 2])
def test_rounding_favours_no_row(row):
    weights = np.array([1.0, 1.0, 1.0])
    drawn = [draw(weights, 1, np.random.default_rng(s)) for s in range(300)]
    assert 60 < drawn.count([row]) < 140
