"""Whether a PLY file can hold what its header counts, before a library believes it.

Source: http://paulbourke.net/dataformats/ply/
"""

from __future__ import annotations

import os
import re

from annotator3d.data.formats.cloud import CloudError

_LONGEST = 1 << 20  # bytes that every header fits
_END = re.compile(rb"(?:^|[\r\n])end_header[ \t]*(?:\r\n|\r|\n|$)")
_SIZES = {
    **dict.fromkeys(("char", "uchar", "int8", "uint8"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16"), 2),
    **dict.fromkeys(("int", "uint", "int32", "uint32", "float", "float32"), 4),
    **dict.fromkeys(("double", "float64"), 8),
}


def check_bounds(path: str | os.PathLike[str]) -> None:
    """Compare the counts of a header with the size of the file.

    Raises CloudError that names the element; what else is wrong is left to the reader.
    """
    with open(path, "rb") as file:
        start = file.read(_LONGEST)
        size = os.fstat(file.fileno()).st_size
    if start[:3] != b"ply":
        raise CloudError("is no PLY file: it does not begin with ply")
    end = _END.search(start)
    if end is None:
        raise CloudError("is damaged or truncated: its header has no end_header")
    words = [line.split() for line in re.split(r"[\r\n]+", start[: end.start()].decode("latin-1"))]
    text = ["format", "ascii"] in [line[:2] for line in words]
    left = size - end.end()
    for name, count, properties in _elements(words):
        least = count * _least(properties, text)
        if least > left + 1:  # text may lack its last line break
            raise CloudError(
                f"is truncated or damaged: its header says {count:,} of {name!r}, which take at "
                f"least {least:,} bytes, but there are {max(left, 0):,}"
            )
        left -= least


def _elements(words: list[list[str]]) -> list[tuple[str, int, list[list[str]]]]:
    """Name, count and lines of properties of each element."""
    elements: list[tuple[str, int, list[list[str]]]] = []
    for line in words:
        if line[:1] == ["element"] and len(line) == 3:
            if not (line[2].isascii() and line[2].isdigit()):
                raise CloudError(
                    f"is damaged: its header says {line[2][:40]!r} of {line[1][:40]!r}"
                )
            elements.append((line[1], int(line[2]), []))
        elif line[:1] == ["property"] and elements:
            elements[-1][2].append(line[1:])
    return elements


def _least(properties: list[list[str]], text: bool) -> int:
    """Bytes that one element takes at least: a list may be empty, a number have one digit."""
    if text:
        return max(2 * len(properties), 1)
    types = (line[1] if line[:1] == ["list"] else line[0] for line in properties if len(line) > 1)
    return max(sum(_SIZES.get(kind, 1) for kind in types), 1)
