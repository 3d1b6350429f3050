"""What every strategy promises: those that are registered, and one from outside the package."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from strategy_evidence import add_poses, given_to, prototypes_of
from tiny_runs import tiny_config

from annotator3d.active.strategies import STRATEGIES, QueryStrategy
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.engine.build import build_model, input_rule
from annotator3d.engine.prediction import strategy_inputs
from annotator3d.engine.rounds.select_round import RoundPlan, select_round
from annotator3d.ledger.ledger import Ledger
from annotator3d.registry import fill

CLASSES = 5
OUTSIDE = Path(__file__).parents[2] / "docs" / "extending.md"


def from_outside() -> type[QueryStrategy]:
    """The strategy that docs/extending.md shows, without registering it."""
    (text,) = re.findall(r"```python\n# doubt\.py\n(.*?)```", OUTSIDE.read_text(), re.DOTALL)
    names: dict = {}
    exec(text.replace('@STRATEGIES.register_module("doubt")\n', ""), names)
    return names["Doubt"]


fill(STRATEGIES)
ALL = {name: STRATEGIES.module_dict[name] for name in sorted(STRATEGIES.module_dict)}
if OUTSIDE.exists():
    ALL["doubt (outside)"] = from_outside()


@pytest.fixture(params=ALL)
def strategy(request) -> QueryStrategy:
    return ALL[request.param](voxel_size=1.0)


def scan(seed: int, points: int = 600):
    """xyz [N, 3] in a box of 6 x 6 x 2 m, and sharp logits [N, C] with ties among them."""
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.rand(points, 3, generator=generator) * torch.tensor([6.0, 6.0, 2.0]) - 3
    logits = torch.randn(points, CLASSES, generator=generator) * 3
    logits[::7] = 0
    return xyz.numpy(), logits


def select(strategy, xyz, logits, budget, asked=None, rows=None):
    given = {"prediction": logits, "rows": rows} if strategy.needs_model else {}
    return strategy.select(
        xyz,
        **given,
        given=given_to(strategy, xyz, logits, rows, asked=asked),
        scan_id="00/000000",
        random_state=3,
        batch_size=budget,
        num_classes=CLASSES,
        exclude=asked,
    ).picks


def cells_of(xyz):
    return {tuple(cell) for cell in np.floor(xyz).astype(int).tolist()}


def test_the_same_input_gives_the_same_picks(strategy):
    xyz, logits = scan(0)
    first = select(strategy, xyz, logits, 4)
    assert select(strategy, xyz, logits, 4) == first
    other = scan(1)
    select(strategy, *other, 4)  # another scan in between leaves no trace
    assert select(strategy, xyz, logits, 4) == first
    assert select(type(strategy)(voxel_size=1.0), xyz, logits, 4) == first
    order = torch.randperm(len(xyz), generator=torch.Generator().manual_seed(1))
    shuffled = select(strategy, xyz[order.numpy()], logits[order], 4)
    assert [p.cell for p in shuffled] == [p.cell for p in first]
    of_voxels = select(strategy, xyz, logits[order], 4, rows=torch.argsort(order))
    assert of_voxels == first


def test_labelled_voxels_are_never_asked_about_again(strategy):
    xyz, logits = scan(0)
    everything, asked = cells_of(xyz), np.zeros((0, 3), np.int32)
    while len(asked) < len(everything):
        picks = select(strategy, xyz, logits, 7, asked)
        cells = [pick.cell for pick in picks]
        assert len(set(cells)) == len(cells) == min(7, len(everything) - len(asked))
        assert not {tuple(cell) for cell in asked.tolist()} & set(cells)
        asked = np.concatenate([asked, np.array(cells, np.int32)])
    assert select(strategy, xyz, logits, 7, asked) == []
    assert {tuple(cell) for cell in asked.tolist()} == everything


@pytest.mark.parametrize("budget", [1, 3, 10_000])
def test_the_budget_is_exact(strategy, budget):
    xyz, logits = scan(2)
    picks = select(strategy, xyz, logits, budget)
    assert len(picks) == min(budget, len(cells_of(xyz)))
    scores = [pick.utility for pick in picks]
    assert scores == sorted(scores, reverse=True) and np.isfinite(scores).all()
    for pick in picks:
        inside = np.flatnonzero((np.floor(xyz) == np.array(pick.cell)).all(1))
        assert pick.point_indices.tolist() == inside.tolist() and pick.num_points == len(inside)


@pytest.mark.parametrize("order", range(5))
def test_no_order_of_the_points_changes_a_bit_of_a_utility(strategy, order):
    xyz, logits = scan(order, points=3000)
    mixed = torch.randperm(len(xyz), generator=torch.Generator().manual_seed(order))
    found = select(strategy, xyz, logits, 10_000)
    again = select(strategy, xyz[mixed.numpy()], logits[mixed], 10_000)
    assert [(p.cell, p.utility) for p in again] == [(p.cell, p.utility) for p in found]


def test_scans_without_points_are_asked_nothing(strategy):
    assert select(strategy, np.zeros((0, 3), np.float32), torch.zeros(0, CLASSES), 3) == []


def test_the_prediction_is_not_changed(strategy):
    xyz, logits = scan(0)
    before, points = logits.clone(), xyz.copy()
    select(strategy, xyz, logits.requires_grad_(), 5)
    assert torch.equal(logits.detach(), before) and logits.grad is None
    assert (xyz == points).all()


def test_a_round_leaves_model_and_random_numbers_untouched(
    strategy, make_kitti, tmp_path, monkeypatch
):
    monkeypatch.setitem(STRATEGIES.module_dict, strategy.name, type(strategy))
    root = make_kitti(sequences=("00",), scans=2)
    add_poses(root, "00", 2)
    config = tiny_config(root, active={"queries_per_scan": 2})
    pool, rule = SemanticKITTI(config.data.train["root"], ["00"]), input_rule(config, 19)
    model = build_model(config, 19).train()
    prototypes = prototypes_of(19, model.backbone.out_channels)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state(), np.random.get_state()[1].tolist()
    canonical = []
    for again in ("a", "b"):
        path = tmp_path / f"{again}.sqlite"
        names = pool.taxonomy.names
        with Ledger.open(path, names, pool.taxonomy.digest(), 4.0) as ledger:
            asked = select_round(
                ledger,
                pool,
                RoundPlan(1, 0, strategy.name, 0, "weights", 19),
                config.active,
                lambda scan: (
                    strategy_inputs(model, scan, rule, strategy.needs, prototypes)
                    if strategy.needs_model
                    else {}
                ),
                tmp_path / "rounds",
            )
            assert asked.voxels == ledger.spent() == 2 * 2
            canonical.append(ledger.export_canonical())
    assert canonical[0] == canonical[1]
    assert model.training and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), random[0])
    assert np.random.get_state()[1].tolist() == random[1]
