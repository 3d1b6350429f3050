"""Where the camera stands: three presets around a voxel, for any skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VIEWS = ("sensor", "above", "side")
FIELD_OF_VIEW = 60.0  # degrees, vertical
PIN = 1.5  # metres that a pin stands above its voxel
_NEAR = 6.0  # metres from the voxel: its surroundings show, and its points are still apart


@dataclass(frozen=True, eq=False)
class View:
    """A camera: metres, sensor frame, z up."""

    eye: NDArray[np.float64]  # [3]
    target: NDArray[np.float64]  # [3]
    up: NDArray[np.float64]  # [3]


def view_of(name: str, target: NDArray[np.float64]) -> View:
    """One of `VIEWS` of a point [3].

    ``sensor`` looks from the side where the sensor was, which is the one whose points are there;
    ``above`` straight down with the sensor's forward direction up; ``side`` at right angles to it.

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
        return View(target + [0, 0, 2 * _NEAR], target, np.array([1.0, 0, 0]))
    raise ValueError(f"view: expected one of {', '.join(VIEWS)}, got {name!r}")


def _level(target: NDArray[np.float64], step: NDArray[np.float64]) -> View:
    eye = target + [*step, np.hypot(*step) / 3]
    return View(eye, target, np.array([0, 0, 1.0]))


def axes(view: View) -> NDArray[np.float64]:
    """[3, 3] unit vectors to the right, up and back of a camera, as rows."""
    back = view.eye - view.target
    back = back / np.linalg.norm(back)
    right = np.cross(view.up, back)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back])


def view_of_matrix(matrix: NDArray[np.float64], distance: float) -> View:
    """The camera of OpenGL's view matrix [4, 4], looking at what is `distance` metres away."""
    rotation = np.asarray(matrix, np.float64)[:3, :3]
    eye = -rotation.T @ np.asarray(matrix, np.float64)[:3, 3]
    return View(eye, eye - rotation[2] * distance, rotation[1])


def perspective(
    view: View, degrees: float, aspect: float, near: float = 0.1, far: float = 300.0
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
