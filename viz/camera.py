"""Cameras: three presets around a voxel, OpenGL's matrices, and projection to pixels.

Pixels count from the upper left corner, x to the right and y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

VIEWS = ("sensor", "above", "side")
FIELD_OF_VIEW = 60.0  # degrees, vertical
PIN = 1.5  # metres that a pin stands above its voxel
_NEAR = 6.0  # metres from the voxel: its surroundings show, and its points are still apart


@dataclass(frozen=True, eq=False)
class CameraView:
    """Where a camera stands and looks: metres, sensor frame, z up."""

    eye: NDArray[np.float64]  # [3]
    target: NDArray[np.float64]  # [3]
    up: NDArray[np.float64]  # [3]


def preset_view(name: str, target: NDArray[np.float64]) -> CameraView:
    """The camera of one of `VIEWS` on a point [3].

    ``sensor`` looks from the sensor's side, which was scanned; ``above`` looks straight down, with
    the sensor's forward direction up; ``side`` looks at right angles to ``sensor``.

    Raises ValueError for an unknown name.
    """
    target = np.asarray(target, np.float64)
    distance = float(np.hypot(*target[:2]))
    away = target[:2] / distance if distance > 1e-6 else np.array([1.0, 0])
    if name == "sensor":
        return _level(target, -away * min(_NEAR, max(distance, 1.0)))
    if name == "side":
        return _level(target, np.array([-away[1], away[0]]) * _NEAR)
    if name == "above":
        return CameraView(target + [0, 0, 2 * _NEAR], target, np.array([1.0, 0, 0]))
    raise ValueError(f"view: expected one of {', '.join(VIEWS)}, got {name!r}")


def _level(target: NDArray[np.float64], step: NDArray[np.float64]) -> CameraView:
    eye = target + [*step, np.hypot(*step) / 3]
    return CameraView(eye, target, np.array([0, 0, 1.0]))


def axes(view: CameraView) -> NDArray[np.float64]:
    """[3, 3] unit vectors to the right, up and back of a camera, as rows."""
    back = view.eye - view.target
    back = back / np.linalg.norm(back)
    right = np.cross(view.up, back)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back])


def view_from_matrix(matrix: NDArray[np.float64], distance: float) -> CameraView:
    """The camera of OpenGL's view matrix [4, 4]; its target is `distance` metres away."""
    rotation = np.asarray(matrix, np.float64)[:3, :3]
    eye = -rotation.T @ np.asarray(matrix, np.float64)[:3, 3]
    return CameraView(eye, eye - rotation[2] * distance, rotation[1])


def perspective(
    view: CameraView, degrees: float, aspect: float, near: float = 0.1, far: float = 300.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """OpenGL's view and projection matrices [4, 4] of a camera.

    Args:
        degrees: vertical field of view.
        aspect: width / height.
        near, far: metres from the eye that are drawn.
    """
    rotation = axes(view)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ view.eye
    scale = 1 / np.tan(np.radians(degrees) / 2)
    depth = near - far
    projection = np.array(
        [
            [scale / aspect, 0, 0, 0],
            [0, scale, 0, 0],
            [0, 0, (far + near) / depth, 2 * far * near / depth],
            [0, 0, -1, 0],
        ]
    )
    return matrix, projection


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera as a window has it: OpenGL's view and projection matrices, and its size.

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

        Pixel and distance are NaN for points behind the eye or outside the near and far planes.
        Points beside the picture have pixels outside of it.
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
