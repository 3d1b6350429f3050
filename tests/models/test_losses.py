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


def test_class_weights_weight_the_cross_entropy_alone():
    torch.manual_seed(1)
    logits, target = torch.randn(6, 3), torch.tensor([0, 2, 2, 255, 1, 0])
    weights = torch.tensor([1.0, 4.0, 2.0])
    plain = segmentation_loss(logits, target, label_smoothing=0.1)
    found = segmentation_loss(logits, target, label_smoothing=0.1, class_weights=weights)
    each = [
        0.9 * -row.log_softmax(0)[t] + 0.1 * -row.log_softmax(0).mean()
        for row, t in zip(logits, target.tolist(), strict=True)
        if t != 255
    ]
    expected = (1 * each[0] + 2 * each[1] + 2 * each[2] + 4 * each[3] + 1 * each[4]) / 10
    assert float(found["loss_ce"]) == pytest.approx(float(expected), rel=1e-5)
    assert torch.equal(found["loss_lovasz"], plain["loss_lovasz"])
    ones = segmentation_loss(logits, target, class_weights=torch.ones(3))
    assert float(ones["loss_ce"]) == pytest.approx(float(plain["loss_ce"]), rel=1e-6)


def test_class_weights_go_with_weights_of_rows():
    torch.manual_seed(2)
    logits, target = torch.randn(3, 3), torch.tensor([0, 1, 1])
    rows, classes = torch.tensor([0.5, 1.0, 0.25]), torch.tensor([1.0, 4.0, 1.0])
    found = segmentation_loss(logits, target, weight=rows, class_weights=classes)
    both = segmentation_loss(logits, target, weight=torch.tensor([0.5, 4.0, 1.0]))
    assert float(found["loss_ce"]) == pytest.approx(float(both["loss_ce"]), rel=1e-6)
    only_rows = segmentation_loss(logits, target, weight=rows)
    assert torch.equal(found["loss_lovasz"], only_rows["loss_lovasz"])


def test_class_weights_without_any_label_give_zero():
    logits = torch.randn(5, 3, requires_grad=True)
    weights = torch.ones(3)
    losses = segmentation_loss(logits, torch.full((5,), 255), class_weights=weights)
    sum(losses.values()).backward()
    assert torch.equal(logits.grad, torch.zeros(5, 3))
