"""What each round predicts over the whole pool, in little: ``rounds/N/pool/classes.npz``.

Arrays: ``points`` [C] int64, predicted points of each class; ``scans`` [C] int64, scans with at
least one; ``ids`` [S] the scans; ``samples`` [S, 64] uint8, the classes of points evenly spaced
over each scan's file (255: none), the same points in every round; ``taxonomy``, the version of the
class list.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.files import atomic_write, make_folder
from annotator3d.data.scan import IGNORE

SAMPLE = 64  # points of a scan


@dataclass
class PoolPredictions:
    """Counts over some scans of a pool, and a few predictions of each."""

    points: NDArray[np.int64]
    scans: NDArray[np.int64]
    samples: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    taxonomy: int = 1

    @classmethod
    def empty(cls, num_classes: int, taxonomy: int = 1) -> PoolPredictions:
        zeros = np.zeros(num_classes, np.int64)
        return cls(zeros, zeros.copy(), {}, taxonomy)

    def add(self, scan_id: str, classes: NDArray[np.uint8]) -> None:
        """One more scan with predicted train ids [N], 255 for none, in file order."""
        counts = np.bincount(classes, minlength=len(self.points))[: len(self.points)]
        self.points += counts
        self.scans += counts > 0
        self.samples[scan_id] = sample(classes)

    def join(self, other: PoolPredictions) -> None:
        """Count what another process has seen, too."""
        self.points += other.points
        self.scans += other.scans
        self.samples |= other.samples


def sample(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[64] the classes of points evenly spaced over [N]; 255 for all of a scan without points."""
    if len(classes) == 0:
        return np.full(SAMPLE, IGNORE, np.uint8)
    return classes[np.arange(SAMPLE) * len(classes) // SAMPLE]


def store(folder: Path, round: int, found: PoolPredictions) -> None:
    """Write those of a round; `folder` is ``rounds/`` of a work directory."""
    path = _file(folder, round)
    make_folder(path.parent)
    ids = sorted(found.samples)
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            points=found.points,
            scans=found.scans,
            ids=np.array(ids, dtype=np.str_),
            samples=np.array([found.samples[i] for i in ids], np.uint8).reshape(-1, SAMPLE),
            taxonomy=np.int64(found.taxonomy),
        )


def read(folder: Path, round: int) -> PoolPredictions | None:
    """Those of a round; None where none were stored (a round without a network).

    Raises ValueError, naming the file, for one that is damaged.
    """
    path = _file(folder, round)
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            samples = dict(zip(file["ids"].tolist(), file["samples"], strict=True))
            return PoolPredictions(file["points"], file["scans"], samples, int(file["taxonomy"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} does not hold a round's predictions: {error!r}; delete it") from (
            error
        )


def _file(folder: Path, round: int) -> Path:
    return Path(folder) / str(round) / "pool" / "classes.npz"
