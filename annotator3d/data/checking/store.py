"""Stored results of checks, for training; valid while a file keeps its size and modification time.

They are in ``ROOT/.annotator3d/``, or in the cache where that is not writable.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from annotator3d.account import cache_folder
from annotator3d.data.checking.dataset import Checked
from annotator3d.data.checking.problems import KINDS, Problem
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.files import atomic_write

VERSION = 1


def save(checked: Checked) -> Path:
    """Add a result to those of its folder and class map; returns the file.

    Scans that this check did not read keep their result.
    """
    dataset = checked.dataset
    entries = {scan_id: list(entry) for scan_id, entry in load(dataset).items()}
    for scan in checked.scans:
        entries[scan.id] = [scan.stamp, _plain(scan.problems, dataset.root)]
    text = json.dumps({"version": VERSION, "scans": entries}).encode()
    for path in _paths(dataset):
        if _protected(dataset.root) and path.is_relative_to(dataset.root.resolve()):
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                file.write(text)
            return path
        except OSError:  # the dataset is in a folder that we may not write to
            continue
    paths = " or ".join(map(str, _paths(dataset)))
    raise OSError(f"cannot write {paths}; make one of these folders writable")


def load(dataset: ScanDataset) -> dict[str, tuple[list[int], list[list]]]:
    """Scan id -> (stamp of its files when checked, problems); empty where there is no result."""
    for path in _paths(dataset):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] == VERSION:
                return {scan_id: tuple(entry) for scan_id, entry in content["scans"].items()}
        except (OSError, ValueError, KeyError, TypeError):  # no file, or not one of ours
            continue
    return {}


def problems(dataset: ScanDataset, entries: Iterable[list], scan_id: str) -> list[Problem]:
    """The stored problems of a scan."""
    known = [entry for entry in entries if entry[0] in KINDS]
    return [Problem(kind, str(dataset.root / f), words, scan_id) for kind, f, words in known]


def _plain(found: Iterable[Problem], root: Path) -> list[list[str]]:
    return [[p.kind, os.path.relpath(p.file, root), p.words] for p in found]


def _protected(root: Path) -> bool:
    """Whether a folder is marked read-only for everybody, which does not stop an administrator."""
    return not root.stat().st_mode & 0o222


def _paths(dataset: ScanDataset) -> tuple[Path, Path]:
    root = dataset.root.resolve()
    # Which raw ids are unknown depends on the class map.
    name = f"check-{dataset.taxonomy.digest()[:12]}"
    where = hashlib.blake2b(os.fsencode(root), digest_size=8).hexdigest()
    return (
        root / ".annotator3d" / f"{name}.json",
        cache_folder() / "checks" / f"{where}-{name}.json",
    )
