"""Ways to split the points of one voxel, so that each part takes one class.

All return part numbers [n] int16 from 0 without gaps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

PartNumbers = NDArray[np.int16]


def by_class(classes: ArrayLike) -> PartNumbers:
    """Points [n] of one predicted class together; the part with the most points is 0.

    Equal sizes: the lower class first.
    """
    found, inverse, counts = np.unique(np.asarray(classes), return_inverse=True, return_counts=True)
    rank = np.empty(len(found), np.int16)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(found))
    return rank[inverse.reshape(-1)]


def by_height(z: ArrayLike, at: float) -> PartNumbers:
    """Below a horizontal plane (0) and at or above it (1); one part if all are on one side.

    Args:
        z: [n] heights, metres. at: height of the plane.

    Raises ValueError for a height that is not finite.
    """
    if not np.isfinite(at):
        raise ValueError(f"the height of the plane must be a number, got {at}")
    return _dense(np.asarray(z) >= at)


def best_height(z: ArrayLike) -> float:
    """The height that parts points [n] best: Otsu's threshold (IEEE Trans. SMC 9(1), 1979).

    It maximises the variance between below and above, n_0 n_1 (m_0 - m_1)^2. The plane lies halfway
    between the two points beside it; with all points at one height, at that height.

    Raises ValueError without points.
    """
    z = np.sort(np.asarray(z, np.float64))
    if not len(z):
        raise ValueError("there are no points to part")
    below = np.arange(1, len(z))
    total = np.cumsum(z - z[0])  # from the lowest, so that no digits are lost far below the sensor
    mean_below = total[:-1] / below
    mean_above = (total[-1] - total[:-1]) / (len(z) - below)
    score = below * (len(z) - below) * (mean_below - mean_above) ** 2
    if not len(score) or score.max() <= 0:
        return float(z[0])
    best = int(score.argmax())
    return float((z[best] + z[best + 1]) / 2)


def by_distance(xyz: ArrayLike, distance: float) -> PartNumbers:
    """Clusters that are further than `distance` metres from each other (single linkage).

    This is DBSCAN with one point as the smallest cluster. The part with the most points is 0, equal
    sizes in the order of their first points.

    Args:
        xyz: [n, 3] metres.

    Raises ValueError for a distance that is not positive.
    """
    if not distance > 0:
        raise ValueError(f"the distance between clusters must be positive, got {distance} m")
    pairs, gaps = _merges(xyz)
    return _clusters(len(np.asarray(xyz)), pairs[gaps <= distance])


def by_count(xyz: ArrayLike, count: int) -> PartNumbers:
    """`count` clusters (single linkage; fewer if there are fewer points), ordered as `by_distance`.

    Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"the number of clusters must be at least 1, got {count}")
    pairs, _ = _merges(xyz)
    return _clusters(len(np.asarray(xyz)), pairs[: max(len(pairs) - count + 1, 0)])


def by_mask(mask: ArrayLike) -> PartNumbers:
    """Points [n] that were picked (0) and the others (1); one part if all or none were picked."""
    return _dense(~np.asarray(mask, bool))


def _merges(xyz: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Single linkage: the pairs of points [n - 1, 2] that join clusters, and the gaps in metres.

    The smallest gap comes first.
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import pdist

    points = np.asarray(xyz, np.float64).reshape(-1, 3)
    if len(points) < 2:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    steps = linkage(pdist(points), "single")
    members = list(range(len(points)))  # a point of each cluster; later ones are merged clusters
    pairs = []
    for first, second in steps[:, :2].astype(np.int64):
        pairs.append((members[first], members[second]))
        members.append(members[first])
    return np.array(pairs), steps[:, 2]


def _clusters(count: int, pairs: NDArray[np.int64]) -> PartNumbers:
    """Numbers of the clusters of `count` points that pairs [m, 2] join, the largest first."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(count, count))
    _, names = connected_components(graph, directed=False)
    found, first, inverse, counts = np.unique(
        names, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(found), np.int16)
    rank[np.lexsort((first, -counts))] = np.arange(len(found))
    return rank[inverse.reshape(-1)]


def _dense(second: NDArray[np.bool_]) -> PartNumbers:
    parts = second.astype(np.int16)
    return parts if parts.any() and not parts.all() else np.zeros(len(parts), np.int16)
