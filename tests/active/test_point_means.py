"""Means over the points of a voxel that no order of the points changes."""

from __future__ import annotations

import math

import pytest
import torch

from annotator3d.active.point_means import (
    class_probabilities,
    entropy_of,
    logits_of,
    mean_of_points,
    most_bits,
)
from annotator3d.kernels.grouping import group_cells


def test_a_sum_at_the_border_of_two_floats_does_not_depend_on_the_order():
    """In float64, 1 + 2^-24 swallows terms of 2^-54, six of which together it does not."""
    values = torch.tensor([1.0, 2.0**-24] + [2.0**-54] * 6)
    voxels = group_cells(torch.zeros(8, 3, dtype=torch.int32))
    forward, backward = (
        float(mean_of_points(v.clone()[:, None], voxels)) for v in (values, values.flip(0))
    )
    assert forward == backward == pytest.approx(1 / 8, abs=2**-25)


def test_means_are_those_of_each_voxel():
    voxels = group_cells(torch.tensor([[0, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.int32))
    values = torch.tensor([[0.25, 1.0], [0.5, 0.0], [0.75, 0.5]])
    assert mean_of_points(values, voxels).tolist() == [[0.5, 0.75], [0.5, 0.0]]


def test_entropy_in_bits():
    p = torch.tensor([[0.5, 0.5, 0], [1, 0, 0], [0.25, 0.25, 0.5]])
    assert entropy_of(p).tolist() == [1, 0, 1.5]
    assert most_bits(8) == 3 and most_bits(1) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_finite_have_no_probabilities(bad):
    with pytest.raises(ValueError, match="logits: expected finite values"):
        class_probabilities(torch.tensor([[0.0, 1.0], [bad, 0.0]]))


@pytest.mark.parametrize(
    ("prediction", "words"),
    [
        (None, "strategy 'mine' needs logits .*got none"),
        (torch.tensor([1, 2]), "got torch.int64 .2."),
        (torch.zeros(4), "got torch.float32 .4."),
        (torch.zeros(4, 2), r"logits must be \[N, 3\], got \[4, 2\]"),
    ],
)
def test_what_is_no_logits_is_refused_in_words(prediction, words):
    with pytest.raises(ValueError, match=words):
        logits_of(prediction, 3, "mine")
