"""ProbCover: voxels whose balls cover most of the pool; for rounds with few labels or none.

Yehuda, Dekel, Hacohen and Weinshall, "Active Learning Through a Covering Lens" (NeurIPS 2022), and
its released code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.evidence import Moment
from annotator3d.active.pool_candidates import Pool, Room
from annotator3d.active.pool_strategy import DescriptorStrategy
from annotator3d.active.spreading import clusters_of
from annotator3d.errors import in_yaml
from annotator3d.registry import STRATEGIES

_IMPURE = 20  # one ball in so many may be
_MEASURED = 5_000  # places whose balls are looked at for delta
_AT_ONCE = 1_000  # places whose neighbours are held in memory


@STRATEGIES.register_module("probcover")
class ProbCover(DescriptorStrategy):
    """The voxel whose ball of radius delta holds most candidates that no ball covers yet, again and
    again; balls of voxels that were asked about before cover from the start. When all is covered,
    the rest of the round is drawn.

    Args:
        voxel_size, max_range, min_points, candidates, space: as `DescriptorStrategy`.
        delta: radius in the space; None: the largest with which 95 % of the balls are pure, as the
            paper finds it without labels: all places of a pure ball are in one cluster of k-means
            with as many clusters as classes (1 where there is one cluster).
    """

    name = "probcover"

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        candidates: int = 200,
        space: str = "geometry",
        delta: float | None = None,
    ) -> None:
        super().__init__(voxel_size, max_range, min_points, candidates, space)
        if delta is not None and not delta > 0:
            raise ValueError(f"delta: expected a radius above 0, got {in_yaml(delta)}")
        self.delta = delta

    def choose(self, pool: Pool, moment: Moment) -> Sequence[int]:
        if not len(pool):
            return []
        values, asked = self.places(pool)
        random = np.random.default_rng([moment.seed, moment.round])
        delta = self.delta or delta_of_pure_balls(values, pool.num_classes, random)
        balls = _Balls(values, delta)
        balls.cover(balls.around(asked))
        room, chosen = Room(pool.scan, moment.per_scan), []
        while len(chosen) < moment.budget:
            gain = np.where(room.free, balls.gain, 0)
            best = int(gain.argmax())
            if gain[best] == 0:
                break
            chosen.append(best)
            room.take(best)
            balls.cover(balls.around(values[best : best + 1]))
        return chosen


class _Balls:
    """How many places that are not covered yet lie in the ball about each place."""

    def __init__(self, places: NDArray[np.float64], delta: float) -> None:
        from scipy.spatial import cKDTree

        self._places, self._tree = places, cKDTree(places)
        self._delta = float(np.nextafter(delta, 0))  # a ball is open, scipy's is not
        self._covered = np.zeros(len(places), bool)
        self.gain = self._tree.query_ball_point(places, self._delta, return_length=True)

    def around(self, centres: NDArray[np.float64]) -> NDArray[np.int64]:
        """The places within delta of any of the centres."""
        found = [np.zeros(0, np.int64)]
        for start in range(0, len(centres), _AT_ONCE):
            near = self._tree.query_ball_point(centres[start : start + _AT_ONCE], self._delta)
            found.append(np.unique(np.concatenate([np.array(n, np.int64) for n in near])))
        return np.unique(np.concatenate(found))

    def cover(self, places: NDArray[np.int64]) -> None:
        new = places[~self._covered[places]]
        self._covered[new] = True
        for start in range(0, len(new), _AT_ONCE):
            rows = self._places[new[start : start + _AT_ONCE]]
            for near in self._tree.query_ball_point(rows, self._delta):
                self.gain[near] -= 1


def delta_of_pure_balls(
    places: NDArray[np.float64], classes: int, random: np.random.Generator
) -> float:
    """The largest radius with which 95 % of the balls about places [n, D] are pure.

    A ball is pure up to the distance of the nearest place in another cluster: a quantile of these
    distances (over the first 5,000 places, which are drawn). 1 where all are in one cluster.
    """
    from scipy.spatial import cKDTree

    labels = clusters_of(places, max(classes, 2), random)
    measured = labels[:_MEASURED]
    distances = np.full(len(measured), np.inf)
    for label in np.unique(measured).tolist():
        others, own = places[labels != label], np.flatnonzero(measured == label)
        if len(others):
            distances[own] = cKDTree(others).query(places[own])[0]
    found = float(np.sort(distances)[len(distances) // _IMPURE])
    return found if 0 < found < np.inf else 1.0
