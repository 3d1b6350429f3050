"""What a run has left, without where that was: an archive is for other people and machines."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

import yaml

from annotator3d.analysis.compare.plan import RUNS, PlannedRun
from annotator3d.data.plain_json import parse_json
from annotator3d.data.plain_yaml import read_yaml
from annotator3d.engine.workdir import WorkDir


def placeless_info(run: PlannedRun) -> bytes:
    """``run.json`` of a finished run, without the folders of its scans and its process.

    The scans are known by their number and digest.
    """
    info = parse_json(_folder(run).run_info_path.read_bytes())
    info.pop("pid", None)
    for dataset in info.get("data", {}).values():
        dataset.pop("root", None)
    if "config" in info:
        info["config"] = _placeless(info["config"], run)
    return json.dumps(info, indent=1).encode()


def placeless_config(run: PlannedRun) -> bytes:
    """Its ``config.yaml``, in which ``init`` is a path from the folder of the experiment."""
    values = _placeless(read_yaml(_folder(run).config_path), run)
    return yaml.safe_dump(values, sort_keys=False).encode()


def _folder(run: PlannedRun) -> WorkDir:
    return run.job.work_dir


def _placeless(config: dict[str, Any], run: PlannedRun) -> dict[str, Any]:
    if config.get("init") is None:
        return config
    name = PurePath(config["init"]).name
    if run.job.starts_from is not None:
        name = f"{RUNS}/{run.job.starts_from}/checkpoints/{name}"
    return {**config, "init": name}
