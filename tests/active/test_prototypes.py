"""The strategy of prototypes: values by hand, both distances, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from annotator3d.active.evidence import Given
from annotator3d.active.strategies import get_strategy
from annotator3d.errors import ConfigError

NAN = float("nan")


def utilities(table, features, prototypes, logits, xyz=None):
    """[V] of points that lie in voxels of 1 m, in the order of their first points."""
    strategy = get_strategy({"type": "prototypes", **table}, voxel_size=1.0)
    n = len(features)
    xyz = np.arange(n)[:, None] + np.full((n, 3), 0.5) if xyz is None else xyz
    given = Given(features=torch.tensor(features), prototypes=torch.tensor(prototypes))
    logits = torch.tensor(logits)
    evidence = strategy.evidence(
        np.asarray(xyz, np.float32), logits, None, logits.shape[1], "00/0", given
    )
    return strategy.score(evidence).tolist()


def softmax(values):
    powers = [math.exp(v) for v in values]
    return sorted((p / sum(powers) for p in powers), reverse=True)


def gap(values):
    first, second, *_ = softmax(values)
    return first - second


def test_as_published():
    features, prototypes = [[3.0, 4.0]], [[0.0, 0.0], [3.0, 2.0], [3.0, 0.0]]
    logits = [[1.0, 0.0, -1.0]]
    expected = 0.4 * gap([1 / 5, 1 / 2, 1 / 4]) + 0.6 * gap(logits[0])
    assert utilities({}, features, prototypes, logits) == pytest.approx([-expected], abs=1e-5)
    only = utilities({"alpha": 1.0}, features, prototypes, logits)
    assert only == pytest.approx([-gap([1 / 5, 1 / 2, 1 / 4])], abs=1e-5)
    assert only[0] > -0.12  # however far the point is from two of three prototypes
    assert utilities({"alpha": 0.0}, features, prototypes, logits) == pytest.approx(
        [-gap(logits[0])], abs=1e-6
    )


def test_by_cosine():
    features, prototypes = [[3.0, 4.0]], [[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]
    table = {"distance": "cosine", "alpha": 1.0}
    expected = gap([6.0, 8.0, -6.0])  # cosines 0.6, 0.8, -0.6 by 0.1
    found = utilities(table, features, prototypes, [[0.0, 0.0, 0.0]])
    assert found == pytest.approx([-expected], abs=1e-5)
    warm = utilities({**table, "temperature": 1.0}, features, prototypes, [[0.0, 0.0, 0.0]])
    assert warm == pytest.approx([-gap([0.6, 0.8, -0.6])], abs=1e-5)


@pytest.mark.parametrize("distance", ["inverse", "cosine"])
def test_a_voxel_has_the_mean_of_its_points_and_classes_without_prototypes_have_no_say(distance):
    random = torch.Generator().manual_seed(0)
    features = torch.randn(40, 6, generator=random).tolist()
    prototypes = torch.randn(4, 6, generator=random).tolist()
    logits = torch.randn(40, 4, generator=random).tolist()
    table = {"distance": distance}
    alone = utilities(table, features, prototypes, logits)
    together = utilities(table, features, prototypes, logits, np.full((40, 3), 0.5))
    assert together == pytest.approx([np.mean(alone)], abs=1e-6)
    with_nan = [*prototypes[:2], [NAN] * 6, prototypes[3]]
    without = [*prototypes[:2], prototypes[3], prototypes[3]]
    only = {**table, "alpha": 1.0}
    found = utilities(only, features, with_nan, logits)
    for row, value in zip(features, found, strict=True):
        near = []
        for center in without[:3]:
            if distance == "inverse":
                near.append(1 / math.dist(row, center))
            else:
                lengths = math.hypot(*row) * math.hypot(*center)
                near.append(sum(a * b for a, b in zip(row, center, strict=True)) / lengths / 0.1)
        assert value == pytest.approx(-gap(near), abs=1e-4)


def test_prototypes_of_another_network_or_of_one_class_are_refused():
    with pytest.raises(ValueError, match=r"expected \[2, 3\] .* got \[2, 2\].*another network"):
        utilities({}, [[0.0, 0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0]])
    with pytest.raises(ValueError, match="at least two classes"):
        utilities({}, [[0.0, 0.0]], [[0.0, 1.0], [NAN, NAN]], [[0.0, 1.0]])


@pytest.mark.parametrize("wrong", [{"alpha": 2}, {"distance": "far"}, {"temperature": 0}])
def test_keywords_out_of_range_are_refused(wrong):
    with pytest.raises((ValueError, ConfigError), match=next(iter(wrong))):
        get_strategy({"type": "prototypes", **wrong})
