"""Plain arrays: .bin (float32 rows), .npy and .npz. What a column means is said by its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats.cloud import Cloud, CloudError, from_columns
from annotator3d.data.formats.npy import Archive, read_array

PathLike = str | os.PathLike[str]
UNUSED = "_"
USUAL = {3: ("x", "y", "z"), 4: ("x", "y", "z", "intensity")}
_POINTS = ("points", "xyz", "coords", "coord", "pts", "cloud", "data")


def read_bin(path: PathLike, columns: Sequence[str] | None = None) -> Cloud:
    """Rows of little-endian float32; by default x, y, z, intensity as SemanticKITTI has them."""
    columns = columns or USUAL[4]
    data = Path(path).read_bytes()
    record = 4 * len(columns)
    if len(data) % record:
        raise CloudError(
            f"is truncated or has other columns: {len(data)} bytes is not a multiple of {record}, "
            f"{len(columns)} float32 values per point ({','.join(columns)}); name the columns "
            "with --columns"
        )
    return _named(np.frombuffer(data, "<f4").reshape(-1, len(columns)), columns)


def read_npy(path: PathLike, columns: Sequence[str] | None = None) -> Cloud:
    """A structured array with named fields, or [N, C] with `columns`."""
    return _of_array(read_array(path), columns)


def read_npz(path: PathLike, columns: Sequence[str] | None = None) -> Cloud:
    """Arrays by name: the points as [N, C] (``points``, ``xyz``, ...) or as x, y, z, and fields."""
    with open(path, "rb") as file:
        archive = Archive(file)
        shapes = {name: header.shape for name, header in archive.headers.items()}
        name = next((n for n in _POINTS if len(shapes.get(n, ())) == 2), None)
        if name is None:
            return from_columns(
                archive.read(*(n for n, shape in shapes.items() if len(shape) == 1))
            )
        extra = [n for n, shape in shapes.items() if shape == shapes[name][:1]]
        arrays = archive.read(name, *extra)
    cloud = _of_array(arrays.pop(name), columns)
    return Cloud(cloud.xyz, {**cloud.fields, **arrays})


def _of_array(array: NDArray, columns: Sequence[str] | None) -> Cloud:
    if array.dtype.names:
        return from_columns({n: array[n] for n in array.dtype.names if array[n].ndim == 1})
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise CloudError(f"holds {array.dtype} of shape {array.shape}, expected numbers [N, C]")
    columns = columns or USUAL.get(array.shape[1])
    if columns is None or len(columns) != array.shape[1]:
        raise CloudError(
            f"has {array.shape[1]} columns; name each with --columns, such as "
            "x,y,z,intensity,label ('_' for one that is not used)"
        )
    return _named(array, columns)


def _named(array: NDArray, columns: Sequence[str]) -> Cloud:
    return from_columns({n: array[:, i] for i, n in enumerate(columns) if n != UNUSED})
