"""PCD: ascii, binary and binary_compressed (pypcd4)."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from annotator3d.data.formats.cloud import Cloud, CloudError, from_columns
from annotator3d.data.formats.text import plain_numbers

_HEADER = 1 << 16  # bytes that every header fits


def read_pcd(path: str | os.PathLike[str], columns: object = None) -> Cloud:
    """Every field of count 1; a packed ``rgb`` becomes red, green and blue.

    Source: https://pointclouds.org/documentation/tutorials/pcd_file_format.html
    """
    from pypcd4 import PointCloud

    cloud = PointCloud.from_fileobj(io.BytesIO(_with_all_digits(Path(path).read_bytes())))
    data = np.atleast_1d(cloud.pc_data)
    if len(data) != cloud.points:
        raise CloudError(
            f"is truncated: its header says {cloud.points} points, there are {len(data)}"
        )
    columns = {name: data[name] for name in data.dtype.names if "~~" not in name}
    packed = next((name for name in ("rgb", "rgba") if name in columns), None)
    if packed and columns[packed].dtype.itemsize == 4:
        rgb = PointCloud.decode_rgb(np.ascontiguousarray(columns.pop(packed)))
        columns |= {name: rgb[:, i] for i, name in enumerate(("red", "green", "blue"))}
    return from_columns(columns)


def _with_all_digits(data: bytes) -> bytes:
    """The same file; where it is text, x, y and z are declared as float64.

    Many programs declare 4 bytes and write more digits than those hold, such as those of UTM.
    """
    lines = data[:_HEADER].split(b"\n")
    words = {line.split()[0].upper(): n for n, line in enumerate(lines[:20]) if line.split()}
    if not {b"FIELDS", b"SIZE", b"TYPE", b"DATA"} <= set(words):
        return data
    if lines[words[b"DATA"]].split()[1:2] != [b"ascii"]:
        return data
    names, sizes, types = (lines[words[key]].split() for key in (b"FIELDS", b"SIZE", b"TYPE"))
    if not len(names) == len(sizes) == len(types):
        return data
    wide = [
        b"8" if name.lower() in (b"x", b"y", b"z") and kind.upper() == b"F" else size
        for name, size, kind in zip(names, sizes, types, strict=True)
    ]
    old = b"\n".join(lines[: words[b"DATA"]])
    lines[words[b"SIZE"]] = b" ".join(wide)
    return b"\n".join(lines[: words[b"DATA"]]) + plain_numbers(data[len(old) :])
