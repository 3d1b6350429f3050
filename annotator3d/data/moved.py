"""Finding scans again whose files were moved, renamed or renumbered, by what is in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Protocol

from annotator3d.data.files import fingerprint
from annotator3d.data.scan_dataset import ScanDataset


class Known(Protocol):
    """A scan as it was registered; `active.records.ScanRecord` is one."""

    @property
    def id(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def num_points(self) -> int: ...


def find_moved(
    dataset: ScanDataset,
    known: Iterable[Known],
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> dict[str, str]:
    """Ids of scans that the dataset does not hold -> the ids under which it holds their files.

    Nothing is read while all ids are there. Else the files are read that could be those that are
    missing: of another id, and of a size that goes with the number of points.
    """
    known = list(known)
    there, ids = set(dataset.ids), {scan.id for scan in known}
    missing = {scan.fingerprint: scan for scan in known if scan.id not in there}
    if not missing:
        return {}
    others = [i for i, scan_id in enumerate(dataset.ids) if scan_id not in ids]
    found: dict[str, str] = {}
    for done, i in enumerate(others, 1):
        progress("looking for moved scans", done, len(others))
        size = os.stat(dataset.path(i)).st_size
        counts = {scan.num_points for scan in missing.values()}
        if dataset.POINT_BYTES and size // dataset.POINT_BYTES not in counts:
            continue
        scan = missing.pop(fingerprint(dataset.path(i)), None)
        if scan is not None:
            found[scan.id] = dataset.ids[i]
        if not missing:
            break
    return found
