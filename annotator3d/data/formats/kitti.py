"""SemanticKITTI files: scans (.bin), labels (.label), poses and calibration. All little-endian.

Format: http://semantic-kitti.org/dataset.html#format. nuScenes' scans and labels are their kin.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annotator3d.data.files import atomic_write, require_file
from annotator3d.errors import some

PathLike = str | os.PathLike[str]
_F32 = np.dtype("<f4")
_U32 = np.dtype("<u4")
_U8 = np.dtype("u1")
_SHOWN = 12  # ids that a message has room for


def read_bin(path: PathLike, columns: int = 4) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read every raw point of a scan, non-finite ones included.

    ``columns`` is the number of float32 values of a point: x, y, z, intensity and further ones that
    are not read (nuScenes: 5, with the ring).

    Returns ``(xyz [N, 3] float32 in metres, intensity [N] float32)``, contiguous and writable.
    Raises ValueError when the size of the file is not a multiple of a point's.
    """
    names = "x, y, z, intensity" + f" and {columns - 4} more" * (columns > 4)
    values = _read(path, _F32, columns * _F32.itemsize, f"point ({names} as float32)")
    points = values.reshape(-1, columns)
    return points[:, :3].copy(), points[:, 3].copy()


def write_bin(path: PathLike, xyz: ArrayLike, intensity: ArrayLike) -> None:
    """Write a scan: ``xyz [N, 3]`` in metres, ``intensity [N]``, both stored as float32."""
    xyz, intensity = np.asarray(xyz, dtype=_F32), np.asarray(intensity, dtype=_F32)
    if xyz.ndim != 2 or xyz.shape[1] != 3 or intensity.shape != xyz.shape[:1]:
        raise ValueError(
            f"xyz must be [N, 3] and intensity [N], got {xyz.shape} and {intensity.shape}"
        )
    _write(path, np.column_stack([xyz, intensity]).astype(_F32, copy=False))


def read_label(
    path: PathLike, num_points: int | None = None, *, scan_path: PathLike | None = None
) -> NDArray[np.uint32]:
    """Read the raw labels of a scan: uint32 [N], the class in the lower 16 bits (`split_label`).

    ``num_points`` is the number of raw points that the labels must fit, ``scan_path`` the scan's
    file for the message. Raises ValueError when the numbers differ or the file is truncated.
    """
    return _read_labels(path, _U32, num_points, scan_path)


def read_lidarseg(
    path: PathLike, num_points: int | None = None, *, scan_path: PathLike | None = None
) -> NDArray[np.uint8]:
    """Read the raw labels of a nuScenes-lidarseg file: uint8 [N]. Arguments: see `read_label`."""
    return _read_labels(path, _U8, num_points, scan_path)


def _read_labels(
    path: PathLike, dtype: np.dtype, num_points: int | None, scan_path: PathLike | None
) -> NDArray[np.unsignedinteger]:
    if words := other_width(os.path.getsize(path), num_points, dtype.itemsize):
        raise ValueError(f"{path} has {words}")
    labels = _read(path, dtype, dtype.itemsize, f"label ({dtype.name})")
    if num_points is not None and len(labels) != num_points:
        scan = f"the scan {scan_path}" if scan_path else "its scan"
        raise ValueError(
            f"{path} has {len(labels)} labels, but {scan} has {num_points} points: the two files "
            "do not belong together or one is incomplete; copy both again"
        )
    return labels


def other_width(size: int, num_points: int | None, width: int) -> str:
    """What a label file of `size` bytes holds if it has one label a point, of another width.

    Empty if the width is right, or the size does not fit the number of points.
    """
    if not num_points or size == num_points * width or size % num_points:
        return ""
    found = size // num_points
    if found not in (1, 2, 8):
        return ""
    return (
        f"{found} byte{'s' * (found > 1)} for each of {num_points} points, expected {width}, a "
        f"uint{8 * width}; `annotator3d import` reads labels of other types"
    )


def split_label(raw: NDArray[np.uint32]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Split raw labels [N] uint32 into ``(class [N], instance [N])``, both uint16."""
    return (raw & 0xFFFF).astype(np.uint16), (raw >> 16).astype(np.uint16)


def listed_ids(raw: NDArray[np.uint32], counts: Mapping[int, int]) -> str:
    """Class ids and their numbers of points for a message (see `errors.some`).

    An id that no point of `raw` has without an instance is shown with such a number as well: it may
    be a whole number that was never meant to be packed.
    """
    words = [f"{class_id} ({number} points)" for class_id, number in counts.items()]
    for place, class_id in enumerate(islice(counts, _SHOWN)):
        whole = int(raw[(raw & 0xFFFF) == class_id].min(initial=0xFFFFFFFF))
        if whole > 0xFFFF:
            words[place] += f" in the number {whole}"
    return some(words)


def write_label(path: PathLike, classes: ArrayLike, instances: ArrayLike | None = None) -> None:
    """Write labels: raw class ids ``classes [N]`` and ``instances [N]`` (0 where left out).

    Raises ValueError when a value does not fit into 16 bits or the lengths differ.
    """
    low = _as_uint16(classes, "classes")
    high = np.zeros_like(low) if instances is None else _as_uint16(instances, "instances")
    if low.ndim != 1 or low.shape != high.shape:
        raise ValueError(f"classes and instances must be [N], got {low.shape} and {high.shape}")
    _write(path, (high.astype(_U32) << 16) | low)


def read_poses(path: PathLike) -> NDArray[np.float64]:
    """Read poses.txt: [N, 4, 4] float64, camera of scan n -> camera of scan 0 (KITTI).

    Raises ValueError naming the line that does not hold 12 numbers.
    """
    require_file(path)
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip()]
    rows = [_row_to_matrix(line, f"{path}, line {n}") for n, line in numbered]
    return np.array(rows, dtype=np.float64).reshape(-1, 4, 4)


def write_poses(path: PathLike, poses: ArrayLike) -> None:
    """Write poses [N, 4, 4] or [N, 3, 4] as KITTI rows of 12 numbers; float64 survives exactly."""
    with atomic_write(path) as file:
        for pose in np.asarray(poses, dtype=np.float64):
            file.write(f"{_matrix_to_row(pose)}\n".encode())


def read_calib(path: PathLike) -> dict[str, NDArray[np.float64]]:
    """Read calib.txt: name -> [4, 4] float64; ``["Tr"]`` maps LiDAR points to the poses' camera.

    Raises ValueError when a line does not hold 12 numbers or ``Tr`` is missing.
    """
    require_file(path)
    calib = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.strip():
            name, _, values = line.partition(":")
            calib[name.strip()] = _row_to_matrix(values, f"{path}, entry {name.strip()!r}")
    if "Tr" not in calib:
        raise ValueError(f"{path} has no entry 'Tr' (LiDAR to camera), only {some(sorted(calib))}")
    return calib


def write_calib(path: PathLike, calib: dict[str, ArrayLike]) -> None:
    """Write name -> [4, 4] or [3, 4] matrices in the layout of KITTI's calib.txt."""
    with atomic_write(path) as file:
        for name, matrix in calib.items():
            file.write(f"{name}: {_matrix_to_row(matrix)}\n".encode())


def _read(path: PathLike, dtype: np.dtype, record: int, what: str) -> NDArray:
    require_file(path)
    data = np.fromfile(path, _U8)
    if len(data) % record:
        raise ValueError(
            f"{path} is truncated or of another format: {len(data)} bytes is not a multiple of "
            f"{record} bytes per {what}, {len(data) % record} bytes are left over"
        )
    return data.view(dtype).astype(dtype.newbyteorder("="), copy=False)


def _write(path: PathLike, values: NDArray) -> None:
    with atomic_write(path) as file:
        file.write(np.ascontiguousarray(values).tobytes())


def _as_uint16(values: ArrayLike, name: str) -> NDArray[np.uint16]:
    values = np.asarray(values)
    if values.size and (values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 0xFFFF):
        raise ValueError(f"{name} must be integers in 0..65535, got {values.dtype} values")
    return values.astype(np.uint16)


def _row_to_matrix(text: str, where: str) -> NDArray[np.float64]:
    try:
        values = np.array([float(value) for value in text.split()])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if len(values) != 12:
        raise ValueError(f"{where}: expected the 12 numbers of a 3x4 matrix, got {len(values)}")
    return np.vstack([values.reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])


def _matrix_to_row(matrix: ArrayLike) -> str:
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape not in ((3, 4), (4, 4)):
        raise ValueError(f"a pose must be [3, 4] or [4, 4], got {matrix.shape}")
    return " ".join(repr(float(value)) for value in matrix[:3].ravel())
