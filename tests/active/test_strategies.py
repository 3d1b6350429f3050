"""Each strategy scores what its definition says, and every registered one keeps its promises."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from annotator3d.active.strategies import (
    STRATEGIES,
    QueryStrategy,
    VoxelConfusion,
    VoxelEntropy,
    get_strategy,
)
from annotator3d.kernels.grouping import group_cells
from annotator3d.registry import fill

fill(STRATEGIES)
PUBLISHED = ("entropy", "entropy_mean", "margin", "margin_mean", "random", "vcd")
OF_LOGITS = [
    name
    for name, made in sorted(STRATEGIES.module_dict.items())
    if made.utilities is not QueryStrategy.utilities
]


def voxels_of(members):
    """Voxels in a row; point i lies in voxel members[i]."""
    cells = torch.tensor([[m, 0, 0] for m in members], dtype=torch.int32).reshape(-1, 3)
    return group_cells(cells)


def slow_scores(name, members, logits):
    """From the definitions, point by point in plain Python."""
    found = []
    for voxel in dict.fromkeys(members):
        rows = [row for m, row in zip(members, logits, strict=True) if m == voxel]
        shares, gaps, entropies = Counter(), [], []
        for row in rows:
            shares[row.index(max(row))] += 1 / len(rows)
            top = max(row)
            weights = [math.exp(value - top) for value in row]
            p = sorted((w / sum(weights) for w in weights), reverse=True)
            gaps.append(p[0] - (p[1] if len(p) > 1 else 0))
            entropies.append(-sum(q * math.log2(q) for q in p if q > 0))
        vcd = -sum(share * math.log2(share) for share in shares.values())
        definitions = {
            "random": 0,
            "vcd": vcd,
            "entropy": max(entropies),
            "entropy_mean": sum(entropies) / len(rows),
            "margin": -max(gaps),
            "margin_mean": -sum(gaps) / len(rows),
        }
        found.append(definitions[name])
    return found


def test_hand_computed_scores():
    voxels = voxels_of([0, 0, 0, 0, 1, 2])
    sure, torn, even = [50.0, 0, 0], [2.0, 2, -50], [0.0, 0, 0]
    logits = torch.tensor([sure, [0.0, 50, 0], sure, [0.0, 50, 0], torn, even])
    wanted = {
        "random": [0, 0, 0],
        "vcd": [1, 0, 0],  # two classes, half each
        "entropy": [0, 1, math.log2(3)],  # the point of voxel 1 is torn between two
        "entropy_mean": [0, 1, math.log2(3)],
        "margin": [-1, 0, 0],
        "margin_mean": [-1, 0, 0],
    }
    for name, values in wanted.items():
        scores = get_strategy(name).utilities(voxels, logits, 3)
        assert scores.tolist() == pytest.approx(values, abs=1e-6), name


@given(st.data(), st.sampled_from(PUBLISHED), st.integers(1, 5))
def test_scores_follow_the_definition(data, name, classes):
    members = data.draw(st.lists(st.integers(0, 3), max_size=12))
    value = st.integers(-160, 160).map(lambda i: i / 4)
    row = st.lists(value, min_size=classes, max_size=classes)
    logits = data.draw(st.lists(row, min_size=len(members), max_size=len(members)))
    tensor = torch.tensor(logits).reshape(-1, classes)
    scores = get_strategy(name).utilities(voxels_of(members), tensor, classes)
    assert scores.tolist() == pytest.approx(slow_scores(name, members, logits), abs=1e-6)


@pytest.mark.parametrize("name", OF_LOGITS)
def test_extreme_and_half_precision_logits_are_scored(name):
    voxels = voxels_of([0, 1, 1])
    logits = torch.tensor([[6e4, -6e4], [0.0, -6e4], [6e4, 0.0]])
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        scores = get_strategy(name).utilities(voxels, logits.to(dtype), 2)
        assert scores.shape == (2,) and scores.isfinite().all()
        assert scores.dtype == torch.float64
        if name in PUBLISHED:
            certain = -1.0 if name.startswith("margin") else 0.0
            assert scores.tolist() == [certain, certain]


@pytest.mark.parametrize("name", OF_LOGITS)
def test_scans_without_points_are_scored(name):
    assert get_strategy(name).utilities(voxels_of([]), torch.zeros(0, 4), 4).shape == (0,)


@pytest.mark.parametrize("name", OF_LOGITS)
def test_scores_do_not_change_their_input(name):
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    before = logits.detach().clone()
    scores = get_strategy(name).utilities(voxels_of([0, 0, 1, 2, 2, 2]), logits, 3)
    assert torch.equal(logits, before) and not scores.requires_grad


def test_vcd_knows_uniform_voxels_and_labels_instead_of_logits():
    members = [0, 0, 1, 1, 2, 2]
    labels = torch.tensor([1, 1, 1, 2, 0, 255])
    vcd = get_strategy("vcd").utilities(voxels_of(members), labels, 3)
    assert (vcd >= vcd[0]).all() and vcd[0] == 0
    assert vcd.tolist() == [0, 1, 0]  # an unlabelled point counts nowhere


def test_scores_per_point_from_elsewhere_count_by_their_maximum():
    points = torch.tensor([0.1, 0.7, 0.3])
    voxels = voxels_of([0, 0, 1])
    entropy = get_strategy("entropy").utilities(voxels, points, 9)
    margin = get_strategy("margin").utilities(voxels, points, 9)
    assert entropy.tolist() == pytest.approx([0.7, 0.3])
    assert margin.tolist() == pytest.approx([-0.7, -0.3])


def test_mean_and_maximum_of_the_members_differ():
    voxels = voxels_of([0, 0])
    logits = torch.tensor([[0.0, 0], [90.0, 0]])  # undecided, certain
    scores = {n: get_strategy(n).utilities(voxels, logits, 2).item() for n in PUBLISHED}
    assert [scores[n] for n in ("entropy", "entropy_mean")] == pytest.approx([1, 0.5], abs=1e-6)
    assert [scores[n] for n in ("margin", "margin_mean")] == pytest.approx([-1, -0.5], abs=1e-6)


def test_a_score_of_its_own_is_not_replaced_by_the_kernels():
    class Mine(VoxelConfusion):
        def utilities(self, voxels, prediction, num_classes):
            return voxels.counts.double()

    class Same(VoxelEntropy):
        def __init__(self):
            super().__init__(reduce="mean")

    assert VoxelConfusion.fused == "vcd" and Mine.fused is None and Same.fused == "entropy"
    assert QueryStrategy.fused is None


@pytest.mark.parametrize("name", [n for n in OF_LOGITS if get_strategy(n).needs_model])
@pytest.mark.parametrize("bad", ["none", "nan", "inf", "classes", "rows"])
def test_predictions_that_do_not_fit_are_refused(name, bad):
    logits = torch.zeros(3, 4)
    logits[1, 2] = {"nan": math.nan, "inf": math.inf}.get(bad, 0.0)
    wrong = {"none": None, "classes": logits[:, :3], "rows": logits[:2]}.get(bad, logits)
    with pytest.raises(ValueError):
        get_strategy(name).utilities(voxels_of([0, 0, 1]), wrong, 4)


@pytest.mark.parametrize("name", ["entropy", "margin"])
def test_hard_labels_are_not_enough_for_soft_strategies(name):
    with pytest.raises(ValueError, match="logits"):
        get_strategy(name).utilities(voxels_of([0, 1]), torch.tensor([0, 1]), 2)


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(ValueError, match="did you mean 'entropy'"):
        get_strategy("entropi")
