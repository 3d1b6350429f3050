"""Tiny runs over scans whose classes a test names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from kitti_scans import RAW_IDS
from tiny_runs import tiny_config

from annotator3d.engine.config.load import dump_config

IDS = {"road": 40, "building": 50, "vegetation": 70, "car": 10, "wall": 52, "truck": 18}


def write_classes(path: Path, names: Sequence[str]) -> str:
    """A class list of these names of `IDS`; every other id of the scans is ignored."""
    entries = [{"name": name, "ids": [IDS[name]]} for name in names]
    ignored = sorted({*RAW_IDS, *IDS.values()} - {IDS[name] for name in names})
    path.write_text(yaml.safe_dump({"classes": entries, "ignored": ignored}))
    return str(path)


def write_config(folder: Path, root: Path, setting: str, classes: str, **changes) -> Path:
    """A config of one epoch over the scans in `root`, with the class list in the file `classes`."""
    short = {"schedule": {"epochs": 1, "source_until": 1}, "active": {"rounds_at": [0]}}
    values = yaml.safe_load(dump_config(tiny_config(root, setting, **short, **changes)))
    for table in values["data"].values():
        if isinstance(table, dict):
            table["taxonomy"] = classes
    path = folder / f"{setting}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
