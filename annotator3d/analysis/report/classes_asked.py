"""Which classes a run's answers hold, against those of the pool that was asked about."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from annotator3d.data.files import atomic_write
from annotator3d.data.plain_json import parse_json
from annotator3d.engine.build import build_dataset
from annotator3d.engine.config.load import kept_config
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.reader import LedgerReader

MOST_SCANS = 200  # of the pool that are read


@dataclass(frozen=True)
class PoolClasses:
    """Points of each class in scans of the pool, evenly spaced."""

    points: np.ndarray  # [C] int64
    scans: int  # that were read
    of: int  # scans of the pool


def picked_points(ledger: LedgerReader, num_classes: int) -> np.ndarray:
    """[R, C] int64: points that each round's answers gave to each class."""
    picked = np.zeros((len(ledger.rounds()), num_classes), np.int64)
    for _, (_, labels, number) in ledger.labels():
        counts = np.bincount(labels[labels < num_classes], minlength=num_classes)
        picked[number - 1] += counts
    return picked


def pool_classes(
    work_dir: WorkDir, run_info: dict, progress: Callable[[int, int], None]
) -> PoolClasses | None:
    """Count the classes of a run's pool; None where its labels cannot be read.

    The result is kept in the work directory for the next report.

    Args:
        run_info: what ``run.json`` says.
    """
    try:
        pool = run_info["data"]["pool"]
        values = kept_config(run_info["config"], work_dir.config_path).data.train
        root = work_dir.data_root("train")
        dataset = build_dataset({**values, "labels": "optional"}, "data.train", root)
        if dataset.fingerprint() != pool["fingerprint"]:
            return None
    except (KeyError, OSError, ValueError):
        return None
    kept = work_dir.path / "pool_classes.json"
    if kept.exists():
        known = parse_json(kept.read_text())
        if known["fingerprint"] == pool["fingerprint"]:
            return PoolClasses(np.array(known["points"]), known["scans"], known["of"])
    found = _count(dataset, len(run_info["classes"]), progress)
    if found is not None:
        entry = {"fingerprint": pool["fingerprint"], **vars(found)}
        with suppress(OSError), atomic_write(kept) as file:  # on a read-only disk: counted again
            file.write(json.dumps({**entry, "points": found.points.tolist()}).encode())
    return found


def _count(dataset, num_classes: int, progress: Callable[[int, int], None]) -> PoolClasses | None:
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(MOST_SCANS, len(dataset))).astype(int))
    points, read = np.zeros(num_classes, np.int64), 0
    for done, index in enumerate(chosen.tolist(), start=1):
        labels = dataset.read(index).labels
        if labels is not None:
            points += np.bincount(labels[labels < num_classes], minlength=num_classes)
            read += 1
        progress(done, len(chosen))
    return PoolClasses(points, read, len(dataset)) if points.any() else None
