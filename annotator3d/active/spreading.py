"""k-means++ (Arthur and Vassilvitskii, SODA 2007), for k-means and as a way to choose by itself.

Distances are of whole numbers, so that what is drawn does not depend on threads.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.exact import SquaredDistances, whole_numbers
from annotator3d.active.pool_candidates import Room

_STEPS = 20  # of k-means


def spread_rows(
    rows: NDArray[np.float64], count: int, first: int, room: Room, random: np.random.Generator
) -> list[int]:
    """At most `count` rows: `first`, then each drawn by its squared distance to the nearest one
    before; fewer where no free row differs from all of these.

    Args:
        rows: [n, D] as `exact.whole_numbers` gives them.
        room: which rows may be taken; those that are given are taken in it.
    """
    chosen: list[int] = []
    distances, nearest = SquaredDistances(rows), np.full(len(rows), np.inf)
    row = first
    while True:
        chosen.append(row)
        room.take(row)
        nearest = np.minimum(nearest, distances.to(rows[row : row + 1])[:, 0])
        shares = np.where(room.free, nearest, 0).astype(np.int64).cumsum()
        if len(chosen) >= count or shares[-1] == 0:
            return chosen
        row = int(np.searchsorted(shares, random.integers(shares[-1]), side="right"))


def clusters_of(
    places: NDArray[np.float64], count: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """[n] the k-means cluster of each place [n, D], in at most `count` clusters.

    Starts from `spread_rows`; then 20 steps of Lloyd's, by scipy.
    """
    from scipy.cluster.vq import kmeans2

    (whole,) = whole_numbers(places)
    first = int(random.integers(len(places)))
    rows = spread_rows(whole, count, first, Room.without_limit(len(places)), random)
    with warnings.catch_warnings():  # of a cluster that lost all its places: it stays empty
        warnings.simplefilter("ignore", UserWarning)
        _, labels = kmeans2(places, places[rows], iter=_STEPS, minit="matrix")
    return labels.astype(np.int64)
