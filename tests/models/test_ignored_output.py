"""`model.ignored_output`: one output more that takes part in the loss and in nothing else."""

from __future__ import annotations

import pytest
import torch

from annotator3d.models.segmentor import Segmentor

SMALL = {"type": "MinkUNet", "planes": [4, 4, 4], "blocks": 1}
SMOOTHING = 0.1


@pytest.fixture
def batch() -> dict:
    torch.manual_seed(0)
    cells = torch.tensor([[x, y, 0] for x in range(4) for y in range(3)], dtype=torch.int32)
    return {
        "features": torch.randn(12, 4),
        "cells": cells,
        "splits": torch.tensor([0, 12]),
        "point_to_voxel": torch.arange(12),
        "num_points": torch.tensor([12]),
        "target": torch.tensor([0, 1, 2, 255] * 3),
    }


def test_cross_entropy_is_smoothed_over_one_output_more(batch):
    torch.manual_seed(1)
    model = Segmentor(SMALL, 3, SMOOTHING, lovasz=0.0, ignored_output=True).eval()
    assert model.head.out_features == 4
    outputs = model.head(model.backbone(batch["features"], batch["cells"], batch["splits"]))
    labelled = batch["target"] != 255
    log_p = outputs[labelled].log_softmax(1)
    wanted = torch.full_like(log_p, SMOOTHING / 4)
    wanted[torch.arange(len(log_p)), batch["target"][labelled]] += 1 - SMOOTHING
    expected = -(wanted * log_p).sum(1).mean()
    torch.testing.assert_close(model(batch, mode="loss")["loss_ce"], expected)
    plain = Segmentor(SMALL, 3, SMOOTHING, lovasz=0.0).eval()
    assert plain.head.out_features == 3


def test_scores_and_predictions_have_the_classes_only(batch):
    model = Segmentor(SMALL, 3, ignored_output=True).eval()
    with torch.no_grad():
        model.head.bias[3] = 1e6  # it would win everywhere
    outputs = model.head(model.backbone(batch["features"], batch["cells"], batch["splits"]))
    for scores in (model.logits(batch), model(batch), model.point_logits(batch)):
        torch.testing.assert_close(scores, outputs[:, :3])
    assert model(batch, mode="predict")[0].shape == (12, 3)
