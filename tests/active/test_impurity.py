"""Impurity times uncertainty, and the margin of the most doubtful point, against slow twins."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from annotator3d.active.strategies import get_strategy
from annotator3d.kernels.grouping import group_cells

CLASSES = 4
LOGITS = st.lists(st.integers(-12, 12).map(lambda i: i / 2), min_size=CLASSES, max_size=CLASSES)
POINTS = st.lists(st.tuples(st.tuples(*[st.integers(-2, 2)] * 3), LOGITS), max_size=14)


def entropy(shares) -> float:
    """As a share of the largest one."""
    return -sum(p * math.log(p, CLASSES) for p in shares if p > 0)


def softmax(row) -> list[float]:
    weights = [math.exp(value) for value in row]
    return [weight / sum(weights) for weight in weights]


def histogram(rows) -> list[float]:
    counts = Counter(row.index(max(row)) for row in rows)
    return [count / len(rows) for count in counts.values()]


def slow_impurity(points, neighbourhood) -> dict:
    reach, found = neighbourhood // 2, {}
    for cell in {cell for cell, _ in points}:
        inside = [row for other, row in points if other == cell]
        around = [
            row
            for other, row in points
            if max(abs(a - b) for a, b in zip(other, cell, strict=True)) <= reach
        ]
        impurity = entropy(histogram(around))
        uncertainty = sum(entropy(softmax(row)) for row in inside) / len(inside)
        found[cell] = impurity * uncertainty if impurity > 1e-9 else uncertainty - 2
    return found


def slow_margin(points) -> dict:
    found = {}
    for cell in {cell for cell, _ in points}:
        tops = [sorted(softmax(row))[-2:] for other, row in points if other == cell]
        found[cell] = -min(first - second for second, first in tops)
    return found


def utilities(name, points, **keywords) -> dict:
    cells = torch.tensor([cell for cell, _ in points], dtype=torch.int32).reshape(-1, 3)
    logits = torch.tensor([row for _, row in points]).reshape(-1, CLASSES)
    voxels = group_cells(cells)
    table = {"type": name, **keywords}
    found = get_strategy(table).utilities(voxels, logits, CLASSES).tolist()
    return dict(zip(map(tuple, voxels.cells.tolist()), found, strict=True))


@pytest.mark.parametrize("neighbourhood", [1, 3])
@given(POINTS)
def test_impurity_is_the_product_of_the_definition(neighbourhood, points):
    found = utilities("impurity", points, neighbourhood=neighbourhood)
    assert found == pytest.approx(slow_impurity(points, neighbourhood), abs=1e-6)


def test_voxels_of_one_predicted_class_come_last_by_their_mean_entropy():
    torn, unsure, sure = [6.0, 5.9, 0, 0], [0.1, 0, 0, 0], [90.0, 0, 0, 0]
    points = [((0, 0, 0), torn), ((0, 0, 0), torn[1::-1] + [0, 0])]
    points += [((1, 0, 0), unsure), ((2, 0, 0), sure)]
    found = utilities("impurity", points)
    assert found[0, 0, 0] > 0 > -1 >= found[1, 0, 0] > -1.01 > found[2, 0, 0] == -2


def test_a_neighbouring_voxel_of_another_class_makes_a_thin_one_impure():
    points = [((0, 0, 0), [1.0, 0, 0, 0]), ((1, 1, 1), [0.0, 1, 0, 0])]
    assert max(utilities("impurity", points).values()) < 0
    assert min(utilities("impurity", points, neighbourhood=3).values()) > 0


@given(POINTS)
def test_the_margin_is_that_of_the_most_doubtful_point(points):
    assert utilities("margin_min", points) == pytest.approx(slow_margin(points), abs=1e-6)


def test_one_doubtful_point_is_enough():
    logits = torch.tensor([[9.0, -9], [0.0, 0.0], [1.0, 0.0]])
    voxels = group_cells(torch.tensor([[0, 0, 0], [0, 0, 0], [1, 0, 0]], dtype=torch.int32))
    found = get_strategy("margin_min").utilities(voxels, logits, 2).tolist()
    gap = 1 / (1 + math.exp(-1)) - 1 / (1 + math.exp(1))
    assert found == pytest.approx([0, -gap], abs=1e-6)
    gaps = get_strategy("margin_min").utilities(voxels, torch.tensor([0.9, 0.2, 0.5]), 2)
    assert gaps.tolist() == pytest.approx([-0.2, -0.5])


def test_another_neighbourhood_is_refused():
    with pytest.raises(ValueError, match="neighbourhood: expected 1 or 3, got 5"):
        get_strategy({"type": "impurity", "neighbourhood": 5})
