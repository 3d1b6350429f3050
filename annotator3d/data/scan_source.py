"""What lies around a scan in SemanticKITTI's layout: where it was taken, and the camera's image.

Beside ``SS/velodyne``: ``SS/poses.txt`` and ``SS/calib.txt`` (http://semantic-kitti.org/dataset.html)
and the images of KITTI odometry, ``SS/image_2/FFFFFF.png``
(https://www.cvlibs.net/datasets/kitti/eval_odometry.php). Each of them may be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.datasets.sequences import ScanDataset
from annotator3d.data.files import fingerprint
from annotator3d.data.formats.kitti import read_calib, read_poses
from annotator3d.data.scan import Scan


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


Matrix = NDArray[np.float64]

CROP_METRES = 3.0  # edge of what a crop shows
MIN_CROP = 64  # pixels


def sensor_pose(scan_file: Path) -> Matrix | None:
    """[4, 4] sensor frame -> world of ``SS/velodyne/FFFFFF.bin``; None without a pose of it.

    The world is the sensor frame of the sequence's first scan: with LiDAR to camera ``Tr`` and the
    camera's pose P, that is ``inv(Tr) P Tr``.

    Raises ValueError naming the file and line that cannot be read.
    """
    folder, frame = scan_file.parents[1], scan_file.stem
    poses, lidar_to_camera = _poses(folder)
    if not frame.isdigit() or int(frame) >= len(poses):
        return None
    return np.linalg.inv(lidar_to_camera) @ poses[int(frame)] @ lidar_to_camera


def camera_crop(scan_file: Path, point: NDArray[np.float64]) -> NDArray[np.uint8] | None:
    """Image [H, W, 3] RGB of the left colour camera around a point [3] (sensor frame, metres).

    The crop is `CROP_METRES` wide at the distance of the point. None where there is no image or
    calibration, or the camera does not see the point.
    """
    folder, frame = scan_file.parents[1], scan_file.stem
    image, calib = folder / "image_2" / f"{frame}.png", folder / "calib.txt"
    if not (image.is_file() and calib.is_file()):
        return None
    known = read_calib(calib)
    if "P2" not in known:
        return None
    x, y, depth = (known["P2"] @ known["Tr"] @ np.append(point, 1.0))[:3]
    if depth < 0.5:  # beside or behind the camera
        return None
    from PIL import Image  # comes with matplotlib

    with Image.open(image) as picture:
        u, v = x / depth, y / depth
        if not (0 <= u < picture.width and 0 <= v < picture.height):
            return None
        half = max(MIN_CROP, known["P2"][0, 0] * CROP_METRES / depth) / 2
        box = np.round([u - half, v - half, u + half, v + half]).astype(int)
        return np.asarray(picture.convert("RGB").crop(tuple(box.tolist())))


@lru_cache(maxsize=8)
def _poses(folder: Path) -> tuple[Matrix, Matrix]:
    """Camera poses [N, 4, 4] of a sequence and its LiDAR to camera [4, 4]; N = 0 without files."""
    poses, calib = folder / "poses.txt", folder / "calib.txt"
    if not poses.is_file():
        return np.empty((0, 4, 4)), np.eye(4)
    tr = read_calib(calib)["Tr"] if calib.is_file() else np.eye(4)
    return read_poses(poses), tr


class DatasetSource:
    """`active.scans.ScanSource` over an opened dataset.

    Poses and images are found where scans lie in SemanticKITTI's layout; elsewhere there are none,
    and neighbours are shown by their order alone.

    Args:
        dataset: the scans.
        moved: ids of scans in the ledger -> those that they have here, where they differ
            (`data.moved.find_moved`).
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
            self.warnings.add(f"neighbour scans cannot be shown: {error}")
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
