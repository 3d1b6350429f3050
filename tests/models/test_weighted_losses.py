"""Losses of rows that weigh: a row of weight 2 is as two equal rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from annotator3d.kernels import lovasz_softmax
from annotator3d.models.losses import segmentation_loss, weighted_lovasz


def rows(seed, count=24, classes=4):
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=random, dtype=torch.float64)
    target = torch.randint(0, classes, (count,), generator=random)
    return logits, target, torch.randint(1, 4, (count,), generator=random)


def gradients(loss, logits):
    (found,) = torch.autograd.grad(loss, logits, retain_graph=True)
    return found


@given(st.integers(0, 1000))
def test_a_row_of_weight_n_is_as_n_equal_rows(seed):
    logits, target, times = rows(seed)
    logits = logits.float().requires_grad_()
    target[times == 3] = 255  # rows without a label weigh nothing
    once = segmentation_loss(logits, target, 0.1, 1.0, times.float())
    again = segmentation_loss(logits.repeat_interleave(times, 0), target.repeat_interleave(times))
    for name in ("loss_ce", "loss_lovasz"):
        assert once[name].item() == pytest.approx(again[name].item(), abs=1e-5)
        torch.testing.assert_close(
            gradients(once[name], logits), gradients(again[name], logits), atol=1e-5, rtol=1e-4
        )


@given(st.integers(0, 1000), st.sampled_from([0.25, 1.0]))
def test_equal_weights_are_as_none(seed, weight):
    logits, target, _ = rows(seed)
    probabilities = logits.softmax(1).requires_grad_()
    weighted = weighted_lovasz(probabilities, target, torch.full((len(target),), weight).double())
    plain = lovasz_softmax(probabilities, target)
    assert weighted.item() == pytest.approx(plain.item(), abs=1e-12)
    torch.testing.assert_close(gradients(weighted, probabilities), gradients(plain, probabilities))


def test_a_batch_without_a_label_has_a_loss_of_0_with_a_gradient():
    logits = torch.zeros(3, 2, requires_grad=True)
    found = segmentation_loss(logits, torch.full((3,), 255), 0.1, 1.0, torch.ones(3))
    for loss in found.values():
        assert loss.item() == 0 and not gradients(loss, logits).any()
