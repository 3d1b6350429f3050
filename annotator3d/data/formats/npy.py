"""Arrays in .npy and .npz files; what a header claims is compared with the file's size first."""

from __future__ import annotations

import math
import os
import zipfile
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from annotator3d.data.formats.cloud import CloudError

PathLike = str | os.PathLike[str]
# What the arrays of an archive may take in memory: as scans shrink by a factor of 10 at most, more
# than this is no scan but a mistake or a trap.
_MOST_GROWTH = 100
_HARMLESS = 1 << 28  # bytes: so much is read whatever it shrank to


class Header(NamedTuple):
    """What the header of a .npy stream says; `start` is where the values begin, in bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype
    start: int

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_array(path: PathLike) -> NDArray:
    """The array of a .npy file.

    Raises:
        CloudError: it is empty or damaged, holds fewer bytes than its header claims, or Python
            objects instead of numbers.
    """
    with open(path, "rb") as file:
        header = read_header(file, os.fstat(file.fileno()).st_size)
        file.seek(0)
        values = _values(file, header)
        if rest := file.read().strip(b"\0"):
            raise CloudError(
                f"has {len(rest):,} bytes behind its array of shape {header.shape}, perhaps "
                "another array; save each array in a file of its own"
            )
        return values


class Archive:
    """The arrays of a .npz file, read one by one as they are asked for.

    Raises:
        CloudError: it is no such archive, or packed in a way that numpy does not write.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._size = os.fstat(file.fileno()).st_size
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, OverflowError) as error:
            raise CloudError(f"is damaged or no NPZ file: {error}") from None
        members = [m for m in self._zip.infolist() if m.filename.endswith(".npy")]
        self._members = {m.filename.removesuffix(".npy"): m for m in members}
        self.headers = {name: self._header(name) for name in self._members}

    def read(self, *names: str) -> dict[str, NDArray]:
        """Arrays by name; CloudError if they take far more memory than the file could hold."""
        needed = sum(self.headers[name].num_bytes for name in names)
        if needed > max(_MOST_GROWTH * self._size, _HARMLESS):
            raise CloudError(
                f"would take {needed:,} bytes of memory, though it has only {self._size:,}; no "
                f"scan shrinks to less than a part in {_MOST_GROWTH}"
            )
        return {name: self._read(name) for name in names}

    def _header(self, name: str) -> Header:
        member = self._members[name]
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CloudError(f"packs {name!r} in a way that numpy does not; save it with np.savez")
        with self._zip.open(member) as stream:
            try:
                return read_header(stream, member.file_size)
            except CloudError as error:
                raise CloudError(f"holds an array {name!r} that {error}") from None

    def _read(self, name: str) -> NDArray:
        with self._zip.open(self._members[name]) as stream:
            return _values(stream, self.headers[name])


def read_header(stream: BinaryIO, size: int) -> Header:
    """Read what a .npy stream of `size` bytes holds.

    Raises CloudError: no values are read where the header cannot be true.
    """
    try:
        version = npy.read_magic(stream)
        width = 2 if version == (1, 0) else 4
        if int.from_bytes(stream.read(width), "little") > size:
            raise ValueError("its header ends behind it")
        stream.seek(-width, os.SEEK_CUR)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream)
    except (ValueError, EOFError) as error:
        words = (
            "is empty" if size == 0 else f"is damaged or no array: {' '.join(str(error).split())}"
        )
        raise CloudError(words[:200]) from None
    header = Header(shape, dtype, stream.tell())
    if dtype.hasobject:
        raise CloudError(
            f"holds Python objects ({dtype}), which are not read, since they can run code; save "
            "plain numbers"
        )
    if min(shape, default=0) < 0 or (dtype.itemsize == 0 and math.prod(shape)):
        raise CloudError(f"is damaged: its header says {dtype} of shape {shape}")
    if header.num_bytes > size - header.start:
        raise CloudError(
            f"is truncated or damaged: its header says {header.num_bytes:,} bytes of shape "
            f"{shape}, but only {size - header.start:,} follow"
        )
    return header


def _values(stream: BinaryIO, header: Header) -> NDArray:
    try:
        return npy.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise CloudError(f"is damaged or truncated: {' '.join(str(error).split())[:200]}") from None
