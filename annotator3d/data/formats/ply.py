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

from annotator3d.data.formats.cloud import NOT_COUNTED, Cloud, CloudError, from_columns, left_out
from annotator3d.data.formats.ply_bounds import check_bounds
from annotator3d.data.formats.text import plain_numbers

_FOREIGN = re.compile(rb"[\x80-\xff]")
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
    with _opened(path) as stream:
        content = PlyData.read(stream)
        rest = b"" if content.text else stream.read()  # plyfile closes what is text
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
    more = len(rest) // max(data.dtype.itemsize, 1) if rest.strip(b"\0\r\n") else 0
    if content.text:
        more = _lines(path) - sum(len(element.data) for element in content.elements)
    uncounted = {NOT_COUNTED: more} if more > 0 else {}
    return replace(cloud, remarks={**left_out(lists, len(cloud)), **uncounted})


def _lines(path: str | os.PathLike[str]) -> int:
    """Lines behind the header of a text file."""
    with open(path, "rb") as file:
        for line in file:
            if line.strip() == b"end_header":
                break
        return sum(1 for line in file if line.strip())


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    """The file as plyfile reads it: its header in ASCII, x, y and z of text declared as double.

    Comments and names may hold any letters, and many programs declare float and write more digits
    than it holds, such as those of UTM.
    """
    with open(path, "rb") as file:
        start = file.read(_HEADER)
    end = _END.search(start)
    header = b"" if end is None else start[: end.start()]
    text = _ASCII.search(header) is not None
    if header.isascii() and not text:
        return open(path, "rb")
    content = Path(path).read_bytes()[len(header) :]
    if text:
        header, content = _FLOAT_AXIS.sub(rb"\1double\2", header), plain_numbers(content)
    return io.BytesIO(_FOREIGN.sub(b"?", header) + content)


def write_ply(file: BinaryIO, cloud: Cloud) -> None:
    """Binary little-endian; fields keep their type."""
    from plyfile import PlyData, PlyElement

    columns = {axis: cloud.xyz[:, i] for i, axis in enumerate("xyz")} | dict(cloud.fields)
    dtype = [(name, values.dtype.newbyteorder("<").str) for name, values in columns.items()]
    data = np.empty(len(cloud), dtype)
    for name, values in columns.items():
        data[name] = values
    PlyData([PlyElement.describe(data, "vertex")], byte_order="<").write(file)
