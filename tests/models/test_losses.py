"""The loss: hand-computed values, safe without labels."""

from __future__ import annotations

import math

import pytest
import torch

from annotator3d.kernels import lovasz_softmax
from annotator3d.models.losses import segmentation_loss


def slow_lovasz(probabilities, target):
    """Equation 8-9 of Berman et al., class by class and point by point."""
    losses = []
    for c in sorted(set(target.tolist())):
        truth = [int(t == c) for t in target.tolist()]
        errors = [abs(t - float(p)) for t, p in zip(truth, probabilities[:, c], strict=True)]
        order = sorted(range(len(errors)), key=lambda i: -errors[i])
        loss, before = 0.0, 0.0
        for n in range(1, len(order) + 1):
            worst = set(order[:n])
            positives = sum(truth)
            hit = sum(truth[i] for i in range(len(truth)) if i not in worst)
            union = positives + sum(1 - truth[i] for i in worst)
            jaccard = 1 - hit / union
            loss += errors[order[n - 1]] * (jaccard - before)
            before = jaccard
        losses.append(loss)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("seed", range(5))
def test_lovasz_equals_its_definition(seed):
    torch.manual_seed(seed)
    probabilities = torch.randn(12, 4, dtype=torch.float64).softmax(1)
    target = torch.randint(0, 3, (12,))
    got = lovasz_softmax(probabilities, target)
    assert float(got) == pytest.approx(slow_lovasz(probabilities, target))


def test_lovasz_of_a_perfect_prediction_is_zero():
    target = torch.tensor([0, 1, 1, 2])
    assert float(lovasz_softmax(torch.eye(3)[target], target)) == pytest.approx(0, abs=1e-6)


def test_cross_entropy_with_label_smoothing_by_hand():
    # Two classes, logits (ln 3, 0): probabilities 3/4 and 1/4. Smoothed target: 0.95, 0.05.
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    target = torch.tensor([0, 255])
    expected = -(0.95 * math.log(0.75) + 0.05 * math.log(0.25))
    losses = segmentation_loss(logits, target, label_smoothing=0.1, lovasz=0)
    assert float(losses["loss_ce"]) == pytest.approx(expected, rel=1e-6)
    assert losses.keys() == {"loss_ce"}


def test_without_any_label_the_loss_is_zero_and_so_is_its_gradient():
    logits = torch.randn(5, 3, requires_grad=True)
    losses = segmentation_loss(logits, torch.full((5,), 255))
    total = sum(losses.values())
    total.backward()
    assert float(total.detach()) == 0.0
    assert torch.equal(logits.grad, torch.zeros(5, 3))


def test_ignored_rows_have_no_influence():
    torch.manual_seed(0)
    logits, target = torch.randn(8, 3), torch.tensor([0, 255, 2, 1, 255, 0, 0, 255])
    changed = torch.where((target == 255)[:, None], torch.randn(8, 3) * 50, logits)
    for a, b in zip(
        segmentation_loss(logits, target).values(),
        segmentation_loss(changed, target).values(),
        strict=True,
    ):
        assert torch.equal(a, b)
