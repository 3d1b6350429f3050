"""Scans as they arrive: from a folder that grows, or from a list of paths."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from annotator3d.data.datasets.base import ScanDataset
from annotator3d.errors import some

Open = Callable[[], ScanDataset]
Arrival = tuple[ScanDataset, int]  # a data set that holds the scan, and its index there

POLL_SECONDS = 2.0
SETTLED_SECONDS = 1.0  # a file that was written to more lately may not be whole


def growing_folder(
    open_dataset: Open,
    idle: float | None,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> Iterator[Arrival]:
    """The scans of a data set, by sequence and frame, then those that are added to it.

    A scan is taken once its file has not been written to for a second, and never before the ones
    that precede it in its sequence.

    Args:
        idle: end after so many seconds without a new scan; None: never.
    """
    last: dict[str, str] = {}
    waited = 0.0
    while True:
        dataset, found = open_dataset(), False
        stuck: set[str] = set()
        for index, scan_id in enumerate(dataset.ids):
            sequence = scan_id.rsplit("/", 1)[0]
            if sequence in stuck or scan_id <= last.get(sequence, ""):
                continue
            if clock() - dataset.path(index).stat().st_mtime < SETTLED_SECONDS:
                stuck.add(sequence)
                continue
            last[sequence], found, waited = scan_id, True, 0.0
            yield dataset, index
        if idle is not None and not found and waited >= idle:
            return
        wait(POLL_SECONDS)
        waited += POLL_SECONDS


def listed(
    lines: Iterable[str | os.PathLike[str]], open_dataset: Open, unknown: Callable[[str], None]
) -> Iterator[Arrival]:
    """The scans that lines name, by path or id (``SS/FFFFFF``), in their order.

    Args:
        unknown: is told, in words, of each line that names no scan of the data set.
    """
    dataset = open_dataset()
    for line in lines:
        if not (name := os.fspath(line).strip()):
            continue
        scan_id = _id_of(name)
        if scan_id not in dataset.ids:
            dataset = open_dataset()
        if scan_id not in dataset.ids:
            unknown(
                f"{name}: data.train in {dataset.root} holds no scan {scan_id}; its scans are "
                f"{some(dataset.ids)}. Give paths such as SS/velodyne/FFFFFF.bin, or ids"
            )
            continue
        yield dataset, dataset.index(scan_id)


def _id_of(name: str) -> str:
    """``.../SS/velodyne/FFFFFF.bin`` as ``SS/FFFFFF``; an id as it is."""
    path = Path(name)
    if path.suffix and len(path.parts) >= 3:
        return f"{path.parts[-3]}/{path.stem}"
    return name
