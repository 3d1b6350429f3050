"""The parameters of the backbones keep the names and shapes that stored checkpoints have."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotator3d.models.minkunet import MinkUNet
from annotator3d.models.spvcnn import SPVCNN

STORED = (Path(__file__).parent / "checkpoint_keys.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("backbone", [MinkUNet, SPVCNN])
def test_parameters_are_named_and_shaped_as_in_stored_checkpoints(backbone):
    state = backbone(planes=(3, 4, 5, 6, 7), blocks=1).state_dict()
    name = backbone.__name__
    expected = [line for line in STORED if line.startswith(f"{name} ")]
    assert [" ".join([name, key, *map(str, v.shape)]) for key, v in state.items()] == expected
