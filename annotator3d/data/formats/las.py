"""LAS and LAZ (laspy with lazrs)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from annotator3d.data.formats.cloud import Cloud, CloudError, flat, left_out
from annotator3d.data.formats.las_bounds import check_bounds

if TYPE_CHECKING:
    import laspy

# LAS keeps coordinates as int32 multiples of a step: this one serves a range of 2 km.
FINEST = 1e-6
_PART = 1_000_000  # points


def read_las(path: str | os.PathLike[str], columns: object = None) -> Cloud:
    """Every dimension; coordinates in float64 with scale and offset applied.

    Source: https://www.asprs.org/divisions-committees/lidar-division/laser-las-file-format-exchange-activities
    """
    from annotator3d.data.formats.las_crs import stated_by

    with open(path, "rb") as file:
        check_bounds(file)
        file.seek(0)
        las = _read(file)
    if len(las.points) != las.header.point_count:
        raise CloudError(
            f"is truncated: its header says {las.header.point_count} points, there are "
            f"{len(las.points)}"
        )
    fields, wide = {}, {}
    for name in las.point_format.dimension_names:
        if name not in ("X", "Y", "Z"):
            values = np.array(las[name])
            if flat(values).ndim == 1:
                fields[name] = flat(values)
            else:
                wide[name] = values.shape
    return Cloud(
        np.array(las.xyz, np.float64),
        fields,
        steps=tuple(float(value) for value in las.header.scales),
        remarks=left_out(wide, len(las.points)),
        origin=tuple(float(value) for value in las.header.offsets),
        stated=stated_by(las),
    )


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


def write_las(file: BinaryIO, cloud: Cloud, offset=(0.0, 0.0, 0.0), laz: bool = False) -> None:
    """LAS 1.4, point format 6; fields that the format lacks become extra dimensions.

    Args:
        cloud: `steps` are kept; without them the finest that fit.
        offset: added to the coordinates, in float64.

    A field ``classification`` must be of values 0..255, ``intensity`` 0..65535.
    """
    import laspy

    header = laspy.LasHeader(point_format=6, version="1.4")
    xyz = cloud.xyz.astype(np.float64)
    header.scales = np.array(cloud.steps or 3 * (_step(xyz),))
    header.offsets = np.array(offset, np.float64)
    own = set(header.point_format.dimension_names)
    for name, values in cloud.fields.items():
        if name not in own:
            header.add_extra_dim(laspy.ExtraBytesParams(name, values.dtype))
    las = laspy.LasData(header)
    las.points = laspy.ScaleAwarePointRecord.zeros(len(cloud), header=header)
    for axis, values, step in zip("XYZ", xyz.T, header.scales, strict=True):
        las[axis] = np.rint(values / step).astype(np.int32)
    for name, values in cloud.fields.items():
        las[name] = values
    las.write(file, do_compress=laz)


def _step(xyz: np.ndarray) -> float:
    """The finest power of ten that brings the coordinates into 32 bits."""
    largest, step = float(np.abs(xyz).max(initial=0.0)), FINEST
    while largest / step > 2**31 - 1:
        step *= 10
    return step
