"""Strategies that compare predictions: of views, of rounds, of scans of one place."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from annotator3d.active.class_means import means_of_voxels
from annotator3d.active.evidence import Agreement, Given
from annotator3d.active.strategies import get_strategy
from annotator3d.active.strategies.previous_model import divergence

CLASSES = 3


def scored(table, xyz, logits, given):
    """Cell -> utility."""
    strategy = get_strategy(table, voxel_size=1.0)
    seen = strategy.evidence(xyz, logits, None, CLASSES, "0/0", given)
    cells = map(tuple, seen.voxels.cells.tolist())
    return dict(zip(cells, strategy.score(seen).tolist(), strict=True))


def scan(points=60, seed=0):
    random = np.random.default_rng(seed)
    xyz = random.uniform(0, 3, (points, 3)).astype(np.float32)
    return xyz, torch.from_numpy(random.normal(0, 2, (points, CLASSES)).astype(np.float32))


def softmax(row) -> list[float]:
    weights = [math.exp(value) for value in row]
    return [weight / sum(weights) for weight in weights]


def entropy(p) -> float:
    return -sum(q * math.log2(q) for q in p if q > 0)


def mean(rows) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def by_voxel(xyz, values) -> dict:
    found: dict = {}
    for cell, value in zip(map(tuple, np.floor(xyz).astype(int).tolist()), values, strict=True):
        found.setdefault(cell, []).append(value)
    return found


@pytest.mark.parametrize("measure", ["entropy", "bald"])
def test_an_ensemble_is_scored_as_defined(measure):
    xyz, logits = scan()
    views = torch.stack([logits, logits.flip(1), logits * 0.1])
    of_points = []
    for rows in zip(*views.tolist(), strict=True):
        each = [softmax(row) for row in rows]
        least = sum(map(entropy, each)) / 3 if measure == "bald" else 0
        of_points.append(entropy(mean(each)) - least)
    expected = {cell: sum(v) / len(v) for cell, v in by_voxel(xyz, of_points).items()}
    table = {"type": "ensemble", "measure": measure}
    assert scored(table, xyz, logits, Given(views=views)) == pytest.approx(expected, abs=1e-5)


def test_views_that_agree_tell_bald_nothing_however_unsure_they_are():
    xyz, logits = scan()
    views = torch.stack([logits * 0.1] * 4)
    found = scored({"type": "ensemble", "measure": "bald"}, xyz, logits, Given(views=views))
    assert max(map(abs, found.values())) < 1e-6
    assert min(scored("ensemble", xyz, logits, Given(views=views)).values()) > 1


def test_the_round_before_counts_by_the_divergence_of_the_means():
    xyz, logits = scan()
    other = logits.flip(1)
    cells, before = means_of_voxels(xyz, 1.0, other, None)
    given = Given(previous=before.astype(np.float32) / 255)
    now = {c: mean(v) for c, v in by_voxel(xyz, map(softmax, logits.tolist())).items()}
    then = {c: mean(v) for c, v in by_voxel(xyz, map(softmax, other.tolist())).items()}
    tops = [sorted(softmax(row))[-2:] for row in logits.tolist()]
    doubts = by_voxel(xyz, [1 - (first - second) for second, first in tops])
    expected = {
        cell: entropy(mean([now[cell], then[cell]]))
        - (entropy(now[cell]) + entropy(then[cell])) / 2
        + 0.25 * mean([[d] for d in doubts[cell]])[0]
        for cell in now
    }
    table = {"type": "previous_model", "weight": 0.25}
    assert scored(table, xyz, logits, given) == pytest.approx(expected, abs=0.03)
    first = scored(table, xyz, logits, Given())
    assert first == pytest.approx({c: sum(v) / len(v) for c, v in doubts.items()}, abs=1e-6)


def test_a_network_that_has_not_changed_does_not_disagree():
    xyz, logits = scan()
    _, before = means_of_voxels(xyz, 1.0, logits, None)
    given = Given(previous=before.astype(np.float32) / 255)
    found = scored({"type": "previous_model", "weight": 0.0}, xyz, logits, given)
    assert max(found.values()) < 1e-5


def test_the_divergence_by_hand():
    one, other = (
        torch.tensor([[1.0, 0], [1, 0], [0.5, 0.5]]),
        torch.tensor([[1.0, 0], [0, 1], [1, 0]]),
    )
    third = entropy([0.75, 0.25]) - 0.5
    assert divergence(one, other).tolist() == pytest.approx([0, 1, third])


def test_scans_that_disagree_come_first_and_voxels_of_one_scan_last():
    xyz = np.array([[0.5, 0, 0], [1.5, 0, 0], [2.5, 0, 0], [3.5, 0, 0]], np.float32)
    split, sure, even = [0.5, 0.5, 0], [1.0, 0, 0], [1 / 3] * 3
    seen = Agreement(
        np.array([split, split, even, sure], np.float32),
        np.array([0, 1, math.log2(3), 0], np.float32),
        np.array([2, 3, 1, 1]),
    )
    found = scored("interframe", xyz, torch.zeros(4, CLASSES), Given(neighbours=seen))
    values = [found[x, 0, 0] for x in range(4)]
    # sure of other classes; unsure of the same; one scan alone, in doubt and sure
    assert values == pytest.approx([1 / math.log2(3), 0, -1, -2], abs=1e-6)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"type": "ensemble", "measure": "vote"}, "measure: expected 'entropy' or 'bald'"),
        ({"type": "previous_model", "weight": -1.0}, "weight: expected at least 0, got -1.0"),
    ],
)
def test_other_keywords_are_refused(table, words):
    with pytest.raises(ValueError, match=words):
        get_strategy(table)
