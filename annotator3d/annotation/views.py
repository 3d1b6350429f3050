"""What is on the screen: one query in its scan, and the scans around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.prefetch import Prefetcher
from annotator3d.data.scan import Scan, rows_of_cell
from annotator3d.data.scan_source import Pose, Prediction, Predictions, ScanSource
from annotator3d.errors import count
from annotator3d.ledger.records import Query, ScanRecord
from annotator3d.system_errors import in_words


class ScanUnavailableError(ValueError):
    """A scan cannot be shown: its file is gone, unreadable or not the one that was asked about."""

    def __init__(self, scan: str, why: str) -> None:
        super().__init__(f"scan {scan} cannot be shown: {why}")
        self.scan, self.why = scan, why


@dataclass(frozen=True, eq=False)
class QueryView:
    """One query as it is shown."""

    query: Query
    scan: Scan
    rows: NDArray[np.int64]  # [n] rows of `scan.xyz` of the points asked about, ascending
    low: NDArray[np.float64]  # [3] corner of the voxel, metres, sensor frame
    high: NDArray[np.float64]  # [3] the opposite corner
    prediction: Prediction | None  # None where nothing was stored, and in blind mode
    pose: Pose | None

    @property
    def xyz(self) -> NDArray[np.float32]:
        """[n, 3] the points that are asked about, metres, sensor frame."""
        return self.scan.xyz[self.rows]

    @cached_property
    def predicted(self) -> NDArray[np.uint8] | None:
        """[n] their predicted train ids, 255 = none; None where no class was stored."""
        if self.prediction is None or self.prediction.classes is None:
            return None
        return self.prediction.classes[self.rows]


@dataclass(frozen=True, eq=False)
class NeighbourScan:
    """Another scan of the same drive, as seen from the one that is shown."""

    scan: Scan
    xyz: NDArray[np.float32]  # [N, 3] metres, sensor frame of the scan that is shown


@dataclass(frozen=True, eq=False)
class _Loaded:
    scan: Scan
    fingerprint: str
    prediction: Prediction | None
    warning: str | None  # why there is no prediction, if there should be one


class QueryViews:
    """Makes views, reading ahead in a thread.

    Args:
        source: the scans.
        record: scan id -> what the ledger knows of it.
        voxel_size: metres.
        predictions: the stored ones; None in blind mode, and where there are none.
    """

    def __init__(
        self,
        source: ScanSource,
        record: Callable[[str], ScanRecord | None],
        voxel_size: float,
        predictions: Predictions | None,
    ) -> None:
        self._source, self._record, self._size = source, record, voxel_size
        self._predictions = predictions
        self._loads: Prefetcher[tuple[str, int], _Loaded] = Prefetcher(self._load)
        self._around: Prefetcher[str, Scan] = Prefetcher(source.scan)
        self._reach = (0, 0)  # the neighbours that were asked for last
        self._voxels: dict[int, NDArray[np.float32] | None] = {}  # points by query, as scanned
        self.warnings: dict[tuple[str, int], str] = {}
        """(scan id, round) -> why its stored prediction is not shown."""

    def view(self, query: Query) -> QueryView:
        """The view of a query. Raises ScanUnavailableError if its scan is not the one queried."""
        try:
            loaded = self._loads.get((query.scan, query.round))
        except (OSError, ValueError) as error:
            raise ScanUnavailableError(query.scan, in_words(error)) from error
        if loaded.warning is not None:
            self.warnings[query.scan, query.round] = loaded.warning
        scan, known = loaded.scan, self._record(query.scan)
        if known and (change := known.change(scan.num_raw, loaded.fingerprint)):
            raise ScanUnavailableError(query.scan, change)
        rows = rows_of_cell(scan.xyz, query.cell, self._size)
        if len(rows) != query.num_points:
            raise ScanUnavailableError(
                query.scan,
                f"cell {query.cell} was asked with {count(query.num_points, 'point')} and "
                f"has {len(rows)}",
            )
        rows = query.asked_of(rows)
        self._voxels[query.id] = scan.xyz[rows]
        low = np.array(query.cell) * float(self._size)
        pose = self._source.pose(query.scan)
        return QueryView(query, scan, rows, low, low + self._size, loaded.prediction, pose)

    def prefetch(self, queries: Iterable[Query]) -> None:
        """Begin to read what will be shown next, in order, and the neighbours of the first."""
        wanted = list(queries)
        self._loads.prefetch((query.scan, query.round) for query in wanted)
        if sum(self._reach) and wanted:
            self._around.prefetch(self._source.neighbours(wanted[0].scan, *self._reach))

    def neighbours(self, view: QueryView, back: int, forth: int) -> list[NeighbourScan]:
        """Scans before and after, in the frame of the view's; empty without poses.

        One that cannot be read, or is of another world, is left out.
        """
        self._reach, found = (back, forth), []
        self._around.keep = 2 * (back + forth) + 1  # of this scan and the next one
        for scan_id in self._source.neighbours(view.scan.id, back, forth):
            pose = self._source.pose(scan_id)
            if view.pose is None or pose is None or pose.world != view.pose.world:
                continue
            try:
                scan = self._around.get(scan_id)
            except (OSError, ValueError):
                continue
            to_view = np.linalg.inv(view.pose.matrix) @ pose.matrix
            found.append(NeighbourScan(scan, transform(to_view, scan.xyz).astype(np.float32)))
        return found

    def seen_from(self, view: QueryView, query: Query) -> NDArray[np.float32] | None:
        """Points [n, 3] that another query asks about, metres, in the frame of the view's scan.

        None where there is no pose in common, or the scan cannot be shown.
        """
        if query.id not in self._voxels:
            try:
                self.view(query)
            except ScanUnavailableError:
                self._voxels[query.id] = None
        xyz, pose = self._voxels[query.id], self._source.pose(query.scan)
        if xyz is None or query.scan == view.query.scan:
            return xyz
        if view.pose is None or pose is None or pose.world != view.pose.world:
            return None
        to_view = np.linalg.inv(view.pose.matrix) @ pose.matrix
        return transform(to_view, xyz).astype(np.float32)

    def is_read(self, query: Query) -> bool:
        """Whether `seen_from` need not read a file."""
        return query.id in self._voxels

    def forget(self) -> None:
        """Read every file again, after somebody has repaired one."""
        self._voxels.clear()
        self._loads.forget()
        self._around.forget()

    def close(self) -> None:
        """End the threads."""
        self._loads.close()
        self._around.close()

    def _load(self, key: tuple[str, int]) -> _Loaded:
        scan_id, round = key
        scan, warning, prediction = self._source.scan(scan_id), None, None
        if self._predictions is not None:
            try:
                prediction = self._predictions(round, scan)
            except (OSError, ValueError) as error:
                warning = in_words(error)
        return _Loaded(scan, self._source.fingerprint(scan_id), prediction, warning)


def transform(matrix: NDArray[np.float64], xyz: NDArray) -> NDArray[np.float64]:
    """Points [N, 3] moved by a [4, 4] matrix."""
    return np.asarray(xyz, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
