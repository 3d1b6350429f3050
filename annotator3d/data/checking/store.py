"""Stored results of checks, for training; valid while a file keeps its size and modification time.

They are in the user's cache: a folder of data may be shared, or read-only, and a check changes
nothing in it. Where the user asks for it they are in ``ROOT/.annotator3d/``, for all who use it.
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
from annotator3d.data.files import atomic_write, make_folder
from annotator3d.data.plain_json import parse_json
from annotator3d.system_errors import in_words

VERSION = 1


def save(checked: Checked, beside: bool = False) -> Path:
    """Add a result to those of its folder and class map; returns the file.

    Scans that this check did not read keep their result.

    Args:
        beside: keep it in the folder of the data, not in the cache.

    Raises OSError if that folder cannot be written to.
    """
    dataset = checked.dataset
    entries = {scan_id: list(entry) for scan_id, entry in load(dataset).items()}
    for scan in checked.scans:
        entries[scan.id] = [scan.stamp, _plain(scan.problems, dataset.root)]
    path = _paths(dataset)[0 if beside else 1]
    try:
        make_folder(path.parent)
        with atomic_write(path) as file:
            file.write(json.dumps({"version": VERSION, "scans": entries}).encode())
    except OSError as error:
        advice = "" if beside else "; the variable ANNOTATOR3D_CACHE names another folder"
        raise OSError(f"{in_words(error)}{advice}") from error
    return path


def load(dataset: ScanDataset) -> dict[str, tuple[list[int], list[list]]]:
    """Scan id -> (stamp of its files when checked, problems); empty where there is no result.

    Of two results of a scan, in the cache and beside the data, that of the later file counts.
    """
    found: list[tuple[int, dict]] = []
    for path in _paths(dataset):
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
            if content["version"] == VERSION:
                scans = {scan_id: tuple(entry) for scan_id, entry in content["scans"].items()}
                found.append((path.stat().st_mtime_ns, scans))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no file of ours
            continue
    merged: dict[str, tuple[list[int], list[list]]] = {}
    for _, scans in sorted(found, key=lambda entry: entry[0]):
        merged |= scans
    return merged


def problems(dataset: ScanDataset, entries: Iterable[list], scan_id: str) -> list[Problem]:
    """The stored problems of a scan."""
    known = [entry for entry in entries if entry[0] in KINDS]
    return [Problem(kind, str(dataset.root / f), words, scan_id) for kind, f, words in known]


def _plain(found: Iterable[Problem], root: Path) -> list[list[str]]:
    return [[p.kind, os.path.relpath(p.file, root), p.words] for p in found]


def _paths(dataset: ScanDataset) -> tuple[Path, Path]:
    """Where the results of a data set may be: beside it, and in the cache."""
    root = dataset.root.resolve()
    # Which raw ids are unknown depends on the class map.
    name = f"check-{dataset.taxonomy.digest()[:12]}"
    where = hashlib.blake2b(os.fsencode(root), digest_size=8).hexdigest()
    return (
        root / ".annotator3d" / f"{name}.json",
        cache_folder() / "checks" / f"{where}-{name}.json",
    )
