"""Names of the columns of plain arrays, with the type of each where they are not all float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

UNUSED = "_"
TYPES = ("f4", "f8", "u1", "u2", "u4", "i1", "i2", "i4", "i8", "u8")


def name_of(column: str) -> str:
    """``x`` of ``x:f8``."""
    return column.partition(":")[0]


def is_typed(columns: Sequence[str]) -> bool:
    """Whether the columns say what the records are, in place of the default float32."""
    return any(":" in column for column in columns)


def record(columns: Sequence[str]) -> np.dtype:
    """One record of a ``.bin`` file: little-endian, packed, a column without a type float32.

    ``>`` in front of a type is big-endian, as in numpy. Columns named ``_`` are skipped.

    Raises:
        ValueError: an unknown type.
    """
    names, formats, offsets, size = [], [], [], 0
    for column in columns:
        name, _, kind = column.partition(":")
        kind = kind or "f4"
        if kind.lstrip("<>") not in TYPES or len(kind) > 3:
            raise ValueError(f"{column}: unknown type {kind!r}; known: {', '.join(TYPES)}")
        dtype = np.dtype(kind).newbyteorder(">" if kind[0] == ">" else "<")
        if name != UNUSED:
            names.append(name)
            formats.append(dtype)
            offsets.append(size)
        size += dtype.itemsize
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})
