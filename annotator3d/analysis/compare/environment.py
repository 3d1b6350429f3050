"""What the runs of an experiment ran on: versions, commit, data and settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from annotator3d.analysis.compare.results import Results
from annotator3d.errors import count

SIMULATED = "SimulatedStreets"


def environment(results: Results) -> dict[str, Any]:
    """For JSON. Where runs differ, each of what they have is listed.

    Rankings may change with the machine (Ji et al., WACV 2023), so one entry is what to hope for.
    """
    infos = [run.run.run_info for run in results.runs.values()]
    names = sorted({name for info in infos for name in info.get("versions", {})})
    return {
        "versions": {n: _distinct(i.get("versions", {}).get(n) for i in infos) for n in names},
        "git": _distinct(info.get("git") for info in infos),
        "device": _distinct(info.get("device") for info in infos),
        "host": _distinct(info.get("host") for info in infos),
        "convolution": _distinct(info.get("convolution") for info in infos),
        "data": {task: _data(results, task) for task in results.experiment.tasks},
        "minutes": sum(float(info.get("minutes", 0.0)) for info in infos),
    }


def facts(found: dict[str, Any]) -> list[str]:
    """The same in lines of text."""
    versions = {n: v for n, v in found["versions"].items() if v != ["missing"]}
    lines = [", ".join(f"{name} {_words(values)}" for name, values in versions.items())]
    for key, label in (("git", "commit"), ("device", "device"), ("host", "host")):
        lines.append(f"{label}: {_words(found[key])}")
    for task, splits in found["data"].items():
        for split, values in splits.items():
            lines.append(f"{task}, {split}: {_words(values)}")
    return lines


def is_simulated(results: Results) -> bool:
    """Whether all scans of all runs are simulated ones."""
    types = {
        values["type"]
        for run in results.runs.values()
        for values in run.run.run_info.get("config", {}).get("data", {}).values()
        if isinstance(values, dict) and "type" in values
    }
    return types == {SIMULATED}


def _data(results: Results, task: str) -> dict[str, list[str]]:
    """By split: number of scans and digest of ids and sizes, as the runs of a task recorded it."""
    found: dict[str, list[str]] = {}
    for key, run in results.runs.items():
        if key[0] != task:
            continue
        for split, values in run.run.run_info.get("data", {}).items():
            words = f"{count(values['scans'], 'scan')}, digest {values['fingerprint']}"
            if words not in found.setdefault(split, []):
                found[split].append(words)
    return found


def _distinct(values: Iterable[Any]) -> list[str]:
    return sorted({str(value) for value in values if value is not None})


def _words(values: list[str]) -> str:
    if not values:
        return "unknown"
    return values[0] if len(values) == 1 else f"different ones: {'; '.join(values)}"
