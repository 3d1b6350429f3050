"""LAS and LAZ (laspy with lazrs)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats.cloud import NOT_COUNTED, Cloud, CloudError, flat, left_out
from annotator3d.data.formats.las_bounds import check_bounds, uncounted

if TYPE_CHECKING:
    import laspy

# LAS keeps coordinates as int32 multiples of a step: this one serves a range of 2 km.
FINEST = 1e-6
_PART = 1_000_000  # points
_OUTSIDE = (
    "points outside of the bounds that the header states: look whether its scale and offset are "
    "right"
)


def read_las(path: str | os.PathLike[str], columns: object = None) -> Cloud:
    """Every dimension; coordinates in float64 with scale and offset applied.

    Source: https://www.asprs.org/divisions-committees/lidar-division/laser-las-file-format-exchange-activities
    """
    from annotator3d.data.formats.las_crs import stated_by

    las = open_las(path)
    if len(las.points) != las.header.point_count:
        raise CloudError(
            f"is truncated: its header says {las.header.point_count} points, there are "
            f"{len(las.points)}"
        )
    more = uncounted(path)
    fields, wide = {}, {}
    for name in las.point_format.dimension_names:
        if name not in ("X", "Y", "Z"):
            values = np.array(las[name])
            if flat(values).ndim == 1:
                fields[name] = flat(values)
            else:
                wide[name] = values.shape
    xyz = np.array(las.xyz, np.float64)
    remarks = left_out(wide, len(las.points)) | ({NOT_COUNTED: more} if more else {})
    if outside := _outside_bounds(xyz, las.header):
        remarks[_OUTSIDE] = outside
    return Cloud(
        xyz,
        fields,
        steps=tuple(float(value) for value in las.header.scales),
        remarks=remarks,
        origin=tuple(float(value) for value in las.header.offsets),
        stated=stated_by(las),
    )


def _outside_bounds(xyz: NDArray[np.float64], header: laspy.LasHeader) -> int:
    """How many of [N, 3] points lie clearly outside of the bounds that the header states.

    Scale and offset move every point, and nothing else in the file tells that they are damaged.
    Bounds that are wider than the points, or none at all, are common: cut files keep theirs.
    """
    low, high = np.array(header.mins, np.float64), np.array(header.maxs, np.float64)
    if not (np.isfinite([low, high]).all() and (low <= high).all() and (low < high).any()):
        return 0
    steps = np.abs(header.scales)
    room = np.maximum(10 * np.where(np.isfinite(steps), steps, 0.0), 0.01 * (high - low))
    return int(((xyz < low - room) | (xyz > high + room)).any(1).sum())


def _read(file: BinaryIO) -> laspy.LasData:
    """The whole file, a part of the points at a time: a count that is wrong takes no memory."""
    import laspy

    # One thread: scans are read in several processes, and a damaged table of chunks ends in an
    # error here, but in the end of the process where all chunks are read at once.
    reader = laspy.LasReader(file, closefd=False, laz_backend=laspy.LazBackend.Lazrs)
    parts = [part.array for part in reader.chunk_iterator(_PART)]
    if len(parts) != 1:
        parts = [np.concatenate(parts)] if parts else [reader.read_points(0).array]
    header = reader.header
    points = laspy.ScaleAwarePointRecord(
        parts[0], header.point_format, header.scales, header.offsets
    )
    return laspy.LasData(header, points)


def open_las(path: str | os.PathLike[str]) -> laspy.LasData:
    """A whole LAS or LAZ file as laspy has it.

    Raises:
        CloudError: the header's counts do not fit the file.
        Exception: whatever laspy raises on a damaged file.
    """
    with open(path, "rb") as file:
        check_bounds(file)
        file.seek(0)
        return _read(file)


def write_las(
    file: BinaryIO,
    whole: NDArray[np.int64],
    scales: Sequence[float],
    offsets: Sequence[float],
    fields: Mapping[str, NDArray],
    laz: bool = False,
) -> None:
    """LAS 1.4, point format 6, one return a pulse; fields that the format lacks become extra ones.

    Args:
        whole: [N, 3] X, Y and Z, within 32 bits; coordinates are ``whole * scales + offsets``.
        fields: name -> [N]. ``classification`` must be 0..255, ``intensity`` 0..65535.
    """
    import laspy

    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = np.array(scales, float), np.array(offsets, float)
    header.global_encoding.wkt = True  # the standard has it so from point format 6 on
    own = set(header.point_format.dimension_names)
    for name, values in fields.items():
        if name not in own:
            header.add_extra_dim(laspy.ExtraBytesParams(name, values.dtype))
    las = laspy.LasData(header)
    las.points = laspy.ScaleAwarePointRecord.zeros(len(whole), header=header)
    for axis, values in zip("XYZ", whole.T, strict=True):
        las[axis] = values.astype(np.int32)
    las.return_number = las.number_of_returns = np.ones(len(whole), np.uint8)
    for name, values in fields.items():
        las[name] = values
    las.write(file, do_compress=laz)


def finest_step(xyz: NDArray) -> float:
    """The finest power of ten, from `FINEST` up, that brings coordinates [N, 3] into 32 bits."""
    largest, step = float(np.abs(xyz).max(initial=0.0)), FINEST
    while largest / step > 2**31 - 1:
        step *= 10
    return step
