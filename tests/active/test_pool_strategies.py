"""Strategies that choose among the whole pool: slow twins of what they choose, and its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from annotator3d.active.evidence import Given, Moment
from annotator3d.active.exact import SquaredDistances, exact_means, whole_numbers
from annotator3d.active.pool_candidates import Chosen, Pool, ScanCandidates, most_of_scan
from annotator3d.active.spreading import clusters_of
from annotator3d.active.strategies import get_strategy
from annotator3d.active.strategies.probcover import ProbCover, delta_of_pure_balls
from annotator3d.active.strategies.typiclust import turns_of
from annotator3d.errors import ConfigError


def pool_of(values, scans=None, asked=(), classes=3) -> Pool:
    """Candidates in the order in which they are given, dealt out to the scans 'a', 'b', ..."""
    values = np.asarray(values, np.float32)
    n, width = values.shape
    scan = np.zeros(n, np.int64) if scans is None else np.asarray(scans)
    ids = [chr(97 + i) for i in range(scan.max(initial=0) + 1)]
    cells = np.column_stack([np.arange(n), scan, scan]).astype(np.int32)
    known = np.asarray(asked, np.float32).reshape(-1, width)
    return Pool(ids, scan, cells, values, known, n, classes)


def blobs(seed: int, sizes=(40, 25, 12, 3), spread=0.05):
    """[n, 2] points about corners of a square, and the blob of each."""
    random = np.random.default_rng(seed)
    corners = np.array([[0, 0], [4, 0], [0, 4], [4, 4]])[: len(sizes)]
    blob = np.repeat(np.arange(len(sizes)), sizes)
    points = corners[blob] + random.normal(scale=spread, size=(len(blob), 2))
    order = random.permutation(len(blob))
    return points[order], blob[order]


def standardised(pool: Pool):
    both = np.concatenate([pool.values, pool.asked]).astype(np.float64)
    both = (both - both.mean(0)) / both.std(0)
    return both[: len(pool)], both[len(pool) :]


# What a scan gives to the pool


def observed(strategy, seed=0, points=400, asked=None, **moment) -> ScanCandidates:
    random = np.random.default_rng(seed)
    xyz = random.uniform(-3, 3, (points, 3)).astype(np.float32)
    bright = torch.from_numpy(random.random(points, np.float32))
    given = Given(pool=(), intensity=bright, moment=Moment(**moment))
    return strategy.observe(strategy.evidence(xyz, None, None, 5, f"00/{seed:06d}", given, asked))


def test_candidates_are_those_that_may_be_asked_about():
    strategy = get_strategy("typiclust", voxel_size=1.0, min_points=2, max_range=2.5)
    found = observed(strategy)
    cells = {tuple(c) for c in found.cells.tolist()}
    assert len(cells) == len(found.cells) == found.voxels <= 200
    assert all(math.hypot(x + 0.5, y + 0.5) <= 2.5 for x, y, _ in cells)
    asked = found.cells[:3]
    again = observed(strategy, asked=asked)
    assert {tuple(c) for c in again.cells.tolist()} == cells - {tuple(c) for c in asked.tolist()}
    np.testing.assert_array_equal(sorted(again.asked.tolist()), sorted(found.values[:3].tolist()))


def test_a_large_pool_takes_fewer_candidates_of_each_scan_but_enough_to_be_asked():
    assert most_of_scan(200, 8, Moment(scans=38)) == 200
    assert most_of_scan(200, 8, Moment(scans=19_130)) == 5
    assert most_of_scan(200, 96 * 19, Moment(scans=1_000)) == 36  # 2^26 numbers
    assert most_of_scan(200, 96 * 19, Moment(scans=19_130, per_scan=4)) == 4
    found = observed(get_strategy("typiclust", voxel_size=0.5), points=4_000, scans=5_000)
    assert len(found.cells) == 20 < found.voxels
    words = Chosen.of(Pool.join({"a": found}), [], Moment()).words
    assert words.startswith(f"chosen among 20 of {found.voxels:,} voxels, {found.voxels - 20:,} ")


def test_other_candidates_are_drawn_in_each_round_and_scan():
    strategy = get_strategy("typiclust", voxel_size=0.5, candidates=20)
    first, second = observed(strategy), observed(strategy, round=2)
    assert {tuple(c) for c in first.cells.tolist()} != {tuple(c) for c in second.cells.tolist()}


def test_chosen_voxels_come_first_and_in_order():
    pool = pool_of(np.zeros((4, 1)), scans=[0, 1, 1, 0])
    chosen = Chosen.of(pool, [2, 0], Moment(budget=2))
    cells = torch.tensor([[9, 9, 9], [2, 1, 1], [1, 1, 1]], dtype=torch.int32)
    assert chosen.utilities("b", cells).tolist() == [0.0, 2.0, 0.0]
    assert chosen.utilities("a", torch.tensor([[0, 0, 0]], dtype=torch.int32)).tolist() == [1.0]
    assert chosen.utilities("c", cells).tolist() == [0.0, 0.0, 0.0]


def test_means_and_distances_do_not_depend_on_the_order():
    random = torch.Generator().manual_seed(0)
    values = torch.randn(500, 7, generator=random) * 100
    group = torch.randint(0, 9, (500,), generator=random)
    group[:9] = torch.arange(9)
    means = exact_means(values, group, 9)
    for g in range(9):
        expected = values[group == g].double().mean(0)
        assert torch.allclose(means[g], expected, rtol=0, atol=1e-8)
    order = torch.randperm(500, generator=random)
    assert torch.equal(exact_means(values[order], group[order], 9), means)
    with pytest.raises(ValueError, match="finite"):
        exact_means(torch.full((1, 2), torch.nan), torch.zeros(1, dtype=torch.int64), 1)
    (rows,) = whole_numbers(values.numpy())
    whole = [[int(value) for value in row] for row in rows[:5]]
    slow = [[sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for y in whole] for x in whole]
    assert SquaredDistances(rows[:5]).to(rows[:5]).tolist() == slow


# TypiClust


def typical(places) -> int:
    """Least mean distance to the nearest 20 others, or to half of a small cluster."""
    if len(places) == 1:
        return 0
    k = max(min(20, len(places) // 2), 1)
    means = [np.mean(sorted(np.linalg.norm(places - p, axis=1))[1 : k + 1]) for p in places]
    return int(np.argmin(means))


@pytest.mark.parametrize("asked", [(), [[0.0, 0.0], [0.1, 0.0], [4.0, 0.0]]])
def test_typiclust_takes_the_typical_of_the_uncovered_clusters_in_turn(asked):
    points, blob = blobs(0)
    pool = pool_of(points, asked=asked)
    strategy, moment = get_strategy("typiclust"), Moment(budget=4 - min(len(asked), 1), per_scan=99)
    chosen = strategy.choose(pool, moment)
    values, known = standardised(pool)
    labels = clusters_of(
        np.concatenate([values, known]),
        len(known) + moment.budget,
        np.random.default_rng([moment.seed, moment.round]),
    )
    size, covered = np.bincount(labels), np.bincount(labels[len(pool) :], minlength=max(labels) + 1)
    turns = sorted((covered[c], -size[c], c) for c in range(len(size)) if size[c] > 5)
    left = {c: np.flatnonzero(labels[: len(pool)] == c).tolist() for _, _, c in turns}
    expected = []
    while len(expected) < moment.budget:
        for _, _, c in turns:
            if len(expected) < moment.budget and left[c]:
                expected.append(left[c].pop(typical(values[left[c]])))
    assert list(chosen) == expected


def test_typiclust_covers_the_blobs_before_it_takes_a_second_of_one():
    points, blob = blobs(1, sizes=(60, 30, 20, 10))
    chosen = get_strategy("typiclust").choose(pool_of(points), Moment(budget=4, per_scan=99))
    assert sorted(blob[list(chosen)]) == [0, 1, 2, 3]
    assert blob[chosen[0]] == 0  # the largest first


def test_clusters_with_fewer_voxels_asked_about_and_then_larger_ones_come_first():
    labels = np.repeat([0, 1, 2, 3], [10, 30, 20, 4])
    assert turns_of(np.append(labels, [1, 1, 2]), len(labels)) == [0, 2, 1]  # 3 is too small
    assert turns_of(np.array([0, 1, 1]), 3) == [1, 0]  # all are


# ProbCover


@pytest.mark.parametrize("asked", [(), [[0.0, 0.0]]])
def test_probcover_covers_what_a_slow_twin_covers(asked):
    points, _ = blobs(2, spread=0.4)
    pool = pool_of(points, scans=np.arange(len(points)) % 7, asked=asked)
    values, known = standardised(pool)
    distance = np.linalg.norm(values[:, None] - values, axis=2)
    covered = (np.linalg.norm(values[:, None] - known, axis=2) < 0.2).any(1)
    expected, used = [], np.zeros(7, int)
    while len(expected) < 9:
        gain = [
            ((distance[i] < 0.2) & ~covered).sum() if used[pool.scan[i]] < 2 else 0
            for i in range(len(pool))
        ]
        for i in expected:
            gain[i] = 0
        best = int(np.argmax(gain))
        if gain[best] == 0:
            break
        expected.append(best)
        used[pool.scan[best]] += 1
        covered |= distance[best] < 0.2
    strategy = ProbCover(delta=0.2)
    assert strategy.choose(pool, Moment(budget=9, per_scan=2)) == expected


def test_probcover_stops_when_all_is_covered_and_says_how_many_are_drawn():
    points, _ = blobs(3)
    pool, moment = pool_of(points), Moment(budget=30, per_scan=30)
    chosen = Chosen.of(pool, ProbCover(delta=0.5).choose(pool, moment), moment)
    assert chosen.words == "chosen among 80 of 80 voxels; 4 of 30 chosen, the others are drawn"


def test_delta_is_the_largest_radius_with_which_95_of_100_balls_are_pure():
    points, _ = blobs(4, spread=1.0)
    delta = delta_of_pure_balls(points, 4, np.random.default_rng(0))
    labels = clusters_of(points, 4, np.random.default_rng(0))
    distance = np.linalg.norm(points[:, None] - points, axis=2)

    def purity(radius: float) -> float:
        pure = [len(set(labels[distance[i] < radius])) == 1 for i in range(len(points))]
        return float(np.mean(pure))

    assert purity(delta) >= 0.95 > purity(delta * 1.0001)


def test_keywords_out_of_range_are_refused():
    for table in (
        {"type": "typiclust", "space": "time"},
        {"type": "probcover", "delta": 0.0},
        {"type": "typiclust", "candidates": 0},
    ):
        with pytest.raises((ValueError, ConfigError), match=list(table)[1]):
            get_strategy(table)


# Core-set


@pytest.mark.parametrize("asked", [(), [[0.0, 0.0], [4.0, 4.0]]])
def test_coreset_takes_the_furthest_from_all_that_is_known(asked):
    points = np.random.default_rng(5).integers(0, 40, (30, 2))
    scans = np.arange(30) % 4
    known, used, expected = [tuple(p) for p in asked], [0] * 4, []
    while len(expected) < 7:
        free = [i for i in range(30) if used[scans[i]] < 2 and i not in expected]
        gaps = [min((math.dist(points[i], k) for k in known), default=math.inf) for i in free]
        best = free[gaps.index(max(gaps))]
        expected.append(best)
        used[scans[best]] += 1
        known.append(tuple(points[best]))
    pool = pool_of(points, scans=scans, asked=asked)
    assert get_strategy("coreset").choose(pool, Moment(budget=7, per_scan=2)) == expected


def test_coreset_asks_each_scan_for_its_part_where_no_scan_may_give_more():
    pool = pool_of(np.random.default_rng(6).random((40, 3)), scans=np.repeat(range(8), 5))
    chosen = get_strategy("coreset").choose(pool, Moment(budget=16, per_scan=2))
    assert sorted(pool.scan[chosen]) == sorted([*range(8)] * 2)


def with_network(strategy, seed=0, points=300, classes=4, width=3):
    """Evidence of a scan whose logits are those of a linear head on its features, and the head."""
    random = torch.Generator().manual_seed(seed)
    xyz = torch.rand(points, 3, generator=random) * 4
    features = torch.randn(points, width, generator=random)
    head = torch.randn(classes, width, generator=random)
    given = Given(pool=(), features=features, moment=Moment())
    return strategy.evidence(xyz.numpy(), features @ head.T, None, classes, "00/0", given), head


# BADGE


def test_badge_describes_a_voxel_by_the_gradient_of_the_last_layer():
    strategy = get_strategy("badge", voxel_size=1.0)
    evidence, head = with_network(strategy)
    rows = torch.tensor([5, 0, 17])
    found = strategy.describe(evidence, rows)
    for row, gradient in zip(rows.tolist(), found, strict=True):
        weights = head.double().requires_grad_()
        inside = evidence.voxels.point_to_voxel == row
        logits = evidence.features[inside].double() @ weights.T
        torch.nn.functional.cross_entropy(logits, logits.argmax(1)).backward()
        np.testing.assert_allclose(gradient.reshape(4, 3), weights.grad.numpy(), atol=1e-6)


def test_badge_takes_the_most_doubtful_candidates_unless_they_are_drawn():
    doubtful = get_strategy("badge", voxel_size=1.0, min_points=1)
    doubtful.candidates = 10
    evidence, _ = with_network(doubtful)
    p = evidence.prediction.double().softmax(1)
    entropy = -(p * p.log2()).sum(1)
    voxel = evidence.voxels.point_to_voxel
    means = [float(entropy[voxel == v].mean()) for v in range(len(evidence.voxels))]
    best = sorted(range(len(means)), key=lambda v: -means[v])[:10]
    cells = evidence.voxels.cells
    assert doubtful.observe(evidence).cells.tolist() == cells[best].tolist()
    drawn = get_strategy({"type": "badge", "draw": "hash", "candidates": 10}, voxel_size=1.0)
    assert drawn.observe(evidence).cells.tolist() != cells[best].tolist()


def test_badge_begins_with_the_largest_gradient_and_draws_by_squared_distance():
    values = [[9.0, 0.0], [9.0, 0.0], [10.0, 0.0], [6.0, 0.0]]
    strategy, drawn = get_strategy("badge"), []
    for seed in range(600):
        moment = Moment(budget=2, per_scan=4, seed=seed)
        first, second = strategy.choose(pool_of(values), moment)
        assert first == 2
        drawn.append(second)
    counts = np.bincount(drawn, minlength=4) / 600
    np.testing.assert_allclose(counts, [1 / 18, 1 / 18, 0, 16 / 18], atol=0.04)
    whole = strategy.choose(pool_of(values), Moment(budget=9, per_scan=4))
    assert sorted(whole) in ([0, 2, 3], [1, 2, 3])  # the other one is the same gradient
