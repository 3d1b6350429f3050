"""Whether a LAS or LAZ file can hold what its header counts, before a library believes it.

Layout: LAS 1.4 R15, https://www.asprs.org/wp-content/uploads/2019/07/LAS_1_4_r15.pdf, and the
record and chunk table of LASzip, https://github.com/LASzip/LASzip.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from annotator3d.data.formats.cloud import CloudError
from annotator3d.data.formats.laz_chunks import hidden_points

_RECORD, _EXTENDED = 54, 60  # bytes of the heads of variable-length records
_OLDEST, _LONG_HEADER = 227, 375  # bytes of the headers of LAS 1.0 and 1.4
_LAYERED = 3
_CHUNKED = (2, _LAYERED)  # compressors that lazrs reads: points in chunks, layers in chunks
_LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}  # of a point of LAS 1.4, its colours, with NIR, its wave
_BYTES = 14  # extra bytes: a layer each
_VARIABLE = 0xFFFFFFFF  # chunk size: the chunks differ


def check_bounds(file: BinaryIO) -> None:
    """Compare the counts of the header of an open file with its size.

    Raises CloudError that names the count; the position in the file is anywhere then.
    """
    size = os.fstat(file.fileno()).st_size
    head = file.read(_LONG_HEADER)
    if head[:4] != b"LASF":
        raise CloudError("is no LAS or LAZ file: it does not begin with LASF")
    if len(head) < _OLDEST:
        raise CloudError(f"is truncated: it has {size} bytes, a header has {_OLDEST}")
    header, points, records = struct.unpack_from("<HII", head, 94)
    format, length, count = struct.unpack_from("<BHI", head, 104)
    if not _OLDEST <= header <= points <= size:
        raise CloudError(
            f"is damaged or truncated: its header of {header} bytes says that points begin at byte "
            f"{points:,} of {size:,}"
        )
    if records * _RECORD > points - header:
        raise CloudError(
            f"is damaged: its header counts {records:,} variable-length records of at least "
            f"{_RECORD} bytes, but there are {points - header:,} bytes before the points"
        )
    if head[25] >= 4:
        if len(head) < _LONG_HEADER or header < _LONG_HEADER:
            raise CloudError(f"is damaged: a header of LAS 1.{head[25]} has {_LONG_HEADER} bytes")
        (count,) = struct.unpack_from("<Q", head, 247)
        _check_extended(file, size, *struct.unpack_from("<QI", head, 235))
    if length == 0:
        raise CloudError("is damaged: its header says that a point has 0 bytes")
    if format & 0x80:
        _check_compressed(file, size, header, points, records, length, count)
    elif count * length > size - points:
        raise CloudError(
            f"is truncated or damaged: its header says {count:,} points of {length} bytes, there "
            f"are {(size - points) // length:,}"
        )


def uncounted(path: str | os.PathLike[str]) -> int:
    """Whole points behind those that the header of a sound file counts.

    Of LAZ those of its chunks, as far as these tell (`laz_chunks`). Of LAS, what follows the points
    by right ends them: extended records, and waveforms from LAS 1.3 on.
    """
    with open(path, "rb") as file:
        head = file.read(_LONG_HEADER)
        (points,) = struct.unpack_from("<I", head, 96)
        format, length, count = struct.unpack_from("<BHI", head, 104)
        if format & 0x80:
            return _hidden_in_chunks(file, head)
        ends = [os.fstat(file.fileno()).st_size]
        if head[25] >= 3 and len(head) >= _OLDEST + 8:
            ends += struct.unpack_from("<Q", head, _OLDEST)
        if head[25] >= 4:
            (count,) = struct.unpack_from("<Q", head, 247)
            ends += struct.unpack_from("<Q", head, 235)
        last = points + count * length
        more = (min(end for end in ends if end >= last) - last) // length
        file.seek(last)
        return more if more > 0 and file.read(more * length).strip(b"\0") else 0


def _count(head: bytes) -> int:
    """The points that a header counts."""
    if head[25] >= 4:
        return struct.unpack_from("<Q", head, 247)[0]
    return struct.unpack_from("<I", head, 107)[0]


def _hidden_in_chunks(file: BinaryIO, head: bytes) -> int:
    """Points in the chunks of a sound LAZ file that its header does not count."""
    header, points, records = struct.unpack_from("<HII", head, 94)
    (length,) = struct.unpack_from("<H", head, 105)
    record, counted = _laszip_record(file, header, points, records), _count(head)
    chunks, table = _chunk_table(file, os.fstat(file.fileno()).st_size, points)
    if struct.unpack_from("<H", record)[0] != _LAYERED:
        file.seek(0)
        return hidden_points(file.read(), points, record, length, counted)
    items = struct.unpack_from("<H", record, 32)[0]
    found = _follow(file, points + 8, table, chunks, length, _layers(record, items))
    return max(0, sum(number for number, _ in found) - counted)


def _check_extended(file: BinaryIO, size: int, start: int, count: int) -> None:
    """Follow the extended records behind the points: each must end within the file."""
    for number in range(count):
        file.seek(min(start, size))
        head = file.read(_EXTENDED)
        length = struct.unpack_from("<Q", head, 20)[0] if len(head) == _EXTENDED else size
        if start + _EXTENDED + length > size:
            raise CloudError(
                f"is truncated or damaged: its header counts {count:,} extended records, number "
                f"{number + 1} ends after the file"
            )
        start += _EXTENDED + length


def _check_compressed(
    file: BinaryIO, size: int, header: int, points: int, records: int, length: int, count: int
) -> None:
    """Whether the LASzip record fits the points, and the chunks the file."""
    record = _laszip_record(file, header, points, records)
    compressor, items = struct.unpack_from("<H", record)[0], struct.unpack_from("<H", record, 32)[0]
    if compressor not in _CHUNKED:
        raise CloudError(
            f"is compressed by method {compressor} of LASzip, which is not read (2 and 3 are); "
            "write it again with a current version of LAStools, PDAL or laspy"
        )
    if len(record) < 34 + 6 * items:
        raise CloudError("is damaged: the record of LASzip in its header is incomplete")
    sizes = sum(struct.unpack_from("<H", record, 36 + 6 * n)[0] for n in range(items))
    if sizes != length:
        raise CloudError(
            f"is damaged: its header says {length} bytes a point, the record of LASzip {sizes}"
        )
    if count:
        (chunk,) = struct.unpack_from("<I", record, 12)
        chunks, table = _check_chunks(file, size, points, length, count, chunk)
        if compressor == _LAYERED:
            _check_layers(file, points + 8, table, chunks, length, _layers(record, items))


def _laszip_record(file: BinaryIO, header: int, points: int, records: int) -> bytes:
    at = header
    for _ in range(records):
        file.seek(at)
        head = file.read(_RECORD)
        if len(head) < _RECORD or at >= points:
            break
        (length,) = struct.unpack_from("<H", head, 20)
        if head[2:16] == b"laszip encoded" and length >= 34:
            return file.read(length)
        at += _RECORD + length
    raise CloudError("is damaged: it is compressed, but has no record of LASzip")


def _check_chunks(
    file: BinaryIO, size: int, points: int, length: int, count: int, chunk: int
) -> tuple[int, int]:
    """A chunk begins with a whole point, so a file has no more chunks than points fit into it.

    Returns the number of chunks and where their table is.
    """
    chunks, table = _chunk_table(file, size, points)
    if chunks * length > table - points - 8 or (chunk != _VARIABLE and count > chunks * chunk):
        raise CloudError(
            f"is damaged: its header says {count:,} points, in {chunks:,} chunks that do not hold "
            "so many"
        )
    return chunks, table


def _chunk_table(file: BinaryIO, size: int, points: int) -> tuple[int, int]:
    """The number of chunks and where their table is."""
    file.seek(points)
    first = file.read(8)
    if first == b"\xff" * 8:  # written as a stream: the place of the table is at the end
        file.seek(max(size - 8, 0))
        first = file.read(8)
    (table,) = struct.unpack("<q", first) if len(first) == 8 else (-1,)
    if not points + 8 <= table <= size - 8:
        raise CloudError("is truncated or damaged: its table of chunks is not in the file")
    file.seek(table)
    (chunks,) = struct.unpack("<4xI", file.read(8))
    return chunks, table


def _layers(record: bytes, items: int) -> int:
    """The number of layers of a chunk: each is preceded by its size."""
    kinds = [struct.unpack_from("<HH", record, 34 + 6 * n) for n in range(items)]
    return sum(size if kind == _BYTES else _LAYERS.get(kind, 0) for kind, size in kinds)


def _check_layers(
    file: BinaryIO, at: int, table: int, chunks: int, length: int, layers: int
) -> None:
    """A decompressor takes memory for what the sizes say before it reads them."""
    for number, (_, end) in enumerate(_follow(file, at, table, chunks, length, layers)):
        if end > table:
            raise CloudError(
                f"is truncated or damaged: chunk {number + 1} of {chunks:,} ends behind the points"
            )


def _follow(
    file: BinaryIO, at: int, table: int, chunks: int, length: int, layers: int
) -> Iterator[tuple[int, int]]:
    """The number of points and the end of each chunk, up to one that ends behind `table`.

    A chunk is a whole point, the number of points, the sizes of the layers, the layers.
    """
    for _ in range(chunks):
        file.seek(at + length)
        head = file.read(4 + 4 * layers)
        numbers = struct.unpack(f"<{len(head) // 4}I", head[: len(head) // 4 * 4])
        at += length + len(head) + sum(numbers[1:])
        yield numbers[0] if numbers else 0, at
        if at > table:
            return
