"""Files with the poses of a whole sequence, as KITTI, KITTI-360, TUM and others write them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.files import require_file
from annotator3d.data.formats.cloud import CloudError
from annotator3d.data.formats.npy import read_array
from annotator3d.data.formats.text import plain_numbers
from annotator3d.data.importing.times import seconds
from annotator3d.errors import some

PathLike = str | os.PathLike[str]
_EXPECTED = (
    "12 (a 3 x 4 matrix, as KITTI), 13 (a frame number before it, as KITTI-360), 16 or 17 (4 x 4), "
    "8 (time x y z qx qy qz qw, as TUM), or 4 x 4 matrices of four lines each"
)
_TUM = ("time", "x", "y", "z", "qx", "qy", "qz", "qw")
_LARGEST_FRAME = 999_999
_TOLERANCE = 0.02  # of rotations, against I: files with three digits are fine
_FARTHEST = 1e9  # metres: no map has a point as far from its origin
_UPRIGHT = 0.7  # cosine of the tilt of a sensor that stands on its feet


@dataclass(frozen=True)
class PoseRows:
    """The poses of a file.

    Attributes:
        poses: [N, 4, 4] float64.
        layout: how they were read, in words.
        frames: [N] int64, the frame number of each; None: there is none.
        times: [N] float64, seconds; None: there is none.
        of_camera: they are of KITTI's camera, so that ``calib.txt`` belongs to them.
    """

    poses: NDArray[np.float64]
    layout: str
    frames: NDArray[np.int64] | None = None
    times: NDArray[np.float64] | None = None
    of_camera: bool = False


def read_pose_rows(path: PathLike) -> PoseRows:
    """Read a file of poses, whichever of the known layouts it has.

    Raises ValueError that names the file and line for another layout, numbers that are not finite,
    and matrices that are no rotation and translation.
    """
    lines, header = _array(path) if str(path).lower().endswith(".npy") else _lines(path)
    rows = [row for _, row in lines]
    if not rows:
        raise ValueError(f"{path} holds no poses")
    lengths = {len(row) for row in rows}
    if lengths == {8}:
        columns, named = _columns(header, path)
        return _of_quaternions(np.array(rows), lines, columns, path, named)
    if len(lengths) == 1 and (width := lengths.pop()) in (12, 13, 16, 17):
        values, keyed = np.array(rows), width in (13, 17)
        poses = values[:, keyed:].reshape(len(rows), -1, 4)
        size = f"{poses.shape[1]} x 4 matrices"
        poses = _checked(poses, [number for number, _ in lines], path)
        if keyed:
            return _keyed(poses, values[:, 0], f"a number and {size}", path)
        return PoseRows(poses, size, of_camera=width == 12)
    return _of_blocks(lines, path)


def _array(path: PathLike) -> tuple[list[tuple[int, list[float]]], str]:
    try:
        values = read_array(path)
        rows = values.reshape(len(values), -1).astype(np.float64).tolist()
    except (CloudError, TypeError, ValueError) as error:
        shapes = "[N, 12], [N, 3, 4] or [N, 4, 4]"
        raise ValueError(f"{path} holds no poses {shapes}: {error}") from None
    return list(enumerate(rows, 1)), ""


def _lines(path: PathLike) -> tuple[list[tuple[int, list[float]]], str]:
    """Each line of numbers with its number, and the last line of words before them."""
    require_file(path)
    try:
        text = plain_numbers(Path(path).read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error.reason})") from None
    found: list[tuple[int, list[float]]] = []
    header = ""
    for number, line in enumerate(text.splitlines(), 1):
        words = re.split(r"[\s,;]+", line.strip().strip("[](),;"))
        if words == [""]:
            continue
        if line.lstrip()[0] in "#%" or (not found and not _is_number(words[0])):
            header = header if found else line.strip()
            continue
        try:
            found.append((number, [float(word) for word in words]))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    return found, header


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _columns(header: str, path: PathLike) -> tuple[tuple[str, ...], bool]:
    """The order of time, position and quaternion, and whether the header names it; else of TUM."""
    bare = header.lstrip("#% ")
    names = [re.sub(r"\[.*?\]|\(.*?\)", "", name).strip().lower() for name in
             (bare.split(",") if "," in bare else bare.split())]  # fmt: skip
    named = tuple(_axis(name) for name in names)
    if sorted(named) == sorted(_TUM):
        return named, True
    if header and (header[0] not in "#%" or (len(names) == 8 and "qw" in named)):
        raise ValueError(
            f"{path} has the columns {some(names, 100)}; expected time, x, y, z, qx, qy, qz and qw"
        )
    return _TUM, False


def _is_w_first(quaternions: NDArray) -> bool:
    """Whether [N, 4] read as x, y, z, w probably are w, x, y, z.

    A sensor that stands upright in every pose by one order and upside down in some by the other is
    read by the wrong one: only one that rolls over without ever turning would look the same.
    """
    first, second, third, _ = quaternions.T
    tilt, tilt_w_first = (1 - 2 * (a**2 + b**2) for a, b in ((first, second), (second, third)))
    return bool((tilt < 0).any() and (tilt_w_first > _UPRIGHT).all())


def _axis(name: str) -> str:
    axis = name[-1:]
    if axis not in tuple("xyzw"):
        return "time"
    return f"q{axis}" if axis == "w" or re.match(r"q|.*(rot|orient|quat)", name) else axis


def _of_quaternions(
    values: NDArray, lines: Sequence[tuple[int, list[float]]], columns: tuple[str, ...],
    path: PathLike, named: bool,
) -> PoseRows:  # fmt: skip
    """Poses of times, places and quaternions; `named`: the file says the order of the columns."""
    from scipy.spatial.transform import Rotation  # here, since it slows down every start

    column = {name: values[:, i] for i, name in enumerate(columns)}
    quaternion = np.stack([column[f"q{axis}"] for axis in "xyzw"], 1)
    if not named and _is_w_first(quaternion):
        raise ValueError(
            f"{path}: read as {' '.join(columns)}, the sensor stands upside down in some poses; "
            "with qw before qx it always stands upright. Name the columns in a first line, such as "
            f"# {' '.join(columns)} or # time x y z qw qx qy qz"
        )
    length = np.sqrt((quaternion**2).sum(1))
    if (wrong := ~(np.abs(length - 1) <= _TOLERANCE)).any():
        i = int(wrong.argmax())
        raise ValueError(
            f"{path}, line {lines[i][0]}: read as {' '.join(columns)}, the quaternion has the "
            f"length {length[i]:.4g} instead of 1"
        )
    poses = np.zeros((len(values), 3, 4))
    poses[:, :, :3] = Rotation.from_quat(quaternion).as_matrix()
    poses[:, :, 3] = np.stack([column[axis] for axis in "xyz"], 1)
    poses = _checked(poses, [number for number, _ in lines], path)
    return _keyed(poses, column["time"], " ".join(columns), path)


def _of_blocks(lines: Sequence[tuple[int, list[float]]], path: PathLike) -> PoseRows:
    """Matrices of three or four lines each, with or without a line of numbers before each."""
    lengths = [len(row) for _, row in lines]
    for heading in ([], [1], [3]):
        for size in (4, 3):
            pattern = [*heading, *[4] * size]
            if len(lines) % len(pattern) == 0 and lengths == pattern * (len(lines) // len(pattern)):
                starts = range(0, len(lines), len(pattern))
                skip = len(heading)
                blocks = [[row for _, row in lines[i + skip : i + len(pattern)]] for i in starts]
                if size == 4 and not heading and _are_three_lines(blocks, lines):
                    continue
                poses = _checked(np.array(blocks), [lines[i][0] for i in starts], path)
                layout = f"{size} x 4 matrices of {size} lines"
                if not heading:
                    return PoseRows(poses, layout)
                keys = np.array([lines[i][1][0] for i in starts])
                return _keyed(poses, keys, f"a number and {layout}", path)
    usual = max(set(lengths), key=lengths.count)
    number, row = next((line for line in lines if len(line[1]) != usual), lines[0])
    raise ValueError(f"{path}, line {number}: {len(row)} numbers; expected {_EXPECTED}")


def _are_three_lines(blocks: Sequence, lines: Sequence) -> bool:
    """Whether a number of lines that both 3 and 4 divide holds matrices of 3 lines."""
    return len(lines) % 3 == 0 and not np.allclose([b[3] for b in blocks], [0, 0, 0, 1])


def _checked(values: NDArray, lines: Sequence[int], path: PathLike) -> NDArray[np.float64]:
    """[N, 4, 4] of [N, 3, 4] or [N, 4, 4], after a look at each."""
    last = np.broadcast_to([0.0, 0.0, 0.0, 1.0], (len(values), 1, 4))
    poses = np.concatenate([values[:, :3], last], 1)
    if values.shape[1] == 4 and (wrong := ~np.isclose(values[:, 3], last[:, 0]).all(1)).any():
        i = int(wrong.argmax())
        raise ValueError(
            f"{path}, line {lines[i]}: the last row of a pose must be 0 0 0 1, got "
            f"{' '.join(f'{v:g}' for v in values[i, 3])}; is the matrix stored column by column?"
        )
    check_rigid(poses, [f"{path}, line {number}" for number in lines])
    return poses


def check_rigid(poses: NDArray, places: Sequence[str]) -> None:
    """Raise ValueError, with one of `places`, for a pose that is no rotation or lies nowhere."""
    if (bad := ~np.isfinite(poses).all((1, 2))).any():
        raise ValueError(f"{places[int(bad.argmax())]}: the pose has numbers that are not finite")
    if (far := (np.abs(poses[:, :3, 3]) > _FARTHEST).any(1)).any():
        i = int(far.argmax())
        raise ValueError(
            f"{places[i]}: the pose lies {np.abs(poses[i, :3, 3]).max():.4g} m from the origin; "
            f"expected at most {_FARTHEST:.0e} m, as the fourth number of each row"
        )
    rotation = poses[:, :3, :3]
    off = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max((1, 2))
    mirrored = np.linalg.det(rotation) < 0
    if (bad := (off > _TOLERANCE) | mirrored).any():
        raise ValueError(
            f"{places[int(bad.argmax())]}: the first three columns of the pose are no rotation; "
            "are the numbers in another order?"
        )


def _keyed(poses: NDArray, keys: NDArray, layout: str, path: PathLike) -> PoseRows:
    """Poses with frame numbers, if the first numbers can be some, or else with times."""
    if not np.isfinite(keys).all():
        raise ValueError(f"{path}: the first number of a line is not finite")
    twice = np.unique(keys).size < keys.size
    if twice:
        values, counts = np.unique(keys, return_counts=True)
        raise ValueError(f"{path} has two poses for {values[counts > 1][0]:.12g}")
    if (keys == np.rint(keys)).all() and (keys >= 0).all() and (keys <= _LARGEST_FRAME).all():
        return PoseRows(poses, layout, frames=keys.astype(np.int64))
    return PoseRows(poses, layout, times=seconds(keys))
