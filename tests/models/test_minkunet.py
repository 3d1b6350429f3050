"""The network: size as published, defined for tiny input, one scan at a time or batched."""

from __future__ import annotations

import pytest
import torch
from network_batches import assert_scans_are_independent, batch_of

from annotator3d.models.minkunet import MinkUNet
from annotator3d.models.segmentor import Segmentor

SMALL = {"type": "MinkUNet", "planes": [4, 4, 8, 8, 4], "blocks": 1}


def test_the_published_width_has_21_7_million_parameters():
    model = Segmentor({"type": "MinkUNet"}, 19)
    # 21.72 M computed from the published layer list, with 20 outputs; ours has 19.
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(21.72e6, abs=0.01e6)


@pytest.mark.parametrize("planes", [[8, 8], [8], [8, 0, 8]])
def test_planes_that_are_not_a_u_are_refused(planes):
    with pytest.raises(ValueError, match="planes: expected 2 L"):
        MinkUNet(planes=planes)


def test_scans_of_a_batch_do_not_see_each_other():
    assert_scans_are_independent(Segmentor(SMALL, 3).eval())


@pytest.mark.parametrize("counts", [(0,), (1,), (0, 1), (2, 0, 3)])
def test_tiny_batches_train(counts):
    model = Segmentor(SMALL, 3).train()
    losses = model(batch_of(*counts), mode="loss")
    sum(losses.values()).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(v) for v in losses.values())
    assert all(g.isfinite().all() for g in grads)


def statistics(model):
    return {k: v.clone() for k, v in model.state_dict().items() if "running" in k or "batches" in k}


def test_source_batches_leave_the_targets_running_statistics_alone():
    target, source = batch_of(100), batch_of(100, seed=1)
    alone, mixed = Segmentor(SMALL, 3).train(), Segmentor(SMALL, 3).train()
    mixed.load_state_dict(alone.state_dict())
    alone(target, mode="loss")
    losses = mixed(target, source, mode="loss")
    assert {"source_loss_ce", "loss_ce"} <= losses.keys()
    before, after = statistics(alone), statistics(mixed)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_published_batch_norm_mixes_the_domains():
    target, source = batch_of(100), batch_of(100, seed=1)
    alone, mixed = Segmentor(SMALL, 3).train(), Segmentor(SMALL, 3, bn="published").train()
    mixed.load_state_dict(alone.state_dict())
    alone(target, mode="loss")
    mixed(target, source, mode="loss")
    before, after = statistics(alone), statistics(mixed)
    assert not all(torch.equal(before[key], after[key]) for key in before)


def test_scoring_leaves_the_network_as_it_was():
    model = Segmentor(SMALL, 3).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    first, second = model.point_logits(batch_of(50)), model.point_logits(batch_of(50))
    assert torch.equal(first, second)
    assert model.training and not first.requires_grad
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
