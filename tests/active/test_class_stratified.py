"""Class-stratified uncertainty: the parts of each class, and noise that fades."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from annotator3d.active.draws import gumbel
from annotator3d.active.evidence import Given, Moment
from annotator3d.active.strategies import get_strategy
from annotator3d.kernels.grouping import voxelize

CLASSES = 3


def scored(xyz, logits, round=1, rounds=5, seed=0, **keywords):
    """Cells, log-utilities [V] and those of the strata [V, C]."""
    strategy = get_strategy({"type": "class_stratified", **keywords}, voxel_size=1.0)
    given = Given(moment=Moment(round, rounds, 10, seed))
    seen = strategy.evidence(xyz, logits, None, CLASSES, "0/0", given)
    found = strategy.score(seen)
    return seen.voxels, found.utilities, found.strata


def scan(points=400, seed=0):
    random = np.random.default_rng(seed)
    xyz = random.uniform(0, 6, (points, 3)).astype(np.float32)
    return xyz, torch.from_numpy(random.normal(0, 2, (points, CLASSES)).astype(np.float32))


def entropy(p) -> float:
    return -sum(q * math.log(q, CLASSES) for q in p if q > 0)


def slow_parts(xyz, logits, uncertainty) -> dict:
    """Cell -> (s, [s_c]), point by point."""
    cells = list(map(tuple, np.floor(xyz).astype(int).tolist()))
    p = [[math.exp(v) for v in row] for row in logits.tolist()]
    p = [[v / sum(row) for v in row] for row in p]
    found = {}
    for cell in set(cells):
        rows = [row for other, row in zip(cells, p, strict=True) if other == cell]
        shares = [sum(r.index(max(r)) == c for r in rows) / len(rows) for c in range(CLASSES)]
        mean = sum(map(entropy, rows)) / len(rows)
        whole = {"vcd": entropy(shares), "impurity": entropy(shares) * mean}.get(uncertainty)
        each = [entropy(row) if whole is None else whole for row in rows]
        parts = [
            sum(u * row[c] for u, row in zip(each, rows, strict=True)) / len(rows)
            for c in range(CLASSES)
        ]
        found[cell] = (mean if whole is None else whole, parts)
    return found


@pytest.mark.parametrize("uncertainty", ["entropy", "impurity", "vcd"])
def test_utilities_and_strata_are_logarithms_of_the_definition_with_one_noise(uncertainty):
    xyz, logits = scan()
    voxels, whole, parts = scored(xyz, logits, uncertainty=uncertainty)
    expected = slow_parts(xyz, logits, uncertainty)
    for cell, log_s, logs in zip(
        voxels.cells.tolist(), whole.tolist(), parts.tolist(), strict=True
    ):
        s, of_class = expected[tuple(cell)]
        for log_c, part in zip(logs, of_class, strict=True):
            if s < 1e-6:
                assert uncertainty != "entropy" and log_c == -math.inf
            else:
                assert math.exp(log_c - log_s) * s == pytest.approx(part, abs=1e-6)


def test_the_noise_is_gumbel_and_fades_from_1_to_a_hundredth():
    xyz = np.stack(np.meshgrid(*[np.arange(16) + 0.5] * 3), -1).reshape(-1, 3).astype(np.float32)
    logits = torch.zeros(len(xyz), CLASSES)  # s = 1 everywhere
    for round, beta in ((1, 1.0), (3, 10.0), (5, 100.0), (9, 100.0)):
        _, noise, _ = scored(xyz, logits, round)
        assert float(noise.mean()) * beta == pytest.approx(0.5772, abs=0.08)
        assert float(noise.std()) * beta == pytest.approx(math.pi / 6**0.5, abs=0.1)
    assert not torch.equal(scored(xyz, logits, 5)[1], scored(xyz, logits, 9)[1])
    assert not torch.equal(scored(xyz, logits, 5)[1], scored(xyz, logits, 5, seed=1)[1])


def test_a_draw_of_a_cell_depends_on_nothing_but_seed_scan_and_purpose():
    cells = voxelize(torch.rand(50, 3) * 9, 1.0).cells
    whole = gumbel(cells, 3, "0/0", "a")
    assert torch.equal(gumbel(cells[20:], 3, "0/0", "a"), whole[20:])
    for other in (gumbel(cells, 4, "0/0", "a"), gumbel(cells, 3, "0/1", "a"),
                  gumbel(cells, 3, "0/0", "b")):  # fmt: skip
        assert not torch.isclose(other, whole).any()


def test_a_share_is_split_over_the_classes_the_rarest_first():
    strategy = get_strategy({"type": "class_stratified", "share": 0.5})
    frequencies = np.array([50, 0, 7])
    assert strategy.quotas(None, frequencies, Moment(budget=10)) == [(2, 3), (0, 2)]


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"share": 1.2}, "share: expected 0 to 1, got 1.2"),
        ({"uncertainty": "margin"}, "uncertainty: expected 'entropy', 'impurity' or 'vcd'"),
    ],
)
def test_other_keywords_are_refused(keywords, words):
    with pytest.raises(ValueError, match=words):
        get_strategy({"type": "class_stratified", **keywords})
