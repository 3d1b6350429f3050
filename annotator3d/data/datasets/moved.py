"""Finding scans again whose files were moved, renamed or renumbered, by what is in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.files import fingerprint


class Known(Protocol):
    """A scan as it was registered; `ledger.records.ScanRecord` is one."""

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
    """Ids of scans whose files have another id in the dataset now -> that id.

    Nothing is read while there is a file for each id, and of the size that goes with its points.
    Else the files are read that could be those that are missing: of such a size, and not those of
    another known scan.
    """
    known = list(known)
    settled = {scan.id for scan in known if _may_be(dataset, scan)}
    missing = {scan.fingerprint: scan for scan in known if scan.id not in settled}
    if not missing:
        return {}
    others = [i for i, scan_id in enumerate(dataset.ids) if scan_id not in settled]
    found: dict[str, str] = {}
    for done, i in enumerate(others, 1):
        progress("looking for moved scans", done, len(others))
        size = os.stat(dataset.path(i)).st_size
        counts = {scan.num_points for scan in missing.values()}
        if dataset.POINT_BYTES and size // dataset.POINT_BYTES not in counts:
            continue
        scan = missing.pop(fingerprint(dataset.path(i)), None)
        if scan is not None and scan.id != dataset.ids[i]:
            found[scan.id] = dataset.ids[i]
        if not missing:
            break
    return found


def _may_be(dataset: ScanDataset, scan: Known) -> bool:
    """Whether the dataset has a file for this id that could be the scan's, by its size."""
    try:
        i = dataset.index(scan.id)
        size = os.stat(dataset.path(i)).st_size
    except (OSError, ValueError):
        return False
    return not dataset.POINT_BYTES or size // dataset.POINT_BYTES == scan.num_points


class MovedScans(ScanDataset):
    """A dataset whose scans go by the ids that they had before their files were moved.

    Args:
        dataset: the files as they are now.
        moved: former ids -> present ids (`find_moved`).
    """

    def __init__(self, dataset: ScanDataset, moved: Mapping[str, str]) -> None:
        then = {now: id_ for id_, now in moved.items()}
        ids = [then.get(scan_id, scan_id) for scan_id in dataset.ids]
        order = sorted(range(len(ids)), key=ids.__getitem__)  # as before, so that training is too
        dataset._keep(order)
        self._dataset = dataset
        self.root, self.taxonomy, self.drawn = dataset.root, dataset.taxonomy, dataset.drawn
        self._labels, self._intensity = dataset._labels, dataset._intensity
        self.POINT_BYTES, self.LABEL_BYTES = dataset.POINT_BYTES, dataset.LABEL_BYTES
        self.quarantined = dataset.quarantined
        self._set_ids([ids[i] for i in order])

    def path(self, i: int) -> Path:
        return self._dataset.path(i)

    def label_path(self, i: int) -> Path:
        return self._dataset.label_path(i)

    def num_points(self, i: int) -> int:
        return self._dataset.num_points(i)

    def read_points(self, i: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self._dataset.read_points(i)

    def read_ring(self, i: int, xyz: NDArray[np.float32]) -> NDArray[np.float32] | None:
        return self._dataset.read_ring(i, xyz)

    def intensity_max(self, i: int) -> float:
        return self._dataset.intensity_max(i)

    def read_raw_labels(self, i: int, num_points: int) -> NDArray[np.unsignedinteger]:
        return self._dataset.read_raw_labels(i, num_points)


def keep_known(dataset: ScanDataset, known: Sequence[Known], moved: Mapping[str, str]) -> None:
    """Leave out what lies in a folder beside the known scans. ValueError naming missing ones."""
    now = [moved.get(scan.id, scan.id) for scan in known]
    there = set(dataset.ids)
    if gone := [scan.id for scan, id_ in zip(known, now, strict=True) if id_ not in there]:
        raise ValueError(
            f"{len(gone)} of {len(known)} scans of the ledger are nowhere in {dataset.root}, under "
            f"no name: {', '.join(gone[:3])}{', ...' if len(gone) > 3 else ''}; bring their files "
            "back"
        )
    dataset._keep([dataset.index(id_) for id_ in now])
