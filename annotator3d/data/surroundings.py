"""What lies around a scan in SemanticKITTI's layout: where it was taken, and the camera's image.

Beside ``SS/velodyne``: ``SS/poses.txt`` and ``SS/calib.txt`` (http://semantic-kitti.org/dataset.html)
and the images of KITTI odometry, ``SS/image_2/FFFFFF.png``
(https://www.cvlibs.net/datasets/kitti/eval_odometry.php). Each of them may be missing.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats.kitti import read_calib, read_poses

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
    written = tuple(_written(folder / name) for name in ("poses.txt", "calib.txt"))
    poses, lidar_to_camera = _poses(folder, written)
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


def _written(path: Path) -> int:
    """When a file was written; 0: it is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=8)
def _poses(folder: Path, written: tuple[int, ...]) -> tuple[Matrix, Matrix]:
    """Camera poses [N, 4, 4] of a sequence and its LiDAR to camera [4, 4]; N = 0 without files.

    They are read again when a file has been `written` since.
    """
    poses, calib = folder / "poses.txt", folder / "calib.txt"
    if not poses.is_file():
        return np.empty((0, 4, 4)), np.eye(4)
    tr = read_calib(calib)["Tr"] if calib.is_file() else np.eye(4)
    return read_poses(poses), tr
