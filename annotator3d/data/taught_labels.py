"""Labels of points that nobody was asked about, beside those of the answers: one file a scan.

``SS_FFFFFF.npz`` holds ``key`` (of all that the labels depend on), ``rows`` [n] int32 of the scan's
points, ascending, ``labels`` [n] uint8 train ids and ``kinds`` [n] uint8, what taught each.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.files import atomic_write
from annotator3d.data.scan import file_stem


class Kind(IntEnum):
    """What taught a point its label."""

    PLACE = 0  # answers about other scans, at the same place of the world
    SURFACE = 1  # answers about its own scan, on the same surface
    AGREEMENT = 2  # predictions of its scan and of others, which agree on its place


class TaughtLabels(NamedTuple):
    """Labels for n points of a scan."""

    rows: NDArray[np.int64]  # [n] of `Scan.xyz`, ascending
    labels: NDArray[np.uint8]  # [n]
    kinds: NDArray[np.uint8]  # [n] of `Kind`


class TaughtFile(NamedTuple):
    """Where the labels of a scan are, and how much they weigh."""

    path: Path
    key: str
    weights: tuple[float, ...]  # by `Kind`; an answer weighs 1

    def read(self) -> tuple[TaughtLabels, NDArray[np.float32]]:
        """The labels, and the weight [n] of each. Raises ValueError for a file of another key."""
        found = read_taught(self.path, self.key)
        if found is None:
            raise ValueError(
                f"{self.path}: damaged, or no longer what this epoch trains on; start the run "
                "again with --resume"
            )
        labels = TaughtLabels(
            found["rows"].astype(np.int64), found["labels"], found["kinds"].astype(np.uint8)
        )
        return labels, np.array(self.weights, np.float32)[labels.kinds]


def taught_file(folder: Path, scan_id: str) -> Path:
    """The file of a scan in the folder of a run."""
    return folder / f"{file_stem(scan_id)}.npz"


def write_taught(path: Path, key: str, taught: TaughtLabels, notes: Mapping[str, NDArray]) -> None:
    """Write the labels of a scan; `notes` are arrays that are kept beside them."""
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            key=np.array(key),
            rows=taught.rows.astype(np.int32),
            labels=taught.labels,
            kinds=taught.kinds,
            **notes,
        )


def is_current(path: Path, key: str) -> bool:
    """Whether a file is of this key."""
    return read_taught(path, key, only=("key",)) is not None


def read_taught(
    path: Path, key: str, only: Sequence[str] | None = None
) -> dict[str, NDArray] | None:
    """The arrays of a file (of these names only); None where it is of another key or damaged."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["key"]) != key:
                return None
            return {name: file[name] for name in only or file.files}
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
