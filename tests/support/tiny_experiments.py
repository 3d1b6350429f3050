"""Experiments small enough for tests: configs over a few random scans, and the file beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from tiny_runs import tiny_config

from annotator3d.engine.config.load import dump_config

SHORT = {"epochs": 3, "source_until": 3}


def write_experiment(folder: Path, root: Path, **changes: Any) -> Path:
    """An experiment of source-only and ADA, two arms and two pairs; `changes` are of its keys.

    ``configs/source.yaml``, ``ada.yaml`` and ``al.yaml`` are written beside it, over the scans in
    `root`. A change to None leaves a key out.
    """
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    for name, setting in (("source", "source_only"), ("ada", "ada"), ("al", "al")):
        schedule = {**SHORT, "epochs": 1} if name == "source" else SHORT
        config = tiny_config(root, setting, schedule=schedule, active={"rounds_at": [0, 1]})
        (folder / "configs" / f"{name}.yaml").write_text(dump_config(config))
    values = {
        "name": "tiny",
        "bets": ["vcd is <better> than random"],
        "pairs": 2,
        "tasks": {
            "source": {"config": "configs/source.yaml"},
            "ada": {"config": "configs/ada.yaml", "starts_from": "source"},
        },
        "arms": {
            "random": {"overrides": {"active.strategy": "random"}},
            "vcd": {"overrides": {"active": {"strategy": "vcd"}}},
        },
        "against": "random",
        **changes,
    }
    file = folder / "experiment.yaml"
    kept = {key: value for key, value in values.items() if value is not None}
    file.write_text(yaml.safe_dump(kept, sort_keys=False))
    return file
