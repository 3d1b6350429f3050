"""Poses of imported scans: found in a file of rows or one file a scan, written as poses.txt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.files import is_there, require_file
from annotator3d.data.formats.kitti import read_calib, write_calib, write_poses
from annotator3d.data.importing.pose_rows import PoseRows, check_rigid, read_pose_rows
from annotator3d.data.importing.sources import Source
from annotator3d.data.importing.times import time_of
from annotator3d.errors import some

_NEAR = 0.001  # seconds: so far a time of a scan may always be from that of its pose


@dataclass(frozen=True)
class SequencePoses:
    """The poses of one sequence.

    Attributes:
        by_frame: frame -> [4, 4].
        transform: [4, 4], LiDAR to the camera that the poses are of.
        remarks: how they were read and matched, where that is not as KITTI has it.
    """

    by_frame: Mapping[int, NDArray] = field(default_factory=dict)
    transform: NDArray = field(default_factory=lambda: np.eye(4))
    remarks: tuple[str, ...] = ()


def find_poses(scans: Sequence[Source], given: Path | None) -> SequencePoses:
    """The poses of one sequence; empty where there are none.

    Args:
        scans: the scans of the sequence.
        given: a file with one row a scan, or a folder with such files (``SEQUENCE.txt``) or with
            one file a scan; None: ``poses.txt`` beside the scans or one folder up, or ``.pose``
            files.

    Raises:
        ValueError: some scans have a pose and others have none, or a file cannot be read as poses
            of these scans. The message says that the import works without poses.
    """
    try:
        return _find(scans, given)
    except ValueError as error:
        if "--poses none" in str(error):
            raise
        raise ValueError(
            f"{error}. Correct it, or pass --poses none: training needs no poses"
        ) from None


def _find(scans: Sequence[Source], given: Path | None) -> SequencePoses:
    path = _rows_file(scans, given)
    if path is None:
        poses = {s.frame: _read_one(s.pose) for s in scans if s.pose is not None}
        found = SequencePoses(poses, _transform(scans[0].path.parent) if poses else np.eye(4))
    else:
        rows = read_pose_rows(path)
        poses, matched = _matched(rows, scans, path)
        remarks = [f"{path.name} was read as {rows.layout}, {matched}"]
        transform = np.eye(4)
        if rows.of_camera:
            transform, remarks = _transform(path.parent), []
        elif is_there(path.parent / "calib.txt"):
            remarks.append(f"calib.txt was not used: {path.name} is no file of KITTI's poses")
        found = SequencePoses(poses, transform, tuple(remarks))
    if 0 < len(found.by_frame) < len(scans):
        bare = next(s for s in scans if s.frame not in found.by_frame)
        raise ValueError(
            f"{len(scans) - len(found.by_frame)} of {len(scans)} scans of sequence "
            f"{bare.sequence} have no pose{'' if path is None else f' in {path}'}, for example "
            f"{bare.path}; add the missing poses, or pass --poses none"
        )
    if not found.by_frame and path is not None:
        raise ValueError(f"{path} holds no pose of the scans of sequence {scans[0].sequence}")
    return found


def pose_notices(poses: Mapping[str, SequencePoses]) -> list[str]:
    """How poses were read, each once, with its sequences."""
    said = dict.fromkeys(words for found in poses.values() for words in found.remarks)
    return [
        f"poses of sequence {some([n for n, f in poses.items() if words in f.remarks])}: {words}"
        for words in said
    ]


def write_sequence_poses(
    folder: Path, poses: SequencePoses, offsets: Mapping[int, tuple[float, float, float]]
) -> bool:
    """Write poses.txt (line N is of frame N) and calib.txt, if there is anything to write.

    Where coordinates were shifted by `offsets`, poses bring them back to where they were, relative
    to the first frame: without poses of their own the shift is the pose.
    """
    if not poses.by_frame and not offsets:
        return False
    frames = sorted({*poses.by_frame, *offsets})
    transform = poses.transform
    rows = np.tile(np.eye(4), (max(frames) + 1, 1, 1))  # frames without a scan: identity
    first = np.array(offsets.get(frames[0], (0.0, 0.0, 0.0)))
    for frame in frames:
        shift = np.eye(4)
        shift[:3, 3] = offsets.get(frame, (0.0, 0.0, 0.0))
        if frame in poses.by_frame:  # camera <- Tr <- LiDAR, whose origin has moved
            rows[frame] = poses.by_frame[frame] @ transform @ shift @ np.linalg.inv(transform)
        else:
            shift[:3, 3] -= first
            rows[frame] = shift
    write_poses(folder / "poses.txt", rows)
    write_calib(folder / "calib.txt", {"Tr": transform})
    return True


def _transform(folder: Path) -> NDArray:
    """LiDAR to camera, of the calib.txt in a folder; without one the identity."""
    path = folder / "calib.txt"
    return read_calib(path)["Tr"] if is_there(path) else np.eye(4)


def _rows_file(scans: Sequence[Source], given: Path | None) -> Path | None:
    folder, name = scans[0].path.parent, scans[0].sequence
    if given is None:
        candidates = [folder / "poses.txt", folder.parent / "poses.txt"]
    elif given.is_file():
        candidates = [given]
    else:
        candidates = [given / f"{name}.txt", given / name / "poses.txt", given / "poses.txt"]
    return next((path for path in candidates if is_there(path)), None)


def _matched(rows: PoseRows, scans: Sequence[Source], path: Path) -> tuple[dict[int, NDArray], str]:
    """Frame -> pose, and how they were matched, in words."""
    frames = [scan.frame for scan in scans]
    numbered = all(s.path.stem.isdigit() and int(s.path.stem) == s.frame for s in scans)
    count = len(rows.poses)
    if rows.frames is not None and numbered:
        by_frame = dict(zip(rows.frames.tolist(), rows.poses, strict=True))
        return {f: by_frame[f] for f in frames if f in by_frame}, "matched by frame number"
    times = [None if numbered else time_of(scan.path.stem) for scan in scans]
    if rows.times is not None and None not in times:
        return _by_time(rows, frames, np.array(times))
    if count == len(frames):
        keys = rows.frames if rows.frames is not None else rows.times
        ordered = rows.poses if keys is None else rows.poses[np.argsort(keys)]
        return dict(zip(frames, ordered, strict=True)), "matched in the order of the scans"
    if numbered and rows.frames is None and rows.times is None and count > max(frames):
        return {frame: rows.poses[frame] for frame in frames}, "line N is of frame N"
    kept = f" with frames up to {max(frames)}" if numbered else ""
    reason = (
        "the names of the scans hold no times"
        if rows.times is not None
        else "line N must be the pose of frame N, or there must be one for each scan"
    )
    raise ValueError(f"{path} has {count} poses for {len(frames)} scans{kept}: {reason}")


def _by_time(
    rows: PoseRows, frames: Sequence[int], times: NDArray
) -> tuple[dict[int, NDArray], str]:
    """The pose nearest in time, if it is nearer than half the step of the poses."""
    order = np.argsort(rows.times)
    known = rows.times[order]
    near = _NEAR if len(known) < 2 else max(_NEAR, float(np.median(np.diff(known))) / 2)
    after = np.clip(np.searchsorted(known, times), 1, max(len(known) - 1, 1))
    after = np.minimum(after, len(known) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(times - known[before] <= known[after] - times, before, after)
    gaps = np.abs(known[nearest] - times)
    found: dict[int, NDArray] = {}
    largest, taken = 0.0, set()
    for frame, row, gap in zip(frames, nearest.tolist(), gaps.tolist(), strict=True):
        if gap <= near and row not in taken:
            found[frame], largest = rows.poses[order[row]], max(largest, gap)
            taken.add(row)
    return found, f"matched by time, up to {1000 * largest:.3g} ms apart"


def _read_one(path: Path) -> NDArray:
    """A pose file of one scan: 12 numbers (3 x 4) or 16 (4 x 4), rows of spaces or commas."""
    require_file(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        numbers = np.array(text.replace(",", " ").replace(";", " ").split(), np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if len(numbers) not in (12, 16):
        raise ValueError(f"{path}: expected the 12 or 16 numbers of a pose, got {len(numbers)}")
    pose = np.vstack([numbers[:12].reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
    if len(numbers) == 16 and not np.allclose(numbers[12:], pose[3]):
        raise ValueError(f"{path}: the last row of a pose must be 0 0 0 1, got {numbers[12:]}")
    check_rigid(pose[None], [str(path)])
    return pose
