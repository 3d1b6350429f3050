"""VCD with weights of rare classes, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from annotator3d.active.evidence import Given, Moment
from annotator3d.active.strategies import get_strategy

XYZ = np.array([[x + 0.5, 0, 0] for x in (0, 0, 1, 1, 2, 2)], np.float32)
LOGITS = torch.eye(4)[[0, 1, 0, 2, 3, 3]] * 9


def utilities(labelled, pool, **keywords) -> list[float]:
    strategy = get_strategy({"type": "class_inverse", **keywords}, voxel_size=1.0)
    given = Given(pool=np.array(pool), labelled=np.array(labelled))
    return strategy.score(strategy.evidence(XYZ, LOGITS, None, 4, "0/0", given)).tolist()


def test_the_rarer_class_of_two_equal_mixtures_wins():
    found = utilities([0, 0, 0, 0], [70, 20, 5, 5], prior=1e-9)
    road, second, third = (share**-0.5 for share in (0.7, 0.2, 0.05))
    assert found == pytest.approx([(road + second) / 2, (road + third) / 2, 0], abs=1e-6)


def test_labels_and_predictions_count_by_their_shares():
    found = utilities([6, 0, 2, 0], [0, 500, 500, 0], gamma=1.0, prior=1e-9)
    shares = [0.75, 0.5, 0.75]  # of 2 in all
    weights = [2 / share for share in shares]
    expected = [(weights[0] + weights[1]) / 2, (weights[0] + weights[2]) / 2, 0]
    assert found == pytest.approx(expected, abs=1e-6)


def test_weights_are_capped_and_a_gamma_of_0_is_vcd():
    strategy = get_strategy("class_inverse")
    weights = strategy.weights(np.array([10**6, 1, 0]), np.array([0, 0, 0]))
    assert weights[1:].tolist() == [10, 10] and 1 <= weights[0] < 1.01
    assert utilities([3, 1, 0, 0], [5, 5, 5, 5], gamma=0.0) == pytest.approx([1, 1, 0])


def test_the_pool_is_counted_by_predicted_class_over_all_scans():
    strategy = get_strategy("class_inverse", voxel_size=1.0)
    given = Given(pool=(), labelled=np.zeros(4, np.int64))
    seen = [strategy.evidence(XYZ[:n], LOGITS[:n], None, 4, "0/0", given) for n in (6, 2)]
    observed = {f"0/{i}": strategy.observe(evidence) for i, evidence in enumerate(seen)}
    assert strategy.conclude(observed, Moment()).tolist() == [3, 2, 1, 2]


@pytest.mark.parametrize(("keyword", "value"), [("gamma", -0.1), ("gamma", math.nan), ("prior", 0)])
def test_other_keywords_are_refused(keyword, value):
    with pytest.raises(ValueError, match=f"{keyword}: expected"):
        get_strategy({"type": "class_inverse", keyword: value})
