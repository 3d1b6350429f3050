"""Files with one label per point and no points: arrays, text and bare binary numbers.

What the bytes are is decided by their number and content, because the endings do not say it:
``.label`` is uint32 in SemanticKITTI, ``.labels`` is text in Semantic3D, ``.bin`` is anything.
"""

from __future__ import annotations

import os
import re
from codecs import BOM_UTF8
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.files import require_file
from annotator3d.data.formats.cloud import CloudError
from annotator3d.data.formats.npy import read_array
from annotator3d.data.formats.text import plain_numbers
from annotator3d.errors import shortened

PathLike = str | os.PathLike[str]
ENDINGS = (".label", ".labels", ".npy", ".bin", ".txt", ".seg", ".csv")
# How labels are stored where nothing else is said.
USUAL = {".label": "uint32", ".labels": "text", ".txt": "text", ".csv": "text", ".bin": "uint8"}
_BINARY = {1: ("u1",), 2: ("<u2",), 4: ("<u4", "<f4", ">u4"), 8: ("<i8", "<f8")}
_SAMPLE = 4096  # bytes
_ONE = 0x3F800000  # the bits of 1.0 as float32
_TEXT = re.compile(rb"[\x09\x0a\x0d\x20-\x7e]*")


def read_label_file(path: PathLike, num_points: int, scan: PathLike) -> tuple[NDArray, str]:
    """The labels [N] of a scan as numbers of the file's own type, and how they are stored in words.

    Args:
        num_points: N, that of the scan.
        scan: its file, for the messages.

    Raises:
        ValueError: the file has another number of labels, several columns, or no numbers.
    """
    _check_link(path)
    require_file(path)
    if Path(path).suffix.lower() == ".npy":
        return _of_array(path, num_points, scan)
    data = Path(path).read_bytes()
    if data.startswith(BOM_UTF8) and _is_text(data[len(BOM_UTF8) :]):  # as Excel writes text
        data = data[len(BOM_UTF8) :]
    if len(data) != num_points and _is_text(data):  # N numbers of text are more than N bytes
        return _of_text(data, path, num_points, scan), "text"
    width, rest = divmod(len(data), num_points) if num_points else (len(data), len(data))
    if num_points == 0 and not data:
        return np.zeros(0, np.uint32), "uint32"
    if rest or width not in _BINARY:
        labels = f" ({len(data) // 4} labels of 4 bytes)" if len(data) % 4 == 0 else ""
        count = f"{len(data)} bytes{labels},"
        raise ValueError(_other_length(path, count, num_points, scan))
    if width < 4 and _is_cut_off(np.frombuffer(data, _BINARY[width][0]), 4 // width):
        raise ValueError(
            f"{path} has {len(data)} bytes, but {scan} has {num_points} points: it looks like the "
            f"first part of {num_points} labels of 4 bytes; copy it again"
        )
    for dtype in _BINARY[width]:
        values = np.frombuffer(data, dtype)
        if _plausible(values):
            big = "big-endian " if dtype.startswith(">") else ""
            return _signed(values), big + values.dtype.name
    raise ValueError(
        f"{path} has {width} bytes for each of the {num_points} points of {scan}, but they are "
        f"labels neither as {' nor as '.join(np.dtype(d).name for d in _BINARY[width])}; save "
        "whole numbers from 0 to 65535 as .npy"
    )


def holds_one_number_a_line(path: PathLike) -> bool:
    """Whether a text file starts like labels, rather than like boxes or points; others: true."""
    require_file(path)
    with open(path, "rb") as file:
        sample = file.read(_SAMPLE).removeprefix(BOM_UTF8)
    if not _is_text(sample):
        return True
    lines = [line for line in sample.splitlines() if line.strip()]
    if len(sample) == _SAMPLE:  # the last line may be cut
        lines.pop()
    numbers = lines[1:] if lines and not _number(lines[0]) else lines
    return all(len(_fields(line)) == 1 for line in lines) and all(map(_number, numbers))


def _check_link(path: PathLike) -> None:
    if os.path.islink(path) and not os.path.exists(path):
        raise ValueError(
            f"{path} is a link to {os.readlink(path)}, which does not exist; copy that file to "
            "its place, or pass --label-field none"
        )


def _of_array(path: PathLike, num_points: int, scan: PathLike) -> tuple[NDArray, str]:
    try:
        values = read_array(path)
    except CloudError as error:
        raise ValueError(f"the labels {path} cannot be read: the file {error}") from None
    flat = values.reshape(-1) if values.size == max(values.shape, default=0) else values
    if flat.shape == (num_points,):
        return flat, values.dtype.name
    words = f"labels of shape {values.shape},"
    if len(values.shape) == 2 and len(values) == num_points:
        raise ValueError(
            f"{path} has {values.shape[1]} columns for each point of {scan}, expected one with the "
            "class; save that column alone"
        )
    raise ValueError(_other_length(path, words, num_points, scan))


def _of_text(data: bytes, path: PathLike, num_points: int, scan: PathLike) -> NDArray:
    """One number a line; comments and the name of the column are left out."""
    lines = plain_numbers(data).splitlines()
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith(b"#")]
    if len(lines) == 1 and len(_fields(lines[0])) == num_points:
        lines = _fields(lines[0])
    if lines and not all(map(_number, _fields(lines[0]))):
        lines = lines[1:]  # the name of the column
    wide = next((line for line in lines if len(_fields(line)) > 1), None)
    if wide is not None:
        raise ValueError(
            f"{path} has {len(_fields(wide))} columns of text, expected one number a line, the "
            "class; save that column alone"
        )
    if len(lines) != num_points:
        raise ValueError(_other_length(path, f"{len(lines)} labels,", num_points, scan))
    try:
        return np.loadtxt(BytesIO(b"\n".join(lines)), ndmin=1)
    except ValueError as error:
        raise ValueError(f"{path}: {shortened(str(error), 120)}") from None


def _plausible(values: NDArray) -> bool:
    """Whether the bytes mean labels in this type, and not only in another of the same width."""
    if values.dtype.kind == "f":
        return _whole(values)
    if values.dtype.byteorder == ">":
        return True
    if values.dtype.itemsize == 4 and not (values & 0xFFFFFF).any() and values.any():
        return False  # only the fourth byte: a class as big-endian, or float32
    if values.dtype.itemsize == 4:  # whole numbers as float32 look like huge ones
        return not (values.max(initial=0) >= _ONE and _whole(values.view("<f4")))
    if values.dtype.itemsize == 8:
        return bool(((values >= -1) & (values <= 0xFFFFFFFF)).all())
    return True


def _whole(values: NDArray) -> bool:
    with np.errstate(invalid="ignore"):
        labels = (values == np.rint(values)) & (values >= -1) & (values <= 0xFFFF)
        return bool((np.isnan(values) | labels).all())


def _is_cut_off(values: NDArray, parts: int) -> bool:
    """Whether narrow labels are the parts of wide ones, of which the upper are always 0."""
    values = values[: len(values) // parts * parts].reshape(-1, parts)
    return bool(len(values) >= 4 and values[:, 0].any() and not values[:, 1:].any())


def _signed(values: NDArray) -> NDArray:
    """In the byte order of this machine; -1 of an int32 file is -1, which means no class."""
    if values.dtype.itemsize != 4 or values.dtype.kind != "u":
        return values.astype(values.dtype.newbyteorder("="))
    signed = values.astype(np.int64)
    signed[values == 0xFFFFFFFF] = -1
    return signed


def _is_text(data: bytes) -> bool:
    sample = data[:_SAMPLE]
    return bool(sample) and _TEXT.fullmatch(sample) is not None


def _fields(line: bytes) -> list[bytes]:
    return line.replace(b",", b" ").replace(b";", b" ").split()


def _number(line: bytes) -> bool:
    try:
        float(plain_numbers(line.strip(b" \t\r,;")))
    except ValueError:
        return False
    return True


def _other_length(path: PathLike, what: str, num_points: int, scan: PathLike) -> str:
    return (
        f"{path} has {what} but {scan} has {num_points} points: the two files do not belong "
        "together or one is incomplete"
    )
