"""Histograms, confusion, reductions and the choice of voxels."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import PATHS, Path
from torch import Tensor

from annotator3d.kernels import IGNORE, SCORE_ONE, Voxels, reference, top_voxels
from annotator3d.kernels.grouping import group_cells
from annotator3d.kernels.score_table import MAX_POPULATION, score_table
from annotator3d.kernels.scores import voxel_class_histogram, voxel_confusion, voxel_reduce


def voxels_of(numbers: list[int], splits: list[int] | None = None, device: str = "cpu") -> Voxels:
    """Points in cells (number, 0, 0)."""
    cells = torch.zeros(len(numbers), 3, dtype=torch.int32)
    cells[:, 0] = torch.tensor(numbers, dtype=torch.int32)
    return group_cells(cells.to(device), None if splits is None else torch.tensor(splits))


def layout(v: Voxels, device: str) -> tuple[Tensor, ...]:
    return tuple(t.to(device) for t in (v.point_to_voxel, v.members, v.splits, v.scan))


def bits(scores: Tensor) -> list[float]:
    return (scores.double() / SCORE_ONE).tolist()


def entropy(labels: list[int]) -> float:
    counts = Counter(label for label in labels if label != IGNORE).values()
    return -sum(c / sum(counts) * math.log2(c / sum(counts)) for c in counts)


def test_confusion_of_hand_made_voxels():
    #         half-half   one class  4 classes      ignored counts nowhere
    voxel = [0, 0, 0, 0] + [1, 1] + [2, 2, 2, 2] + [3, 3, 3] + [4]
    label = [1, 1, 3, 3] + [2, 2] + [0, 1, 2, 3] + [1, 2, 255] + [255]
    v = voxels_of(voxel)
    scores = voxel_confusion(torch.tensor(label), v, 4)
    assert scores.dtype == torch.int64
    assert bits(scores) == [1.0, 0.0, 2.0, 1.0, 0.0]
    hist = voxel_class_histogram(torch.tensor(label), v, 4)
    assert hist.dtype == torch.int32
    assert hist.tolist() == [[0, 2, 0, 2], [0, 0, 2, 0], [1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0]]


labelled = st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([0, 1, 2, 6, 255])), max_size=80)


@pytest.mark.parametrize("path", PATHS)
@given(labelled)
@settings(max_examples=30, deadline=None)
def test_confusion_is_the_entropy_of_the_labels(path: Path, points):
    with path.used():
        v = voxels_of([p[0] for p in points], device=path.device)
    label = [p[1] for p in points]
    groups = [[label[m] for m in v.members[a:b]] for a, b in zip(v.splits, v.splits[1:])]  # noqa: B905
    table = score_table(100)
    expected_hist = [[g.count(c) for c in range(7)] for g in groups]
    slow = reference.confusion(torch.tensor(label).long(), *layout(v, "cpu"), table, 7)
    for dtype in (torch.uint8, torch.int16, torch.int32, torch.int64):
        labels = path.put(torch.tensor(label, dtype=dtype))
        with path.used():
            fast = voxel_confusion(labels, v, 7)
            assert voxel_class_histogram(labels, v, 7).tolist() == expected_hist
        assert torch.equal(slow, fast.cpu())
        assert bits(fast) == pytest.approx([entropy(g) for g in groups], abs=1e-8)


@pytest.mark.parametrize("path", PATHS)
@given(st.integers(0, 2**31), st.sampled_from([1, 2, 19, 254, 255]), st.integers(0, 300))
@settings(max_examples=40, deadline=None)
def test_logits_of_every_precision_take_the_lowest_of_the_best(path: Path, seed, classes, n):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(-2, 3, (n, classes)).astype(np.float64)  # many ties, -0.0 too
    lowest = [row.index(max(row)) for row in coarse.tolist()]
    with path.used():
        v = voxels_of(rng.integers(-9, 9, n).tolist(), device=path.device)
        labels = path.put(torch.tensor(lowest, dtype=torch.int64))
        expected = voxel_confusion(labels, v, classes)
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            logits = path.put(torch.from_numpy(coarse * -0.5 * -1).to(dtype))
            assert torch.equal(voxel_confusion(logits, v, classes), expected)
        if n:
            turned = path.put(torch.from_numpy(coarse)).t().contiguous().t()  # columns in memory
            assert torch.equal(voxel_confusion(turned, v, classes), expected)


@given(st.randoms(use_true_random=False), labelled.filter(bool))
@settings(max_examples=50, deadline=None)
def test_order_of_the_points_does_not_change_the_confusion_of_a_cell(random, points):
    def by_cell(rows: list) -> dict[int, int]:
        v = voxels_of([p[0] for p in rows])
        scores = voxel_confusion(torch.tensor([p[1] for p in rows]), v, 7)
        return dict(zip(v.cells[:, 0].tolist(), scores.tolist(), strict=True))

    shuffled = random.sample(points, len(points))
    assert by_cell(points) == by_cell(shuffled)


def test_table_is_exact_far_beyond_float64():
    """Against 60-digit decimals: any path that uses the table then agrees to the last bit."""
    from decimal import Decimal, localcontext

    table = score_table(70_000)
    with localcontext() as context:
        context.prec = 60
        for n in (2, 3, 100, 1023, 1024, 1025, 65_537, 69_999):
            exact = Decimal(n) * Decimal(n).ln() / Decimal(2).ln() * SCORE_ONE
            assert int(exact.to_integral_value()) == int(table[n])
    assert score_table(5)[:3].tolist() == [0, 0, 2 * SCORE_ONE]


def test_a_crowded_voxel_is_scored_and_an_impossible_one_refused():
    labels = torch.arange(70_000).remainder(2)
    assert bits(voxel_confusion(labels, voxels_of([7] * 70_000), 2)) == [1.0]
    with pytest.raises(ValueError, match=f"voxels: expected at most {MAX_POPULATION} points"):
        score_table(MAX_POPULATION + 1)


def test_large_finite_logits_are_fine():
    logits = torch.tensor([[3e38, -3e38], [-3e38, 3e38]])
    assert bits(voxel_confusion(logits, voxels_of([0, 0]), 2)) == [1.0]


def test_nothing_to_score():
    v = voxels_of([], [0, 0])
    assert voxel_confusion(torch.zeros(0, 5), v, 5).shape == (0,)
    assert voxel_class_histogram(torch.zeros(0, dtype=torch.int64), v, 5).shape == (0, 5)
    assert voxel_reduce(torch.zeros(0), v, "mean").shape == (0,)
    assert [len(t) for t in top_voxels(torch.zeros(0), v, 3, torch.tensor([1]))] == [0]


def test_reduce_takes_maximum_and_mean_of_the_members():
    v = voxels_of([5, 8, 5, 5])
    values = torch.tensor([1.0, -2.0, 4.0, -0.5])
    assert voxel_reduce(values, v, "max").tolist() == [4.0, -2.0]
    assert voxel_reduce(values, v, "mean").tolist() == [1.5, -2.0]
    assert voxel_reduce(values.half(), v, "mean").dtype == torch.float16
    with pytest.raises(ValueError, match="how: expected 'max' or 'mean', got 'sum'"):
        voxel_reduce(values, v, "sum")
    with pytest.raises(ValueError, match="values: expected a sum over each voxel below"):
        voxel_reduce(values * 1e9, v, "mean")
    with pytest.raises(ValueError, match="values: expected a sum over each voxel below"):
        voxel_reduce(torch.full((4,), 2**62), v, "mean")
    with pytest.raises(ValueError, match="values: expected finite.*1 rows of scan 0"):
        voxel_reduce(torch.tensor([0.0, math.nan, 0, 0]), v, "max")


def test_reduce_of_fixed_point_scores_is_exact():
    v = voxels_of([5, 8, 5, 5])
    values = torch.tensor([2**40 + 1, -(2**62), 3, -(2**40)])
    assert voxel_reduce(values, v, "max").tolist() == [2**40 + 1, -(2**62)]
    values = torch.tensor([1, -7, -9, 1])
    assert voxel_reduce(values, v, "mean").tolist() == [-3, -7]  # -7 / 3, rounded down


def test_mean_does_not_depend_on_the_order_of_the_points():
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(5000, generator=generator)
    results = set()
    for _ in range(5):
        order = torch.randperm(5000, generator=generator)
        results.add(float(voxel_reduce(values[order], voxels_of([0] * 5000), "mean")[0]))
    assert len(results) == 1 and results.pop() == pytest.approx(float(values.double().mean()))


def test_top_takes_the_best_of_each_scan_that_are_not_excluded():
    v = voxels_of([0, 1, 2, 3, 0, 1], [0, 4, 4, 6])
    scores = torch.tensor([1, 9, 5, 7, 3, 4]) * SCORE_ONE
    seeds = torch.tensor([1, 2, 3])
    picks = top_voxels(scores, v, 2, seeds)
    assert [p.tolist() for p in picks] == [[1, 3], [], [5, 4]]
    assert [p.tolist() for p in top_voxels(scores.float(), v, 2, seeds)] == [[1, 3], [], [5, 4]]
    exclude = torch.tensor([False, True, False, False, False, True])
    picks = top_voxels(scores, v, 9, seeds, exclude)
    assert [p.tolist() for p in picks] == [[3, 2, 0], [], [4]]
    assert [len(p) for p in top_voxels(scores, v, 0, seeds)] == [0, 0, 0]


def splitmix_key(seed: int, cell: tuple[int, int, int]) -> int:
    """The tie-break in unbounded Python integers, as a signed 64-bit number."""
    state = _splitmix(seed)
    for axis in cell:
        state = _splitmix(state ^ (axis % 2**64))
    return state - 2**64 if state >= 2**63 else state


def _splitmix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.lists(st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 3), max_size=20, unique=True),
    st.integers(1, 20),
)
@settings(max_examples=80, deadline=None)
def test_top_order_is_score_then_seeded_hash_of_the_cell(seed, cells, k):
    v = group_cells(torch.tensor(cells, dtype=torch.int32).reshape(-1, 3))
    scores = [abs(c[0]) % 3 for c in cells]
    expected = sorted(
        range(len(cells)), key=lambda i: (-scores[i], splitmix_key(seed % 2**64, cells[i]), i)
    )
    found = top_voxels(torch.tensor(scores, dtype=torch.int64), v, k, torch.tensor([seed]))
    assert found[0].tolist() == expected[:k]


def test_tie_break_ignores_the_order_of_points_and_other_scans():
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(-20, 20, (300, 3), generator=generator, dtype=torch.int32)
    other = torch.randint(-20, 20, (90, 3), generator=generator, dtype=torch.int32)

    def picked(cells: Tensor, splits: list[int], scan: int, seeds: list[int]) -> list:
        v = group_cells(cells, torch.tensor(splits))
        scores = torch.zeros(len(v), dtype=torch.int64)
        return v.cells[top_voxels(scores, v, 7, torch.tensor(seeds))[scan]].tolist()

    alone = picked(cells, [0, 300], 0, [42])
    assert picked(cells[torch.randperm(300, generator=generator)], [0, 300], 0, [42]) == alone
    assert picked(torch.cat([other, cells]), [0, 90, 90, 390], 2, [7, 8, 42]) == alone
    assert picked(cells, [0, 300], 0, [43]) != alone


def test_tie_break_is_near_uniform_over_seeds():
    v = voxels_of(list(range(-4, 6)))
    scores = torch.zeros(10, dtype=torch.int64)
    wins = Counter(int(top_voxels(scores, v, 1, torch.tensor([s]))[0]) for s in range(1500))
    # chi-square, 9 degrees of freedom: 33.7 is the 1 in 10,000 quantile; the seeds are fixed
    assert sum((wins[i] - 150) ** 2 / 150 for i in range(10)) < 33.7


def test_top_refuses_what_it_cannot_order():
    v = voxels_of([0, 1])
    with pytest.raises(ValueError, match="scores: expected no NaN, got 1"):
        top_voxels(torch.tensor([0.0, math.nan]), v, 1, torch.tensor([0]))
    with pytest.raises(ValueError, match=r"seeds: expected shape \[1\], got \[2\]"):
        top_voxels(torch.zeros(2), v, 1, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="k: expected an int"):
        top_voxels(torch.zeros(2), v, -1, torch.tensor([0]))
    with pytest.raises(ValueError, match="exclude: expected bool"):
        top_voxels(torch.zeros(2), v, 1, torch.tensor([0]), torch.zeros(2))
