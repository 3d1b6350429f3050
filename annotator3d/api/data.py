"""Datasets by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from annotator3d.data.datasets.base import ScanDataset
from annotator3d.registry import DATASETS, build


def open_dataset(name: str, root: str | Path | None = None, **keywords: Any) -> ScanDataset:
    """A registered dataset: ``len(d)`` scans, ``d[i]`` or ``d["08/000123"]`` reads one.

    Args:
        name: `SemanticKITTI`, `SimulatedStreets`, ... or the word of a dataset of your own.
        root: its folder; not for one that makes its own scans.
        keywords: of its constructor, such as ``sequences=["00"]`` or ``labels="optional"``.

    Raises:
        ConfigError: an unknown name or keyword (with the nearest one), or one that is missing.
        FileNotFoundError: the folder is not there, or scans or labels are missing.
    """
    given = {} if root is None else {"root": str(root)}
    return build(DATASETS, {"type": name, **given, **keywords})
