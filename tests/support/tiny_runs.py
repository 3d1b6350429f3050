"""A run small enough for tests: a few random scans, a network of a few hundred parameters."""

from __future__ import annotations

from pathlib import Path

from annotator3d.engine.config.load import make_config
from annotator3d.engine.config.schema import RunConfig

BACKBONE = {"type": "MinkUNet", "planes": [4, 4, 8, 8, 4], "blocks": 1}


def tiny_config(root: Path, setting: str = "al", **changes) -> RunConfig:
    """A config over ``root`` (sequences 00, 01 train; 02 validation; 03 source).

    `changes` are tables that update the config's, or plain values.
    """
    values: dict = {
        "setting": setting,
        "device": "cpu",
        "data": {
            "train": {"type": "SemanticKITTI", "root": str(root), "sequences": ["00", "01"]},
            "val": {"type": "SemanticKITTI", "root": str(root), "sequences": ["02"]},
            "source": {"type": "SemanticKITTI", "root": str(root), "sequences": ["03"]},
        },
        "model": {"backbone": BACKBONE, "voxel_size": 2.0, "features": "mean"},
        "schedule": {
            "epochs": 4,
            "batch_size": 2,
            "optimizer": {"type": "AdamW", "lr": 0.01},
            "source_until": 3,
        },
        "active": {"rounds_at": [0, 1, 2], "voxel_size": 4.0},
    }
    for key, change in changes.items():
        values[key] = {**values.get(key, {}), **change} if isinstance(change, dict) else change
    return make_config(values)
