"""What a run has left, without where that was: an archive is for other people and machines."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

import yaml

from annotator3d.analysis.compare.plan import RUNS, PlannedRun
from annotator3d.data.plain_json import parse_json
from annotator3d.data.plain_yaml import read_yaml


def placeless_files(run: PlannedRun) -> dict[str, bytes]:
    """Name -> content of what is kept of a finished run.

    ``run.json`` lacks the folders of the scans, which are known by their number and digest, and the
    process. In ``config.yaml``, too, ``init`` is a path from the folder of the experiment.
    """
    folder = run.job.work_dir
    info, config = parse_json(folder.run_info_path.read_bytes()), read_yaml(folder.config_path)
    info.pop("pid", None)
    for dataset in info.get("data", {}).values():
        dataset.pop("root", None)
    if "config" in info:
        info["config"] = _placeless(info["config"], run)
    return {
        folder.metrics_path.name: folder.metrics_path.read_bytes(),
        folder.config_path.name: yaml.safe_dump(_placeless(config, run), sort_keys=False).encode(),
        folder.run_info_path.name: json.dumps(info, indent=1).encode(),
    }


def _placeless(config: dict[str, Any], run: PlannedRun) -> dict[str, Any]:
    if config.get("init") is None:
        return config
    name = PurePath(config["init"]).name
    if run.job.starts_from is not None:
        name = f"{RUNS}/{run.job.starts_from}/checkpoints/{name}"
    return {**config, "init": name}
