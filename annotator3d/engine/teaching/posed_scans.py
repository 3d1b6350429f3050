"""Where the scans of the pool were taken, and which of them are within reach of each other."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.propagation.teaching import distance
from annotator3d.data.scan_source import DatasetSource
from annotator3d.errors import ConfigError, count, some

_RIGID = 1e-3  # largest entry of R R^T - 1 of a pose that turns and moves


class PosedScans:
    """The poses of a pool, and the scans within reach of each.

    Args:
        pool: the scans, in order.
        scans: how many places before and after it in its sequence are within reach.
        metres: largest distance between the two sensors.
        lever: the key that wants the poses, for the message.

    Raises:
        ConfigError: no scan has a pose.
        ValueError: a pose is no turn and move.
    """

    def __init__(self, pool, scans: int, metres: float, lever: str) -> None:
        self._scans, self._metres = scans, metres
        source = DatasetSource(pool)
        self.poses: list[NDArray[np.float64] | None] = []
        self._drives: dict[tuple, list[int]] = defaultdict(list)
        self._at: dict[int, tuple[tuple, int]] = {}  # scan -> (drive, place in it)
        for index, scan_id in enumerate(pool.ids):
            pose = source.pose(scan_id)
            self.poses.append(None if pose is None else _checked(pose.matrix, scan_id))
            if pose is not None:
                drive = (pose.world, scan_id.rsplit("/", 1)[0])
                self._at[index] = drive, len(self._drives[drive])
                self._drives[drive].append(index)
        self.warnings = [words.partition(": ")[2] for words in sorted(source.warnings)]
        if not self._at:
            raise ConfigError(
                f"{lever}: none of the {count(len(pool), 'scan')} of data.train has a "
                "pose, so nobody knows what is at the same place; put poses.txt and calib.txt "
                f"beside velodyne/{_also(self.warnings)}, or leave the key out"
            )

    @property
    def without_pose(self) -> int:
        """Scans that neither teach nor are taught."""
        return sum(pose is None for pose in self.poses)

    def within_reach(self, index: int) -> list[int]:
        """The other scans that have a say in this one, in order."""
        if index not in self._at:
            return []
        drive, at = self._at[index]
        near = self._drives[drive][max(at - self._scans, 0) : at + self._scans + 1]
        return [other for other in near if other != index and self._is_near(index, other)]

    def before(self, index: int) -> int | None:
        """The scan before this one in its drive, where it is within reach."""
        drive, at = self._at.get(index, (None, 0))
        if not at or not self._is_near(index, other := self._drives[drive][at - 1]):
            return None
        return other

    def _is_near(self, index: int, other: int) -> bool:
        return distance(self.poses[index], self.poses[other]) <= self._metres


def _checked(matrix: NDArray[np.float64], scan_id: str) -> NDArray[np.float64]:
    turn = matrix[:3, :3]
    if not np.isfinite(matrix).all() or np.abs(turn @ turn.T - np.eye(3)).max() > _RIGID:
        raise ValueError(
            f"the pose of scan {scan_id} does not turn and move its points but stretches them; "
            "each line of poses.txt is a rotation and a translation, three rows of four numbers"
        )
    return matrix


def _also(warnings: list[str]) -> str:
    return f" ({some(warnings)})" if warnings else ""
