"""The scans of a dataset as the labelling session asks for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.scans import Pose
from annotator3d.data.datasets import ScanDataset
from annotator3d.data.files import fingerprint
from annotator3d.data.scan import Scan
from annotator3d.data.surroundings import camera_crop, sensor_pose


class DatasetSource:
    """`active.scans.ScanSource` over an opened dataset.

    Poses and images are found where scans lie in SemanticKITTI's layout; elsewhere there are none,
    and neighbours are shown by their order alone.
    """

    def __init__(self, dataset: ScanDataset) -> None:
        self.dataset = dataset
        self.troubles: set[str] = set()
        """Why poses that are there cannot be used, naming the file; labelling goes on without."""

    def scan(self, scan_id: str) -> Scan:
        return self.dataset.read(self.dataset.index(scan_id), labels=False)

    def fingerprint(self, scan_id: str) -> str:
        return fingerprint(self.dataset.path(self.dataset.index(scan_id)))

    def pose(self, scan_id: str) -> Pose | None:
        try:
            path = self.dataset.path(self.dataset.index(scan_id))
        except ValueError:  # its file has gone; `scan` says so when it is to be shown
            return None
        try:
            matrix = sensor_pose(path)
        except (OSError, ValueError) as error:
            self.troubles.add(f"neighbour scans cannot be shown: {error}")
            return None
        return None if matrix is None else Pose(str(path.parents[1]), matrix)

    def neighbours(self, scan_id: str, back: int, forth: int) -> list[str]:
        drive, at = scan_id.rsplit("/", 1)[0], self.dataset.index(scan_id)
        near = self.dataset.ids[max(at - back, 0) : at + forth + 1]
        return [other for other in near if other != scan_id and other.rsplit("/", 1)[0] == drive]

    def image(self, scan_id: str, centre: NDArray[np.float64]) -> NDArray[np.uint8] | None:
        return camera_crop(self.dataset.path(self.dataset.index(scan_id)), centre)
