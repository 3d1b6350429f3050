"""Where a labelling session gets its scans from, and what it is told of each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.files import fingerprint
from annotator3d.data.scan import Scan
from annotator3d.data.surroundings import camera_crop, sensor_pose
from annotator3d.system_errors import in_words


@dataclass(frozen=True, eq=False)
class Pose:
    """Where the sensor was."""

    world: str  # poses of one world may be compared; a sequence, for example
    matrix: NDArray[np.float64]  # [4, 4] sensor frame -> world, metres


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a round's selection stored of one scan, one value per point of `Scan.xyz`."""

    classes: NDArray[np.uint8] | None  # [N] train ids, 255 = none; None if only scores were given
    score: NDArray[np.float32]  # [N] score of the voxel that each point lies in, NaN = none


Predictions = Callable[[int, Scan], Prediction | None]  # of a round on a scan


class ScanSource(Protocol):
    """What a session asks about scans; a dataset, a package or a simulator stands behind it.

    `scan` and `fingerprint` are called from two threads of the session's, the others from the
    session's own. A scan that is gone or unreadable is an OSError or ValueError naming the file.
    """

    def scan(self, scan_id: str) -> Scan:
        """The points; labels are not looked at."""
        ...

    def fingerprint(self, scan_id: str) -> str:
        """Fingerprint of the scan's file as the ledger registered it (`data.files.fingerprint`)."""
        ...

    def pose(self, scan_id: str) -> Pose | None:
        """Where the scan was taken; None if that is not known."""
        ...

    def neighbours(self, scan_id: str, back: int, forth: int) -> list[str]:
        """Ids of up to `back` scans before and `forth` after it in the same drive, in order."""
        ...

    def image(self, scan_id: str, centre: NDArray[np.float64]) -> NDArray[np.uint8] | None:
        """Camera image [H, W, 3] RGB around a point [3] (sensor frame, metres); None without."""
        ...


class DatasetSource:
    """A `ScanSource` over an opened data set.

    Poses and images are found where scans lie in SemanticKITTI's layout; elsewhere there are none,
    and neighbours are shown by their order alone.

    Args:
        dataset: the scans.
        moved: ids of scans in the ledger -> those that they have here, where they differ
            (`datasets.moved.find_moved`).
    """

    def __init__(self, dataset: ScanDataset, moved: Mapping[str, str] | None = None) -> None:
        self.dataset, self._now = dataset, dict(moved or {})
        self._then = {now: then for then, now in self._now.items()}
        self.warnings: set[str] = set()
        """Why poses that are there cannot be used, naming the file; labelling goes on without."""

    def scan(self, scan_id: str) -> Scan:
        return replace(self.dataset.read(self._index(scan_id), labels=False), id=scan_id)

    def _index(self, scan_id: str) -> int:
        return self.dataset.index(self._now.get(scan_id, scan_id))

    def fingerprint(self, scan_id: str) -> str:
        return fingerprint(self.dataset.path(self._index(scan_id)))

    def pose(self, scan_id: str) -> Pose | None:
        try:
            path = self.dataset.path(self._index(scan_id))
        except ValueError:  # its file has gone; `scan` says so when it is to be shown
            return None
        try:
            matrix = sensor_pose(path)
        except (OSError, ValueError) as error:
            self.warnings.add(f"neighbour scans cannot be shown: {in_words(error)}")
            return None
        return None if matrix is None else Pose(str(path.parents[1]), matrix)

    def neighbours(self, scan_id: str, back: int, forth: int) -> list[str]:
        at = self._index(scan_id)
        here = self.dataset.ids[at]
        near = self.dataset.ids[max(at - back, 0) : at + forth + 1]
        drive = here.rsplit("/", 1)[0]
        others = [other for other in near if other != here and other.rsplit("/", 1)[0] == drive]
        # one that the ledger does not know, under the old name of a known one, has no name here
        named = [other for other in others if other in self._then or other not in self._now]
        return [self._then.get(other, other) for other in named]

    def image(self, scan_id: str, centre: NDArray[np.float64]) -> NDArray[np.uint8] | None:
        return camera_crop(self.dataset.path(self._index(scan_id)), centre)
