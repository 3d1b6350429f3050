"""Queried voxels near another one: in its scan and, where there are poses, in the whole drive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from annotator3d.annotation.views import transform
from annotator3d.data.scan_source import Pose
from annotator3d.ledger.records import Cell, Query

_MORE = 1 + 1e-9


@dataclass(frozen=True, eq=False)
class NearbyVoxel:
    """A queried voxel near another one."""

    query: int
    scan: str
    centre: NDArray[np.float64]  # [3] metres, sensor frame of the scan that is shown
    distance: float  # metres between the centres


class VoxelIndex:
    """Centres of all queried voxels, in the world where there are poses.

    Args:
        queries: id -> query.
        pose: scan id -> pose, or None.
        voxel_size: metres.
    """

    def __init__(
        self,
        queries: Mapping[int, Query],
        pose: Callable[[str], Pose | None],
        voxel_size: float,
    ) -> None:
        self._queries, self._size = dict(queries), voxel_size
        self._poses = {scan: pose(scan) for scan in {q.scan for q in self._queries.values()}}
        by_scan: dict[str, list[Query]] = {}
        for query in self._queries.values():
            by_scan.setdefault(query.scan, []).append(query)
        ids, centres = defaultdict(list), defaultdict(list)
        for scan, members in by_scan.items():
            ids[self._frame(scan)] += [query.id for query in members]
            centres[self._frame(scan)].append(self._world(scan, [q.cell for q in members]))
        self._ids = {frame: np.array(found) for frame, found in ids.items()}
        self._centres = {frame: np.concatenate(found) for frame, found in centres.items()}
        self._trees = {frame: cKDTree(found) for frame, found in self._centres.items()}

    def near(self, query: Query, radius: float) -> list[NearbyVoxel]:
        """Queries whose centres are within `radius` metres, the nearest first, not itself."""
        frame = self._frame(query.scan)
        if frame not in self._ids:
            return []
        pose = self._poses[query.scan]
        here = self._world(query.scan, [query.cell])[0]
        # The tree compares squares, which round otherwise: ask for a little more, and measure.
        close = np.sort(self._trees[frame].query_ball_point(here, radius * _MORE)).astype(np.int64)
        distances = np.linalg.norm(self._centres[frame][close] - here, axis=1)
        found = []
        for place in np.argsort(distances, kind="stable"):  # equally near: in the queries' order
            at, distance = close[place], distances[place]
            if distance > radius:
                break
            other = self._queries[int(self._ids[frame][at])]
            if other.id != query.id:
                centre = self._centres[frame][at]
                if pose is not None:
                    centre = transform(np.linalg.inv(pose.matrix), centre[None])[0]
                found.append(NearbyVoxel(other.id, other.scan, centre, float(distance)))
        return found

    def _frame(self, scan: str) -> str:
        pose = self._poses.get(scan)
        return f"scan {scan}" if pose is None else f"world {pose.world}"

    def _world(self, scan: str, cells: Sequence[Cell]) -> NDArray[np.float64]:
        """Centres [n, 3] of cells of a scan, in its frame."""
        centres = (np.array(cells) + 0.5) * self._size
        pose = self._poses.get(scan)
        return centres if pose is None else transform(pose.matrix, centres)
