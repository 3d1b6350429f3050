"""Poses of imported scans: found as KITTI's poses.txt or one file a scan, written as poses.txt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats.kitti import read_calib, read_poses, write_calib, write_poses
from annotator3d.data.importing.sources import Source


def find_poses(
    scans: Sequence[Source], given: Path | None
) -> tuple[dict[int, NDArray], Path | None]:
    """Poses of one sequence, frame -> [4, 4], and the calib.txt that belongs to them.

    Args:
        scans: the scans of the sequence.
        given: a file with one row a scan, or a folder with such files (``SEQUENCE.txt``) or with
            one file a scan; None: ``poses.txt`` beside the scans or one folder up, or ``.pose``
            files.

    Raises:
        ValueError: some scans have a pose and others have none, or a file holds none.
    """
    rows_file = _rows_file(scans, given)
    if rows_file is not None:
        poses = _by_frame(read_poses(rows_file), [s.frame for s in scans], rows_file)
    else:
        poses = {s.frame: _read_one(s.pose) for s in scans if s.pose is not None}
    if 0 < len(poses) < len(scans):
        bare = next(s for s in scans if s.frame not in poses)
        raise ValueError(
            f"{len(scans) - len(poses)} of {len(scans)} scans of sequence {bare.sequence} have no "
            f"pose, for example {bare.path}; add the missing poses, or pass --poses none"
        )
    folder = rows_file.parent if rows_file is not None else scans[0].path.parent
    calib = next((p for p in (folder / "calib.txt",) if p.is_file()), None)
    return poses, calib if poses else None


def write_sequence_poses(
    folder: Path,
    poses: Mapping[int, NDArray],
    calib: Path | None,
    offsets: Mapping[int, tuple[float, float, float]],
) -> bool:
    """Write poses.txt (line N is of frame N) and calib.txt, if there is anything to write.

    Where coordinates were shifted by `offsets`, poses bring them back to where they were, relative
    to the first frame: without poses of their own the shift is the pose.
    """
    if not poses and not offsets:
        return False
    frames = sorted({*poses, *offsets})
    transform = read_calib(calib)["Tr"] if calib is not None else np.eye(4)
    rows = np.tile(np.eye(4), (max(frames) + 1, 1, 1))  # frames without a scan: identity
    first = np.array(offsets.get(frames[0], (0.0, 0.0, 0.0)))
    for frame in frames:
        shift = np.eye(4)
        shift[:3, 3] = offsets.get(frame, (0.0, 0.0, 0.0))
        if frame in poses:  # camera <- Tr <- LiDAR, whose origin has moved
            rows[frame] = poses[frame] @ transform @ shift @ np.linalg.inv(transform)
        else:
            shift[:3, 3] -= first
            rows[frame] = shift
    write_poses(folder / "poses.txt", rows)
    write_calib(folder / "calib.txt", {"Tr": transform})
    return True


def _rows_file(scans: Sequence[Source], given: Path | None) -> Path | None:
    folder, name = scans[0].path.parent, scans[0].sequence
    if given is None:
        candidates = [folder / "poses.txt", folder.parent / "poses.txt"]
    elif given.is_file():
        candidates = [given]
    else:
        candidates = [given / f"{name}.txt", given / name / "poses.txt", given / "poses.txt"]
    return next((path for path in candidates if path.is_file()), None)


def _by_frame(rows: NDArray, frames: Sequence[int], path: Path) -> dict[int, NDArray]:
    """Line N is of frame N, as KITTI has it; or, where there are as many, of the N-th scan."""
    if len(rows) > max(frames):
        return {frame: rows[frame] for frame in frames}
    if len(rows) == len(frames):
        return dict(zip(frames, rows, strict=True))
    raise ValueError(
        f"{path} has {len(rows)} poses for {len(frames)} scans with frames up to {max(frames)}: "
        "line N must be the pose of frame N; correct it, or pass --poses none"
    )


def _read_one(path: Path) -> NDArray:
    """A pose file of one scan: 12 numbers (3 x 4) or 16 (4 x 4), rows of spaces or commas."""
    try:
        numbers = np.array(path.read_text().replace(",", " ").split(), np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if len(numbers) not in (12, 16):
        raise ValueError(f"{path}: expected the 12 or 16 numbers of a pose, got {len(numbers)}")
    pose = np.vstack([numbers[:12].reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
    if len(numbers) == 16 and not np.allclose(numbers[12:], pose[3]):
        raise ValueError(f"{path}: the last row of a pose must be 0 0 0 1, got {numbers[12:]}")
    return pose
