"""Negative learning: hand-computed values, and what it leaves alone."""

from __future__ import annotations

import math

import pytest
import torch

from annotator3d.models.losses import negative_learning

# Softmax of logarithms is the probabilities themselves.
PROBABILITIES = torch.tensor([[0.95, 0.04, 0.01], [0.5, 0.47, 0.03], [0.01, 0.01, 0.98]])
NOBODY = torch.tensor([255, 255, 2])


def test_the_mean_over_the_unlikely_classes_by_hand():
    loss = negative_learning(PROBABILITIES.log(), NOBODY, 0.05)
    expected = -(math.log(0.96) + math.log(0.99) + math.log(0.97)) / 3
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_the_threshold_says_which_classes_count():
    loss = negative_learning(PROBABILITIES.log(), NOBODY, 0.02)
    assert float(loss) == pytest.approx(-math.log(0.99), rel=1e-5)


def test_it_lowers_unlikely_classes_and_leaves_labelled_rows_alone():
    logits = PROBABILITIES.log().requires_grad_()
    negative_learning(logits, NOBODY, 0.05).backward()
    assert logits.grad[0, 1] > 0 and logits.grad[0, 2] > 0 and logits.grad[1, 2] > 0
    assert torch.equal(logits.grad[2], torch.zeros(3))


@pytest.mark.parametrize(
    ("logits", "target"),
    [
        (torch.zeros(3, 4), torch.full((3,), 255)),  # nothing is unlikely
        (torch.randn(3, 4) * 9, torch.tensor([0, 1, 2])),  # all is labelled
        (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    ],
)
def test_where_nothing_counts_the_loss_is_zero_and_so_is_its_gradient(logits, target):
    logits.requires_grad_()
    loss = negative_learning(logits, target)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_certain_predictions_have_a_finite_loss():
    assert float(negative_learning(torch.tensor([[100.0, -100.0]]), torch.tensor([255]))) == 0.0
