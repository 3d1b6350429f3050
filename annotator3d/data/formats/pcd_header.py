"""The header of a PCD file, of any version and dialect that programs write.

Source: https://pointclouds.org/documentation/tutorials/pcd_file_format.html. Versions .5 and .6
(old ROS bags, PCL's own test files) say the same; COUNT, VIEWPOINT, VERSION and POINTS are often
left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotator3d.data.formats.cloud import CloudError

_LONGEST = 1 << 20  # bytes that every header fits
_MOST = 1 << 16  # values of a point: more is a garbage count
_VERSIONS = ("0.5", "0.6", "0.7")
_KINDS = {"F": "f", "I": "i", "U": "u"}
_SIZES = {"f": (4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8)}
ENCODINGS = ("ascii", "binary", "binary_compressed")
AXES = ("x", "y", "z")
_ORIGIN = ["0", "0", "0", "1", "0", "0", "0"]


@dataclass(frozen=True)
class PcdHeader:
    """What a header says.

    Attributes:
        fields: name, type and number of values of each field, in file order; ``_`` is padding.
        counts: how many points there are: POINTS, and WIDTH x HEIGHT if that is another number;
            empty if the header does not say.
        encoding: one of `ENCODINGS`.
        start: where the points begin, in bytes.
        moved: whether VIEWPOINT is another than that at the origin, not turned.
    """

    fields: tuple[tuple[str, np.dtype, int], ...]
    counts: tuple[int, ...]
    encoding: str
    start: int
    moved: bool = False

    def dtype(self) -> np.dtype:
        """One point, little-endian, a field ``c0``, ``c1``, ... for each value."""
        types = [kind for _, kind, count in self.fields for _ in range(count)]
        return np.dtype([(f"c{n}", kind) for n, kind in enumerate(types)])

    def names(self) -> list[str]:
        """The name of each value of a point; of several of a field ``normal__0000``, ..."""
        return [
            name if count == 1 or name == "_" else f"{name}__{n:04d}"
            for name, _, count in self.fields
            for n in range(count)
        ]


def read_header(data: bytes) -> PcdHeader:
    """Read the header at the beginning of a file.

    Raises CloudError naming the entry that is missing or makes no sense.
    """
    entries, start = _entries(data)
    version = entries.get("VERSION", ["0.7"])[0]
    if (version if version.startswith("0") else f"0{version}") not in _VERSIONS:
        raise CloudError(f"has PCD version {version!r}, which is not read; {_VERSIONS} are")
    encoding = (entries["DATA"] or [""])[0].lower()
    if encoding not in ENCODINGS:
        raise CloudError(f"has DATA {encoding!r}, expected one of {', '.join(ENCODINGS)}")
    names = entries.get("FIELDS", entries.get("COLUMNS"))
    if not names:
        raise CloudError("names no FIELDS in its header")
    fields = tuple(_fields(names, entries, encoding == "ascii"))
    return PcdHeader(fields, _counts(entries), encoding, start, _is_moved(entries))


def _is_moved(entries: dict[str, list[str]]) -> bool:
    try:
        x, y, z, _, *turn = (float(word) for word in entries.get("VIEWPOINT", _ORIGIN))
    except ValueError:  # no seven numbers: no place either
        return False
    return any((x, y, z, *turn))


def _entries(data: bytes) -> tuple[dict[str, list[str]], int]:
    """Keyword -> words behind it, up to DATA, and where the line of DATA ends."""
    entries: dict[str, list[str]] = {}
    at = 0
    while at < min(len(data), _LONGEST):
        end = data.find(b"\n", at, _LONGEST)
        end = len(data) if end < 0 else end
        words = data[at:end].decode("latin-1").split()
        at = end + 1
        if words and not words[0].startswith("#"):
            entries[words[0].upper()] = words[1:]
            if words[0].upper() == "DATA":
                return entries, min(at, len(data))
    raise CloudError("is damaged or no PCD file: its header has no line DATA")


def _fields(names: list[str], entries: dict[str, list[str]], text: bool):
    """Name, type and number of values of each field that has any."""
    if not text and not {"SIZE", "TYPE"} <= set(entries):
        raise CloudError(
            "has no SIZE or TYPE in its header, without which binary data mean nothing"
        )
    sizes = _numbers(entries, "SIZE", len(names), 4)
    counts = _numbers(entries, "COUNT", len(names), 1)
    kinds = entries.get("TYPE", ["F"] * len(names))
    if len(kinds) != len(names):
        raise CloudError(f"names {len(names)} fields, but {len(kinds)} in TYPE")
    if sum(counts) > _MOST:
        raise CloudError(f"is damaged: its header says {sum(counts):,} values of each point")
    for name, size, kind, count in zip(names, sizes, kinds, counts, strict=True):
        letter = _KINDS.get(kind.upper())
        if letter is None or size not in _SIZES[letter]:
            raise CloudError(f"has the field {name!r} of TYPE {kind} and SIZE {size}, unknown both")
        if text and letter == "f" and name.lower() in AXES:
            size = 8  # programs declare 4 and write more digits than those hold, as of UTM
        if count:
            yield name, np.dtype(f"<{letter}{size}"), count


def _numbers(entries: dict[str, list[str]], key: str, count: int, default: int) -> list[int]:
    """The whole numbers behind a keyword, `count` of them."""
    try:
        numbers = [int(word) for word in entries.get(key, [str(default)] * count)]
    except ValueError:
        raise CloudError(
            f"has no whole numbers behind {key}: {' '.join(entries[key])[:60]}"
        ) from None
    if len(numbers) != count or min(numbers, default=0) < 0:
        raise CloudError(f"has {len(numbers)} numbers behind {key}, expected {count} from 0 up")
    return numbers


def _counts(entries: dict[str, list[str]]) -> tuple[int, ...]:
    found = []
    if "POINTS" in entries:
        found += _numbers(entries, "POINTS", 1, 0)
    if "WIDTH" in entries:
        found.append(_numbers(entries, "WIDTH", 1, 0)[0] * _numbers(entries, "HEIGHT", 1, 1)[0])
    return tuple(dict.fromkeys(found))
