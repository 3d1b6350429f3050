"""The random baselines that know something of a scan: its crowds, its shapes, its classes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from annotator3d.active.evidence import Evidence, Given, Moment
from annotator3d.active.strategies import get_strategy
from annotator3d.active.strategies.geometry_random import kinds

SIZE = 0.5


def picked(name, xyz, prediction=None, budget=1, seed=0, **keywords):
    strategy = get_strategy({"type": name, **keywords}, voxel_size=SIZE)
    found = strategy.select(xyz, prediction, batch_size=budget, random_state=seed, scan_id="0/0")
    return [pick.cell for pick in found.picks]


def row_of_voxels(counts) -> np.ndarray:
    """Voxel i of a row holds counts[i] points."""
    x = np.repeat(np.arange(len(counts)) * SIZE + 0.2, counts)
    return np.column_stack([x, x * 0, x * 0]).astype(np.float32)


def test_the_fullest_are_drawn_alike_and_before_all_others():
    xyz = row_of_voxels([1, 9, 2, 9, 3, 8, 1, 1, 9, 2])
    drawn = Counter(picked("crowded_random", xyz, seed=s, share=0.2)[0][0] for s in range(300))
    assert drawn.keys() == {1, 3, 8}  # two of ten, and the one that is as full
    assert min(drawn.values()) > 70
    order = picked("crowded_random", xyz, budget=10, share=0.2)
    assert {cell[0] for cell in order[:3]} == {1, 3, 8} and len(order) == 10


@pytest.mark.parametrize("share", [0.0, 1.5, -1.0])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="share: expected above 0"):
        get_strategy({"type": "crowded_random", "share": share})


def street() -> np.ndarray:
    """A road, a wall, a pole and a bush, with points every 0.1 m."""
    random = np.random.default_rng(1)
    step = np.arange(-3, 3, 0.1)
    x, y = (part.ravel() for part in np.meshgrid(step, step))
    road = np.column_stack([x + 8, y, x * 0])
    wall = np.column_stack([x * 0 + 14, y, x + 3.2])
    pole = np.column_stack([step * 0 + 8, step * 0 + 6, step + 3])
    bush = random.uniform(-1, 1, (800, 3)) + [8, -6, 1]
    noise = random.normal(0, 0.01, (len(road) + len(wall) + len(pole) + len(bush), 3))
    return (np.concatenate([road, wall, pole, bush]) + noise).astype(np.float32)


def evidence(xyz, intensity=None) -> Evidence:
    strategy = get_strategy("geometry_random", voxel_size=SIZE)
    return strategy.evidence(xyz, None, None, 1, "0/0", Given(intensity=intensity))


def test_places_that_differ_in_one_respect_are_of_other_kinds():
    xyz = street()
    seen = evidence(xyz, torch.from_numpy((xyz[:, 2] > 2.2).astype(np.float32)))
    kind = dict(zip(map(tuple, seen.voxels.cells.tolist()), kinds(seen).tolist(), strict=True))
    road, wall, pole, bush = (kind[c] for c in ((16, 0, 0), (28, 0, 6), (16, 12, 3), (16, -12, 2)))
    assert len({road, wall, pole, bush}) == 4
    assert kind[17, 1, 0] == road  # the same place, somewhat further
    assert kind[20, 0, 0] != road  # beyond 10 m
    assert kind[28, 0, 4] != wall  # lower, and darker
    assert evidence(xyz).intensity is None and len(set(kinds(evidence(xyz)).tolist())) > 4


@pytest.mark.parametrize("budget", [1, 7, 25, 60])
def test_kinds_take_turns(budget):
    xyz = street()
    seen = evidence(xyz, torch.from_numpy(xyz[:, 0] % 1))
    strategy = get_strategy("geometry_random", voxel_size=SIZE)
    found = strategy.select(
        xyz, batch_size=budget, scan_id="0/0", given=Given(intensity=seen.intensity)
    )
    full = (seen.voxels.counts >= 5).tolist()
    cells = list(map(tuple, seen.voxels.cells.tolist()))
    kind = dict(zip(cells, kinds(seen).tolist(), strict=True))
    sizes = Counter(kind[cell] for cell, of in zip(cells, full, strict=True) if of)
    asked = Counter(kind[pick.cell] for pick in found.picks)
    assert len(sizes) > 10 and all(pick.num_points >= 5 for pick in found.picks)
    most = max(asked.values())
    assert all(asked[k] >= min(size, most - 1) for k, size in sizes.items())


def test_sparse_voxels_come_after_all_others():
    xyz = row_of_voxels([5, 1, 9, 2, 4, 6])
    assert {cell[0] for cell in picked("geometry_random", xyz, budget=3)} == {0, 2, 5}
    assert len(picked("geometry_random", xyz, budget=9)) == 6


def test_a_kind_that_is_rare_is_drawn_as_often_as_a_common_one():
    xyz = np.concatenate([row_of_voxels([6] * 19), row_of_voxels([6]) + [45, 0, 0]])
    far = sum(
        picked("geometry_random", xyz.astype(np.float32), seed=s)[0][0] > 80 for s in range(400)
    )
    assert 160 < far < 240


def test_random_voxels_of_each_class_take_strata_and_equal_quotas():
    xyz = row_of_voxels([3, 2, 1, 2])
    labels = np.array([0, 0, 2, 1, 1, 2, 255, 255], np.uint8)
    strategy = get_strategy("class_random", voxel_size=SIZE)
    found = strategy.select(xyz, labels, num_classes=3, batch_size=4)
    assert [[pick.cell[0] for pick in stratum] for stratum in found.strata] == [[0], [1], [2]]
    assert len(found.picks) == 4 and {pick.utility for pick in found.picks} == {0}
    frequencies = np.array([2, 9, 0])
    assert strategy.quotas(None, frequencies, Moment(budget=5)) == [(0, 3), (1, 2)]
    with pytest.raises(ValueError, match="'class_random' needs logits"):
        strategy.select(xyz, np.zeros(8, np.float32), num_classes=3)
