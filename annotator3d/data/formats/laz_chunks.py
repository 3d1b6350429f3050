"""How many points the chunks of a LAZ file hold where they do not count them: formats 0 to 5."""

from __future__ import annotations

import io
import struct
from functools import partial

import numpy as np

_MOST = 1 << 22  # points of a chunk that are tried; usual chunks have 50,000


def hidden_points(content: bytes, points: int, record: bytes, length: int, counted: int) -> int:
    """Points of the chunks behind those that the header counts; 0 where that is unclear.

    Compressed point by point, a chunk does not say how many there are. The same points give the
    same bytes, though: a number is believed where the points, compressed again, are the last chunk.

    Args:
        content: of the file; `points`: where its points begin.
        record: of LASzip.
        length: bytes of a point.
        counted: points that the header counts, which have been read.
    """
    import lazrs

    source, vlr = io.BytesIO(content), lazrs.LazVlr(record)
    source.seek(points)
    table = lazrs.read_chunk_table(source, vlr)
    if not table:
        return 0
    before = sum(number for number, _ in table[:-1])
    if lazrs.LazVlr.uses_variable_size_chunks(vlr):
        return max(0, before + table[-1][0] - counted)
    start = points + 8 + sum(size for _, size in table[:-1])
    chunk = content[start : start + table[-1][1]]
    again = partial(_again, chunk, record, length)
    here = max(counted - before, 1)
    if (found := _number_in(chunk, again, here, min(table[-1][0], _MOST))) is None:
        return max(0, before - counted)
    return max(0, before + found - counted)


def _number_in(chunk: bytes, again, least: int, most: int) -> int | None:
    """The smallest number of points from `least` on that are this chunk; None: no number is."""
    if again(least) == chunk:
        return least
    low, high = least, least
    while high < most and _fits(again(high), chunk):
        low, high = high, min(2 * high, most)
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(again(middle), chunk) else (low, middle)
    return next((number for number in (low, high) if again(number) == chunk), None)


def _fits(compressed: bytes | None, chunk: bytes) -> bool:
    return compressed is not None and len(compressed) <= len(chunk)


def _again(chunk: bytes, record: bytes, length: int, number: int) -> bytes | None:
    """The first points of a chunk, compressed again; None where it does not hold so many."""
    import lazrs

    out = np.zeros(number * length, np.uint8)
    try:
        lazrs.decompress_points_with_chunk_table(chunk, record, out, [(number, len(chunk))])
    except lazrs.LazrsError:  # it ends before
        return None
    whole = bytes(lazrs.compress_points(lazrs.LazVlr(record), out, False))
    (end,) = struct.unpack_from("<q", whole)
    return whole[8:end]
