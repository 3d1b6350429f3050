"""Picking points with the mouse: the mathematics, for any toolkit.

A `Camera` is what a window knows of its view: OpenGL's view and projection matrices and its size.
Pixels count from the upper left corner, x to the right and y down. Picking projects points, because
what a depth buffer holds differs between versions of a toolkit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Camera:
    """A view of the scene.

    Raises ValueError for matrices that are not [4, 4] and finite, or an empty picture.
    """

    view: NDArray[np.float64]  # [4, 4] world -> eye; the eye looks along -z, y is up
    projection: NDArray[np.float64]  # [4, 4] eye -> clip space; perspective or orthographic
    width: int  # pixels
    height: int

    def __post_init__(self) -> None:
        for name in ("view", "projection"):
            matrix = np.asarray(getattr(self, name), np.float64)
            if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
                raise ValueError(f"the {name} matrix must be [4, 4] and finite, got {matrix}")
            object.__setattr__(self, name, matrix)
        if self.width < 1 or self.height < 1:
            raise ValueError(f"the picture has no pixels: {self.width} x {self.height}")

    def project(self, xyz: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixels [N, 2] and distances [N] along the line of sight of points [N, 3].

        Points behind the eye or outside the near and far planes have pixel and distance NaN; those
        beside the picture have pixels outside of it.
        """
        points = np.asarray(xyz, np.float64).reshape(-1, 3)
        eye = points @ self.view[:3, :3].T + self.view[:3, 3]
        clip = eye @ self.projection[:, :3].T + self.projection[:, 3]
        w = clip[:, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            device = clip[:, :3] / w[:, None]
        seen = (w > 0) & (np.abs(device[:, 2]) <= 1)
        pixels = (device[:, :2] * [1, -1] + 1) / 2 * [self.width, self.height]
        pixels[~seen] = np.nan
        return pixels, np.where(seen, -eye[:, 2], np.nan)

    def ray(self, pixel: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The line of sight through a pixel [2]: a point [3] on the near plane, direction [3]."""
        x, y = np.asarray(pixel, np.float64) / [self.width, self.height] * [2, -2] + [-1, 1]
        ends = np.array([[x, y, -1, 1], [x, y, 1, 1]])
        near, far = ends @ np.linalg.inv(self.projection @ self.view).T
        near, far = near[:3] / near[3], far[:3] / far[3]
        return near, (far - near) / np.linalg.norm(far - near)


def pick_point(camera: Camera, xyz: ArrayLike, pixel: ArrayLike, radius: float = 8.0) -> int | None:
    """Index of the point [N, 3] that was clicked: the nearest to the eye within `radius` pixels.

    Of equally near ones the one closer to the pixel; None where there is none.
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
    """As `pick_point`, for a toolkit that gives a ray: the nearest point within `angle` radians.

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
    """Points [N, 3] within `radius` pixels of the path [S, 2] of a mouse: mask [N].

    A path of one pixel is a dab. Points behind others are painted too: a voxel is seen through.
    """
    pixels, _ = camera.project(xyz)
    path = np.asarray(stroke, np.float64).reshape(-1, 2)
    hit = np.zeros(len(pixels), bool)
    for start, stop in zip(path[:-1], path[1:], strict=True) if len(path) > 1 else [path[[0, 0]]]:
        hit |= segment_distance(pixels, start, stop) <= radius
    return hit


def lasso(camera: Camera, xyz: ArrayLike, outline: ArrayLike) -> NDArray[np.bool_]:
    """Points [N, 3] inside a drawn outline [S, 2] in pixels, closed by itself: mask [N].

    Inside is where a ray crosses the outline an odd number of times.
    """
    pixels, _ = camera.project(xyz)
    corners = np.asarray(outline, np.float64).reshape(-1, 2)
    x, y = pixels.T
    inside = np.zeros(len(pixels), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside & np.isfinite(x)


def rectangle(
    camera: Camera, xyz: ArrayLike, corner: ArrayLike, opposite: ArrayLike
) -> NDArray[np.bool_]:
    """Points [N, 3] inside a rectangle between two pixels [2]: mask [N]."""
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
