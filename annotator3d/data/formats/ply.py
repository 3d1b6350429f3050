"""PLY, ascii or binary, of either byte order (plyfile)."""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats.cloud import Cloud, CloudError, from_columns, left_out
from annotator3d.data.formats.ply_bounds import check_bounds
from annotator3d.data.formats.text import plain_numbers

_HEADER = 1 << 16  # bytes that every header of a point cloud fits
_END = re.compile(rb"^end_header\s*$", re.M)
_ASCII = re.compile(rb"^format[ \t]+ascii\b", re.M)
_FLOAT_AXIS = re.compile(rb"^(property[ \t]+)(?:float32|float)([ \t]+[xyzXYZ][ \t]*\r?)$", re.M)


def read_ply(path: str | os.PathLike[str], columns: object = None) -> Cloud:
    """The element ``vertex``; lists of one number are read as numbers, others are left out.

    Source: http://paulbourke.net/dataformats/ply/
    """
    from plyfile import PlyData

    check_bounds(path)
    content = PlyData.read(_with_all_digits(path))
    if "vertex" not in content:
        raise CloudError(f"has no element 'vertex', only {[e.name for e in content.elements]}")
    vertex = content["vertex"]
    data = vertex.data
    columns: dict[str, NDArray] = {}
    lists: dict[str, tuple[object, ...]] = {}
    for name in (p.name for p in vertex.properties):
        if data.dtype[name].kind in "fiu":
            columns[name] = np.asarray(data[name])
        elif all(len(values) == 1 for values in data[name]):
            columns[name] = np.array([values[0] for values in data[name]])
        else:
            lists[name] = (len(data), "lists")
    cloud = from_columns(columns)
    return replace(cloud, remarks=left_out(lists, len(cloud)))


def _with_all_digits(path: str | os.PathLike[str]) -> str | os.PathLike[str] | BinaryIO:
    """The file; of text the content, with x, y and z declared as double.

    Many programs declare float and write more digits than it holds, such as those of UTM.
    """
    with open(path, "rb") as file:
        start = file.read(_HEADER)
    end = _END.search(start)
    if end is None or not _ASCII.search(start[: end.start()]):
        return path
    header = _FLOAT_AXIS.sub(rb"\1double\2", start[: end.start()])
    return io.BytesIO(header + plain_numbers(Path(path).read_bytes()[end.start() :]))


def write_ply(file: BinaryIO, cloud: Cloud) -> None:
    """Binary little-endian; fields keep their type."""
    from plyfile import PlyData, PlyElement

    columns = {axis: cloud.xyz[:, i] for i, axis in enumerate("xyz")} | dict(cloud.fields)
    dtype = [(name, values.dtype.newbyteorder("<").str) for name, values in columns.items()]
    data = np.empty(len(cloud), dtype)
    for name, values in columns.items():
        data[name] = values
    PlyData([PlyElement.describe(data, "vertex")], byte_order="<").write(file)
