"""Plain arrays: .bin (rows of numbers), .npy and .npz. A column is known by its name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats.cloud import Cloud, CloudError, flat, from_columns, left_out
from annotator3d.data.formats.columns import UNUSED, is_typed, name_of, record
from annotator3d.data.formats.npy import Archive, read_array
from annotator3d.data.formats.records import best, doubt
from annotator3d.errors import some

PathLike = str | os.PathLike[str]
USUAL = {3: ("x", "y", "z"), 4: ("x", "y", "z", "intensity")}
SWEEP = ".pcd.bin"  # how nuScenes names its scans, which are no PCD files
NUSCENES = ("x", "y", "z", "intensity", "ring")
_POINTS = ("points", "xyz", "coords", "coord", "pts", "cloud", "data")


def read_bin(path: PathLike, columns: Sequence[str] | None = None) -> Cloud:
    """Rows of little-endian float32; by default x, y, z, intensity as SemanticKITTI has them.

    Columns may state their types, as `formats.columns` reads them: they are believed then. Else the
    numbers must look like such rows. A file that is named as a sweep of nuScenes and looks like one
    is read as one.
    """
    data = np.fromfile(path, np.uint8)
    if columns is not None and is_typed(columns):
        return _typed(data, columns)
    remarks = {}
    if columns is None and Path(path).name.endswith(SWEEP) and _is_sweep(data):
        columns, remarks = NUSCENES, {f"read as sweeps of nuScenes ({','.join(NUSCENES)})": 0}
    usual = columns is None
    columns = columns or USUAL[4]
    axes = [[name.lower() for name in columns].index(axis) for axis in "xyz"]
    size = 4 * len(columns)
    if len(data) % size:
        fits = best(data)
        hint = "name the columns with --columns"
        hint = f"--columns {fits.names()} fits" if fits is not None else hint
        raise CloudError(
            f"is truncated or has other columns: {len(data)} bytes is not a multiple of {size}, "
            f"{len(columns)} float32 values per point ({','.join(columns)}); {hint}"
        )
    if (wrong := doubt(data, len(columns), axes, usual)) is not None:
        typed = ",".join(f"{name}:f4" for name in columns)
        raise CloudError(
            f"does not look like points of {','.join(columns)}: {wrong.words(len(data))}; to read "
            f"it as named nevertheless, give types: --columns {typed}"
        )
    cloud = _named(data.view("<f4").reshape(-1, len(columns)), columns)
    return replace(cloud, remarks=remarks)


def _typed(data: NDArray[np.uint8], columns: Sequence[str]) -> Cloud:
    row = record(columns)
    if len(data) % row.itemsize:
        raise CloudError(
            f"is truncated or has other columns: {len(data)} bytes is not a multiple of "
            f"{row.itemsize} bytes per point ({','.join(columns)})"
        )
    rows = data.view(row)
    return from_columns({name: rows[name] for name in row.names})


def _is_sweep(data: NDArray[np.uint8]) -> bool:
    """Whether the bytes are points of five float32 whose last is a number of a beam."""
    if len(data) % 20 or doubt(data, len(NUSCENES)) is not None:
        return False
    beams = data.view("<f4").reshape(-1, 5)[:, 4]
    return bool(((beams >= 0) & (beams < 256) & (beams == np.rint(beams))).all())


def read_npy(path: PathLike, columns: Sequence[str] | None = None) -> Cloud:
    """A structured array with named fields, or [N, C] with `columns`."""
    return _of_array(read_array(path), columns)


def read_npz(path: PathLike, columns: Sequence[str] | None = None) -> Cloud:
    """Arrays by name: the points as [N, C] (``points``, ``xyz``, ...) or as x, y, z, and fields."""
    with open(path, "rb") as file:
        archive = Archive(file)
        shapes = {name: header.shape for name, header in archive.headers.items()}
        name = _points_of(shapes)
        rows = shapes[name or next((n for n in shapes if n.lower() == "x"), next(iter(shapes)))][:1]
        extra = [n for n, shape in shapes.items() if shape in (rows, (*rows, 1)) and n != name]
        arrays = archive.read(*extra, *([] if name is None else [name]))
    points = None if name is None else arrays.pop(name)
    cloud = from_columns(arrays) if points is None else _of_array(points, columns)
    wide = {n: shape for n, shape in shapes.items() if n not in (name, *extra)}
    fields = cloud.fields if points is None else {n: flat(a) for n, a in arrays.items()}
    remarks = {**cloud.remarks, **left_out(wide, len(cloud))}
    return replace(cloud, fields={**cloud.fields, **fields}, remarks=remarks)


def _points_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """The array [N, C] with the points: by its name, or the only one; None: x, y, z are apart."""
    wide = [n for n, shape in shapes.items() if len(shape) == 2 and shape[1] >= 3]
    named = [n for n in _POINTS if len(shapes.get(n, ())) == 2]
    if named or any(n.lower() == "x" for n in shapes):
        return next(iter(named), None)
    if len(wide) == 1:  # np.savez(path, points) calls it arr_0
        return wide[0]
    held = some((f"{n!r} {list(shape)}" for n, shape in shapes.items()), 160)
    raise CloudError(f"has no x, y, z and no one array of points, only {held}")


def _of_array(array: NDArray, columns: Sequence[str] | None) -> Cloud:
    if array.dtype.names:
        return from_columns({n: array[n] for n in array.dtype.names})
    if array.ndim != 2 or array.dtype.kind not in "fiu" or array.itemsize == 1:
        raise CloudError(f"holds {array.dtype} of shape {array.shape}, expected numbers [N, C]")
    columns = [name_of(column) for column in columns or USUAL.get(array.shape[1]) or ()]
    if len(columns) != array.shape[1]:
        raise CloudError(
            f"has {array.shape[1]} columns; name each with --columns, such as "
            "x,y,z,intensity,label ('_' for one that is not used)"
        )
    return _named(array, columns)


def _named(array: NDArray, columns: Sequence[str]) -> Cloud:
    return from_columns({n: array[:, i] for i, n in enumerate(columns) if n != UNUSED})
