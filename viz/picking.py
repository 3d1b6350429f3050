"""Picking points with the mouse, for any toolkit.

Points are projected, because the contents of a depth buffer differ between versions of a toolkit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annotator3d.viz.camera import Camera


def pick_point(camera: Camera, xyz: ArrayLike, pixel: ArrayLike, radius: float = 8.0) -> int | None:
    """Index of the clicked point of [N, 3]: the nearest to the eye within `radius` pixels.

    Of equally near points it is the one closest to the pixel. None if there is no point.
    """
    pixels, depth = camera.project(xyz)
    away = np.hypot(*(pixels - np.asarray(pixel, np.float64)).T)
    near = np.flatnonzero(away <= radius)
    if not len(near):
        return None
    return int(near[np.lexsort((away[near], depth[near]))[0]])


def pick_on_ray(
    origin: ArrayLike, direction: ArrayLike, xyz: ArrayLike, angle: float = 0.01
) -> int | None:
    """As `pick_point` for a ray: the nearest point within `angle` radians of it, or None.

    Args:
        origin: [3]. direction: [3], of any length. xyz: [N, 3].

    Raises ValueError for a direction of length 0.
    """
    way = np.asarray(direction, np.float64)
    length = np.linalg.norm(way)
    if not length > 0:
        raise ValueError(f"a ray needs a direction, got {way}")
    points = np.asarray(xyz, np.float64).reshape(-1, 3) - np.asarray(origin, np.float64)
    along = points @ (way / length)
    away = np.sqrt(np.maximum((points * points).sum(1) - along * along, 0.0))
    near = np.flatnonzero(away <= along * np.tan(angle))  # none behind the origin
    if not len(near):
        return None
    return int(near[np.lexsort((away[near], along[near]))[0]])


def brush(camera: Camera, xyz: ArrayLike, stroke: ArrayLike, radius: float) -> NDArray[np.bool_]:
    """Mask [N] of the points [N, 3] within `radius` pixels of the path [S, 2] of a mouse.

    A path may be a single pixel. Points behind others are painted too.
    """
    pixels, _ = camera.project(xyz)
    path = np.asarray(stroke, np.float64).reshape(-1, 2)
    hit = np.zeros(len(pixels), bool)
    for start, stop in zip(path[:-1], path[1:], strict=True) if len(path) > 1 else [path[[0, 0]]]:
        hit |= segment_distance(pixels, start, stop) <= radius
    return hit


def rectangle(
    camera: Camera, xyz: ArrayLike, corner: ArrayLike, opposite: ArrayLike
) -> NDArray[np.bool_]:
    """Mask [N] of the points [N, 3] inside a rectangle between two pixels [2]."""
    pixels, _ = camera.project(xyz)
    low = np.minimum(corner, opposite)
    high = np.maximum(corner, opposite)
    return ((pixels >= low) & (pixels <= high)).all(1)


def segment_distance(
    pixels: NDArray[np.float64], start: NDArray[np.float64], stop: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distances [N] of pixels [N, 2] from a line segment; NaN stays NaN."""
    way = stop - start
    length = way @ way
    share = np.clip((pixels - start) @ way / length, 0, 1) if length > 0 else np.zeros(len(pixels))
    return np.hypot(*(pixels - start - share[:, None] * way).T)
