"""PCD: ascii, binary and binary_compressed, in the dialects that `pcd_header` names."""

from __future__ import annotations

import io
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats.cloud import NOT_COUNTED, Cloud, CloudError, from_columns
from annotator3d.data.formats.pcd_header import PcdHeader, read_header
from annotator3d.data.formats.text import plain_numbers

_VIEWPOINT = "the VIEWPOINT of the header is not applied: points stay as they are in the file"
_MOST_GROWTH = 100  # LZF shrinks to a part in 88 at best


def read_pcd(path: str | os.PathLike[str], columns: object = None) -> Cloud:
    """Every field; a packed ``rgb`` becomes red, green and blue.

    Source: https://pointclouds.org/documentation/tutorials/pcd_file_format.html
    """
    data = Path(path).read_bytes()
    header = read_header(data)
    read = {"ascii": _text, "binary": _binary, "binary_compressed": _compressed}[header.encoding]
    values = read(data[header.start :], header)
    named: dict[str, NDArray] = {}
    for name, array in zip(header.names(), values, strict=True):
        if name != "_":
            named.setdefault(name, array)
    packed = next((name for name in ("rgb", "rgba") if name in named), None)
    if packed and named[packed].dtype.itemsize == 4:
        rgb = np.ascontiguousarray(named.pop(packed)).view("<u4")
        named |= {"red": _byte(rgb, 16), "green": _byte(rgb, 8), "blue": _byte(rgb, 0)}
    cloud = from_columns(named)
    remarks = {_VIEWPOINT: 0} if header.moved else {}
    if header.encoding == "binary" and (more := _more(data, header, len(cloud))):
        remarks[NOT_COUNTED] = more
    return replace(cloud, remarks={**cloud.remarks, **remarks})


def _more(data: bytes, header: PcdHeader, count: int) -> int:
    """Points behind those that the header counts; zeros only fill the last page of a file."""
    size = header.dtype().itemsize
    rest = data[header.start + count * size :]
    return len(rest) // size if rest.strip(b"\0\r\n") else 0


def _byte(packed: NDArray, shift: int) -> NDArray[np.uint8]:
    return (packed >> shift & 0xFF).astype(np.uint8)


def _text(body: bytes, header: PcdHeader) -> list[NDArray]:
    """Numbers between any spaces or tabs."""
    dtype = header.dtype()
    if body.strip():
        lines = io.StringIO(plain_numbers(body).decode("latin-1"))
        try:
            rows = np.loadtxt(lines, dtype, comments=None, ndmin=1)
        except ValueError as error:
            words = " ".join(str(error).split(";")[0].split())[:200]
            raise CloudError(f"has lines that do not fit its header: {words}") from None
    else:
        rows = np.empty(0, dtype)
    if header.counts and len(rows) not in header.counts:
        wrong = "is truncated" if len(rows) < header.counts[0] else "is damaged"
        raise CloudError(
            f"{wrong}: its header says {header.counts[0]} points, there are {len(rows)}"
        )
    return [rows[name] for name in dtype.names]


def _binary(body: bytes, header: PcdHeader) -> list[NDArray]:
    """One point after the other."""
    dtype = header.dtype()
    count = _count(header, len(body), dtype.itemsize)
    rows = np.frombuffer(body, dtype, count)
    return [rows[name] for name in dtype.names]


def _compressed(body: bytes, header: PcdHeader) -> list[NDArray]:
    """One field after the other, in a block of LZF; left as it is where that is no shorter."""
    if header.counts and not max(header.counts):
        return [np.empty(0, kind) for kind, _ in header.dtype().fields.values()]
    size, whole = struct.unpack("<II", body[:8]) if len(body) >= 8 else (1, 0)
    block, dtype = body[8 : 8 + size], header.dtype()
    if len(block) < size or whole > max(_MOST_GROWTH * size, 1 << 20):
        raise CloudError(
            f"is truncated or damaged: it says that a block of {size:,} bytes follows, which "
            f"holds {whole:,}; there are {max(len(body) - 8, 0):,}"
        )
    count = _count(header, whole, dtype.itemsize)
    if count * dtype.itemsize != whole:
        raise CloudError(f"is damaged: its block holds {whole:,} bytes, not those of its points")
    if size != whole:
        block = _unpacked(block, whole)
    columns, at = [], 0
    for kind, _ in dtype.fields.values():
        columns.append(np.frombuffer(block, kind, count, at))
        at += kind.itemsize * count
    return columns


def _unpacked(block: bytes, whole: int) -> bytes:
    import lzf  # comes with pypcd4

    try:
        unpacked = lzf.decompress(block, whole)
    except ValueError as error:
        raise CloudError(f"is damaged: its block cannot be unpacked: {error}") from None
    if unpacked is None or len(unpacked) != whole:
        raise CloudError("is damaged: its block does not hold what it says")
    return unpacked


def _count(header: PcdHeader, size: int, record: int) -> int:
    """The number of points, which must fit into `size` bytes."""
    if len(header.counts) == 1:
        if header.counts[0] * record > size:
            raise CloudError(
                f"is truncated: its header says {header.counts[0]} points, there are "
                f"{size // record}"
            )
        return header.counts[0]
    if not header.counts:
        raise CloudError("says neither POINTS nor WIDTH in its header")
    for count in header.counts:
        if count * record == size:
            return count
    raise CloudError(
        f"says POINTS {header.counts[0]}, but WIDTH x HEIGHT is {header.counts[1]}; it has bytes "
        f"of {size / record:g} points"
    )
