"""From answered points of a scan to points of the same scan on the same surface around them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.propagation.places import cells_of, numbered
from annotator3d.data.scan import IGNORE

MOST_NEIGHBOURS = 32  # points from which a normal is estimated
LEAST_NEIGHBOURS = 5
FLAT = 0.2  # the least spread of a surface's points, at most this part of the middle one
NO_LINE = 0.02  # the middle spread, at least this part of the largest: one ring is no surface


@dataclass(frozen=True)
class SurfaceRule:
    """What lies on one surface.

    Attributes:
        metres: largest distance to an answered point; normals are of the points within it.
        degrees: largest angle between two normals.
    """

    metres: float
    degrees: float


def spread(
    xyz: NDArray[np.float32],
    answers: NDArray[np.uint8],
    answered: NDArray[np.bool_],
    predicted: NDArray[np.uint8] | None,
    rule: SurfaceRule,
) -> tuple[NDArray[np.int64], NDArray[np.uint8], int]:
    """Points [n] without an answer on the surface of an answered one, and its class.

    An answered point teaches the points within `metres` whose normal is within `degrees` of its
    own and which are predicted to be of the same class, where anything is predicted. A point that
    answers of several classes reach is left out. Where points lie on a line or all around, there
    is no normal and nothing is taught.

    Args:
        xyz: [N, 3]. answers: [N] classes, 255 elsewhere. answered: [N] points of answered voxels.
        predicted: [N] classes, 255 for none; None: nothing is predicted.

    Returns:
        (rows, ascending; labels; points left out because answers differ).
    """
    from scipy.spatial import cKDTree

    seeds = np.flatnonzero(answers != IGNORE)
    around = _around(xyz, seeds, 2 * rule.metres)
    if not len(seeds):
        return around, np.zeros(0, np.uint8), 0
    places = xyz[around].astype(np.float64)
    tree, from_seeds = cKDTree(places), cKDTree(xyz[seeds].astype(np.float64))
    reached = from_seeds.query(places)[0] <= rule.metres
    reached &= ~answered[around]
    pairs = from_seeds.sparse_distance_matrix(
        cKDTree(places[reached]), rule.metres, output_type="coo_matrix"
    )
    rows = around[reached]
    seed, other = seeds[pairs.row], rows[pairs.col]
    normal = _normals(xyz, tree, places, np.union1d(seeds, rows), rule.metres)
    cosine = np.abs((normal[seed] * normal[other]).sum(1))
    same = cosine >= np.cos(np.radians(rule.degrees))  # False where a normal is NaN
    if predicted is not None:
        same &= (predicted[seed] == predicted[other]) & (predicted[other] != IGNORE)
    least, most = np.full(len(xyz), IGNORE, np.uint8), np.zeros(len(xyz), np.uint8)
    np.minimum.at(least, other[same], answers[seed[same]])
    np.maximum.at(most, other[same], answers[seed[same]])
    told = least != IGNORE
    found = np.flatnonzero(told & (least == most))
    return found, least[found], int((told & (least != most)).sum())


def _around(xyz: NDArray[np.float32], seeds: NDArray[np.int64], size: float) -> NDArray[np.int64]:
    """Rows of all points within `size` of a seed, and of some beyond."""
    cells = cells_of(xyz.astype(np.float64), size)
    steps = np.array(list(product((-1, 0, 1), repeat=3)))
    near = np.unique((np.unique(cells[seeds], axis=0)[:, None] + steps).reshape(-1, 3), axis=0)
    return np.flatnonzero(numbered(near, cells)[1] >= 0)


def _normals(
    xyz: NDArray[np.float32],
    tree,
    places: NDArray[np.float64],
    rows: NDArray[np.int64],
    metres: float,
) -> NDArray[np.float64]:
    """[N, 3] unit normals at these rows; NaN elsewhere and where there is no surface."""
    normals = np.full((len(xyz), 3), np.nan)
    distances, near = tree.query(
        xyz[rows].astype(np.float64), k=MOST_NEIGHBOURS, distance_upper_bound=metres
    )
    there = np.isfinite(distances)
    points = np.concatenate([places, np.zeros((1, 3))])[near] * there[..., None]
    count = np.maximum(there.sum(1), 1)[:, None]
    offsets = (points - (points.sum(1) / count)[:, None]) * there[..., None]
    spreads, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", offsets, offsets))
    flat = (spreads[:, 0] <= FLAT * spreads[:, 1]) & (spreads[:, 1] >= NO_LINE * spreads[:, 2])
    sure = flat & (there.sum(1) >= LEAST_NEIGHBOURS)
    normals[rows[sure]] = axes[sure, :, 0]
    return normals
