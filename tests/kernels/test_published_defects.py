"""What the published selection gets wrong, on small examples, and that ours does not share it.

The published side is `tools/published_selection.py`, written from the description of the released
code (Annotator, NeurIPS 2023).
"""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from annotator3d.active.strategies import VoxelConfusion, VoxelEntropy, get_strategy
from annotator3d.kernels.grouping import voxelize

SCRIPT = Path(__file__).parents[2] / "tools" / "published_selection.py"
SIZE = 0.25


@pytest.fixture(scope="module")
def published():
    spec = importlib.util.spec_from_file_location("published_selection", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def column(members: list[int]) -> Tensor:
    """[N, 3] coordinates: voxel i of the list has so many points, at x = i * SIZE away from 0."""
    voxel = torch.repeat_interleave(torch.tensor(members, dtype=torch.int64))
    xyz = torch.zeros(len(voxel), 3) + SIZE / 2 + 10
    xyz[:, 0] += voxel * SIZE
    return xyz


def ours(xyz: Tensor, strategy: str, logits: Tensor | None = None, budget: int = 1, **more) -> list:
    more = {"scan_id": "a"} | more
    strategy = get_strategy(strategy, voxel_size=SIZE)
    return strategy.query(xyz, logits, batch_size=budget, num_classes=4, **more)


def of_gap(gap: list[float], classes: int = 4) -> Tensor:
    """Logits [N, classes] whose two likeliest classes are so far apart in probability."""
    p = torch.tensor(gap, dtype=torch.float64)
    logits = torch.full((len(gap), classes), -200.0, dtype=torch.float64)
    logits[:, 1], logits[:, 2] = ((1 + p) / 2).log(), ((1 - p) / 2).clamp(min=1e-80).log()
    return logits.float()


def test_cells_around_zero_are_not_twice_as_wide(published):
    """R4: truncation towards zero instead of floor."""
    around = torch.tensor([[-0.2, 5.1, 5.1], [0.2, 5.1, 5.1]])
    filler = column([1] * 100)
    voxels = published.published_voxels(torch.cat([around, filler]), SIZE)
    assert len(voxels.table) == 101  # of 102 cells
    assert len(voxelize(torch.cat([around, filler]), SIZE)) == 102
    xyz = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    extent = [(c.max() - c.min()) for c in _cells_of_zero(xyz)]
    assert all(e <= SIZE for e in extent)
    truncated = xyz[((xyz / SIZE).int() == 0).all(1)]
    assert (truncated.max(0).values - truncated.min(0).values > 1.8 * SIZE).all()


def _cells_of_zero(xyz: Tensor) -> list[Tensor]:
    voxels = voxelize(xyz, SIZE)
    zero = (voxels.cells == 0).all(1).nonzero().item()
    return list(xyz[voxels.point_to_voxel == zero].t())


def test_margin_is_not_that_of_the_last_point(published):
    """R5: the padding reads the scan's last point, whose margin floors that of every voxel."""
    members = [3] * 10 + [2] * 110  # voxels of 2 points have one padded place
    xyz = column(members)
    gaps = [0.5 + 0.4 * math.sin(7 * i) for i in range(len(xyz))]
    gaps[-1] = 0.99  # certain
    logits = of_gap(gaps)
    voxels = published.published_voxels(xyz, SIZE)
    scores = published.margin(logits, voxels)
    assert (scores == -0.99).sum() == pytest.approx(110)  # every padded voxel
    truth = [-max(gaps[m] for m in v.tolist() if m >= 0) for v in voxels.table]
    assert truth[int(scores.argmax())] < max(truth)  # not the voxel that it should be

    of_voxel = voxelize(xyz, SIZE).point_to_voxel.tolist()
    largest: dict[int, float] = {}
    for v, gap in zip(of_voxel, gaps, strict=True):
        largest[v] = max(gap, largest.get(v, 0.0))
    lowest = min(largest, key=largest.get)
    (pick,) = ours(xyz, "margin", logits)
    assert pick.cell == tuple(voxelize(xyz, SIZE).cells[lowest].tolist())
    assert pick.utility == pytest.approx(max(truth), abs=1e-6)
    before = ours(xyz[:-1], "margin", logits[:-1])
    assert [p.utility for p in before] == [
        pick.utility
    ]  # the last point's margin is its own affair


def test_the_last_point_can_be_labelled(published):
    """R5: the padding sets the last point's mask, which is therefore always taken back."""
    xyz = column([2] * 10 + [1] * 110)
    logits = torch.zeros(len(xyz), 4)
    voxels = published.published_voxels(xyz, SIZE)
    labelled = torch.zeros(len(xyz), dtype=torch.bool)
    rounds = [published.pick(published.vcd(logits, voxels), voxels, labelled) for _ in range(130)]
    last = (voxels.table == len(xyz) - 1).any(1).nonzero().item()
    assert not labelled[-1]
    assert sum(int(r) == last for r in rounds) > 10  # its voxel is asked for again and again

    picks = ours(xyz, "vcd", logits, budget=120)
    rows = np.concatenate([p.point_indices for p in picks])
    assert sorted(rows.tolist()) == list(range(len(xyz)))
    asked = np.array([p.cell for p in picks], np.int32)
    assert ours(xyz, "vcd", logits, budget=9, exclude=asked) == []


def test_every_point_of_a_voxel_counts(published):
    """R6: at most min(100, 99th percentile) points of a voxel are scored and labelled."""
    xyz = column([300, 40] + [1] * 200)  # two of 202 voxels are crowded
    logits = torch.zeros(len(xyz), 4)
    logits[:, 1] = 1
    logits[150:300, 2] = 5  # the second half of the first voxel is of another class
    logits[300:302, 2] = 5  # 2 of the 40 in the second voxel
    voxels = published.published_voxels(xyz, SIZE)
    assert voxels.table.shape[1] == 40
    crowded = (voxels.table == 0).any(1).nonzero().item()
    scores = published.vcd(logits, voxels)
    assert scores[crowded] == 0 and scores.argmax() != crowded  # it saw 40 points of one class
    labelled = torch.zeros(len(xyz), dtype=torch.bool)
    for _ in range(210):
        published.pick(scores, voxels, labelled)
    assert labelled[:300].sum() == 40  # 260 points can never be labelled

    (pick,) = ours(xyz, "vcd", logits)
    assert pick.num_points == 300 and pick.utility == pytest.approx(1.0, abs=1e-9)
    assert pick.point_indices.tolist() == list(range(300))


def test_few_voxels_and_certain_points_are_fine(published):
    """R7: fewer than 100 voxels end in an IndexError; 0 * log2(0) is NaN, which sorts first."""
    with pytest.raises(IndexError):
        published.published_voxels(column([1] * 99), SIZE)
    for voxels in (0, 1, 99):
        assert len(ours(column([1] * voxels), "random", budget=200)) == voxels

    xyz = column([1] * 120)
    logits = torch.zeros(120, 4)
    logits[:, 0] = torch.linspace(0.5, 3, 120)
    logits[7] = torch.tensor([200.0, 0, 0, 0])  # as certain as float32 can be
    voxels = published.published_voxels(xyz, SIZE)
    scores = published.entropy(logits, voxels)
    best = published.pick(scores, voxels, torch.zeros(120, dtype=torch.bool))
    assert scores[best].isnan().all() and voxels.table[best, 0] == 7  # the most certain is asked

    picks, utilities = VoxelEntropy().query(
        xyz, logits, scan_id="a", batch_size=120, return_utilities=True
    )
    assert picks[0].point_indices.tolist() == [0]  # the least certain
    assert picks[-1].point_indices.tolist() == [7] and np.isfinite(utilities).all()


def test_equal_scores_do_not_ask_for_the_same_place_in_every_scan(published):
    """R8: ties go to the lowest hash of the cell, so the same few cells are asked everywhere."""
    shared = column([1] * 150)
    theirs, own = set(), set()
    for scan in range(12):
        extra = torch.rand(40, 3, generator=torch.Generator().manual_seed(scan)) * 50 - 100
        xyz = torch.cat([shared, extra])
        logits = torch.zeros(len(xyz), 4)  # an untrained network
        voxels = published.published_voxels(xyz, SIZE)
        free = torch.zeros(len(xyz), dtype=torch.bool)
        best = published.pick(published.vcd(logits, voxels), voxels, free)
        theirs.add(tuple((xyz[voxels.table[best, 0]] / SIZE).int()[0].tolist()))
        own.add(ours(xyz, "vcd", logits, scan_id=f"00/{scan:06d}")[0].cell)
    assert len(theirs) < 12 <= len(own) + 1  # theirs repeat; ours once at most


def test_points_without_a_class_do_not_thin_the_confusion(published):
    """Channel 0 ("ignored") counts in the published denominator and in no class."""
    xyz = column([4] * 3 + [1] * 100)
    labels = torch.ones(len(xyz), dtype=torch.int64)
    labels[:12] = torch.tensor([2, 2, 3, 3, 2, 2, 0, 0, 0, 0, 0, 0])
    voxels = published.published_voxels(xyz, SIZE)
    scores = published.vcd_of_labels(labels, voxels, 4)
    of_row = {int(t[0]): float(s) for t, s in zip(voxels.table, scores, strict=True)}
    assert [of_row[row] for row in (0, 4, 8)] == [1.0, 0.5, 0.0]
    labels[labels == 0] = 255
    _, utilities = VoxelConfusion().query(xyz, labels, num_classes=4, return_utilities=True)
    assert utilities[[0, 4, 8]].tolist() == [1.0, 0.0, 0.0]  # all that is known agrees
