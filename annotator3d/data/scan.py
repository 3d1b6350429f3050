"""One LiDAR scan in memory, and the labels of its voxels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.extent import REACH, within_reach, without_return
from annotator3d.kernels.labels import IGNORE as IGNORE

MISSING_INTENSITY = 0.0
"""The intensity of points that have none: the network's input for data without intensities too."""


@dataclass(frozen=True)
class Scan:
    """The measured points of one scan in file order; `rows` leads back to the raw file.

    Labels are train ids 0..C-1, 255 = ignore, or None where the scan has no label file.
    """

    id: str  # "08/000123": sequence/frame
    xyz: NDArray[np.float32]  # [N, 3] metres, sensor frame
    intensity: NDArray[np.float32]  # [N]
    labels: NDArray[np.uint8] | None  # [N]
    rows: NDArray[np.int64]  # [N] row of each point in the raw file, ascending
    num_raw: int  # points in the raw file, non-finite ones included
    raw_labels: NDArray[np.uint8] | None = None  # [num_raw] for evaluation of the whole raw scan
    # Rows of the raw file that are left out as beams without a return (`extent.without_return`).
    no_return: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    # [N] the row of the sensor that measured each point: whole numbers, 0 the highest beam; NaN
    # where what is stored is no such number. None: the data set stores none.
    ring: NDArray[np.float32] | None = None
    # Rows of the raw file that have no intensity and got `MISSING_INTENSITY`.
    no_intensity: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.xyz)

    @property
    def num_dropped(self) -> int:
        """Points of the raw file left out: not finite, beyond `extent.REACH`, or no return."""
        return self.num_raw - len(self)

    @classmethod
    def from_raw(
        cls,
        id: str,
        xyz: NDArray[np.float32],
        intensity: NDArray[np.float32],
        raw_labels: NDArray[np.uint8] | None = None,
        ring: NDArray[np.float32] | None = None,
    ) -> Scan:
        """Make a scan of all raw points: ``xyz [R, 3]``, ``intensity [R]``, train ids ``[R]``.

        ``ring [R]`` are the rows of the sensor, if they are known.

        Points with a non-finite coordinate are dropped, and so are those farther than
        `extent.REACH`, whose cells might not fit 32 bits, and beams without a return
        (`extent.without_return`). A point without an intensity (NaN, Inf) is measured all the same
        and gets `MISSING_INTENSITY`. Raises ValueError when the shapes do not belong together.
        """
        others = [values for values in (raw_labels, ring) if values is not None]
        shapes = [values.shape for values in (xyz, intensity, *others)]
        if shapes[0] != (len(xyz), 3) or any(shape != (len(xyz),) for shape in shapes[1:]):
            raise ValueError(
                f"scan {id}: xyz must be [R, 3], intensity, labels and rings [R], got {shapes}"
            )
        num_raw, labels, rows = len(xyz), raw_labels, np.arange(len(xyz), dtype=np.int64)
        # Almost every scan is finite: looking once is cheaper than a mask and four copies.
        gone = without_return(xyz)
        no_return = np.flatnonzero(gone)
        if len(no_return) or not (np.abs(xyz) <= REACH).all():
            rows = np.flatnonzero(within_reach(xyz) & ~gone)
            xyz, intensity = xyz[rows], intensity[rows]
            labels = None if labels is None else labels[rows]
            ring = None if ring is None else ring[rows]
        no_intensity = np.empty(0, np.int64)
        if not (there := np.isfinite(intensity)).all():
            no_intensity = rows[~there]
            intensity = np.where(there, intensity, np.float32(MISSING_INTENSITY))
        return cls(
            id=id,
            xyz=np.ascontiguousarray(xyz, dtype=np.float32),
            intensity=np.ascontiguousarray(intensity, dtype=np.float32),
            labels=labels,
            rows=rows.astype(np.int64, copy=False),
            num_raw=num_raw,
            raw_labels=raw_labels,
            no_return=no_return,
            ring=ring,
            no_intensity=no_intensity,
        )


class VoxelLabels(NamedTuple):
    """The labels that training uses of one voxel's points."""

    cell: tuple[int, int, int]
    labels: NDArray[np.uint8]  # [n] train ids, 255 = ignore; points in file order
    round: int  # that asked for them


def file_stem(scan_id: str) -> str:
    """The name of a scan's file in a folder of all scans; two scans never have the same.

    ``00/000012`` becomes ``00_000012``. With an underscore of its own, an id has a digest at the
    end, since ``a_b/c`` and ``a/b_c`` would both become ``a_b_c``.
    """
    plain = scan_id.replace("/", "_")
    if "_" not in scan_id:
        return plain
    return f"{plain}-{hashlib.blake2b(scan_id.encode(), digest_size=6).hexdigest()}"


def rows_of_cell(
    xyz: NDArray[np.float32], cell: Sequence[int], voxel_size: float
) -> NDArray[np.int64]:
    """Rows of the points in one cell, ascending: floor(xyz / size) in float32, as `voxelize`."""
    cells = np.floor(xyz[:, :3] / np.float32(voxel_size))
    same = cells == np.array(cell, np.float32)
    return np.flatnonzero(same[:, 0] & same[:, 1] & same[:, 2])  # all(1) takes much longer


def rows_of_cells(
    xyz: NDArray[np.float32], cells: Sequence[Sequence[int]], voxel_size: float
) -> list[NDArray[np.int64]]:
    """`rows_of_cell` of many cells in one pass over the points [N, 3]."""
    if not cells:
        return []
    wanted = np.array(cells, np.int64)
    low, size = wanted.min(0), np.ptp(wanted, axis=0) + 1
    places = np.floor(xyz / np.float32(voxel_size)) - low
    inside = (places >= 0) & (places < size)
    near = np.flatnonzero(inside[:, 0] & inside[:, 1] & inside[:, 2])  # all(1) takes much longer
    if size.astype(np.float64).prod() >= 2.0**63:  # a stray voxel was asked about
        return [rows_of_cell(xyz, cell, voxel_size) for cell in cells]
    keys = np.ravel_multi_index(places[near].astype(np.int64).T, size)
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], near[order]
    asked = np.ravel_multi_index((wanted - low).T, size)
    starts, stops = np.searchsorted(keys, asked), np.searchsorted(keys, asked, side="right")
    return [rows[start:stop] for start, stop in zip(starts, stops, strict=True)]
