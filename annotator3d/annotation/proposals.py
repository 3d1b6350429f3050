"""Answers around a voxel, in its own scan and, by the poses, in the other scans of the drive."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.scan_source import Pose
from annotator3d.ledger.records import IGNORE, Cell, Query

_MOVABLE = frozenset(
    "car cars bus buses truck trucks van lorry trailer caravan vehicle vehicles tram train on-rails"
    " bicycle bike motorcycle motorbike moped scooter bicyclist cyclist motorcyclist rider riders"
    " person persons people pedestrian pedestrians human child adult animal animals dog boat ship"
    " crane excavator forklift wheelchair stroller movable moving".replace("on-", "").split()
)


def movable_classes(names: Sequence[str]) -> frozenset[int]:
    """Train ids of the classes whose name has a word for something that moves by itself.

    ``other-vehicle`` and ``construction_vehicle`` are found, ``vegetation`` is not. A class list
    with other words needs the session's option `movable`.
    """
    words = [set(re.split(r"[^a-z]+", name.lower())) for name in names]
    return frozenset(index for index, found in enumerate(words) if found & _MOVABLE)


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

    def near(self, query: Query, radius: float) -> list[NearbyVoxel]:
        """Queries whose centres are within `radius` metres, the nearest first, not itself."""
        frame = self._frame(query.scan)
        if frame not in self._ids:
            return []
        pose = self._poses[query.scan]
        here = self._world(query.scan, [query.cell])
        distances = np.linalg.norm(self._centres[frame] - here, axis=1)
        close = np.flatnonzero(distances <= radius)
        found = []
        for at in close[np.argsort(distances[close], kind="stable")]:
            other = self._queries[int(self._ids[frame][at])]
            if other.id != query.id:
                centre = self._centres[frame][at]
                if pose is not None:
                    centre = transform(np.linalg.inv(pose.matrix), centre[None])[0]
                found.append(NearbyVoxel(other.id, other.scan, centre, float(distances[at])))
        return found

    def _frame(self, scan: str) -> str:
        pose = self._poses.get(scan)
        return f"scan {scan}" if pose is None else f"world {pose.world}"

    def _world(self, scan: str, cells: Sequence[Cell]) -> NDArray[np.float64]:
        """Centres [n, 3] of cells of a scan, in its frame."""
        centres = (np.array(cells) + 0.5) * self._size
        pose = self._poses.get(scan)
        return centres if pose is None else transform(pose.matrix, centres)


def transform(matrix: NDArray[np.float64], xyz: NDArray) -> NDArray[np.float64]:
    """Points [N, 3] moved by a [4, 4] matrix."""
    return np.asarray(xyz, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


OFFERS = ("uniform", "all", "off")
"""For which voxels a prediction is offered: those of one predicted class, all, or none."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """Labels that one key accepts."""

    labels: NDArray[np.uint8]  # [n] one per point of the voxel
    source: str  # "prediction", or "place": answers for the same place in other scans
    queries: tuple[int, ...] = ()  # the queries whose answers it comes from


def propose_from_prediction(predicted: NDArray[np.uint8] | None, offer: str) -> Proposal | None:
    """The predicted classes [n] of a voxel as a proposal, where `offer` (of `OFFERS`) allows it."""
    if predicted is None or offer == "off" or not len(predicted) or (predicted == IGNORE).any():
        return None
    if offer == "uniform" and len(np.unique(predicted)) > 1:
        return None
    return Proposal(predicted, "prediction")


def propose_from_neighbours(
    num_points: int,
    answers: Sequence[tuple[int, NDArray[np.uint8]]],
    movable: frozenset[int] | None,
) -> Proposal | None:
    """One class for the voxel, if that is what the answers for the same place agree on.

    Args:
        num_points: of the voxel.
        answers: (query, labels) of answered voxels at the same place.
        movable: train ids of things that move, which may have left since; None: nobody has said
            which, so nothing is offered.
    """
    if movable is None or not answers:
        return None
    found = np.unique(np.concatenate([labels for _, labels in answers]))
    if len(found) != 1 or found[0] == IGNORE or int(found[0]) in movable:
        return None
    labels = np.full(num_points, found[0], np.uint8)
    return Proposal(labels, "place", tuple(query for query, _ in answers))
