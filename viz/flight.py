"""The camera's flight to the next voxel: short, and over at once when a key is pressed.

Unlike a jump, it shows where the next voxel lies relative to the last one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from annotator3d.viz.camera import CameraView, axes

FLIGHT_SECONDS = 0.25
SLOW_PICTURE = 0.05  # seconds: where one takes longer, flying would only delay the next voxel


class Pilot:
    """Moves a toolkit's camera to another view.

    Args:
        place: sets the camera.
        flies: whether it flies; else it jumps.
    """

    def __init__(self, place: Callable[[CameraView], None], flies: bool = True) -> None:
        self._place, self._flies = place, flies
        self._start = self._stop = None
        self._began = 0.0

    @property
    def is_flying(self) -> bool:
        return self._stop is not None

    def go(self, start: CameraView, stop: CameraView, now: float) -> None:
        """Begin to fly from `start` to `stop`; `now` is in seconds of any clock."""
        self._start, self._stop, self._began = start, stop, now
        if not self._flies:
            self.end()

    def step(self, now: float) -> None:
        """Set the camera for the next frame; `now` is of the same clock."""
        if self._stop is None:
            return
        share = (now - self._began) / FLIGHT_SECONDS
        if share >= 1:
            self.end()
        else:
            self._place(between(self._start, self._stop, share))

    def end(self) -> None:
        """Jump to the end."""
        if self._stop is not None:
            stop, self._stop = self._stop, None
            self._place(stop)


def between(start: CameraView, stop: CameraView, share: float) -> CameraView:
    """The camera after a `share` (0..1) of the time, with a smooth start and stop.

    The eye moves in a straight line; the camera turns the shorter way.
    """
    share = share * share * (3 - 2 * share)
    ends = _quaternion(axes(start)), _quaternion(axes(stop))
    sign = 1.0 if ends[0] @ ends[1] >= 0 else -1.0
    _, up, back = _rotation((1 - share) * ends[0] + share * sign * ends[1])
    eye = (1 - share) * start.eye + share * stop.eye
    reach = [float(np.linalg.norm(view.eye - view.target)) for view in (start, stop)]
    return CameraView(eye, eye - back * ((1 - share) * reach[0] + share * reach[1]), up)


def _quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(x, y, z, w) of a rotation [3, 3]: the largest eigenvector of Bar-Itzhack's matrix."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    matrix = np.array(
        [
            [a - e - i, b + d, c + g, h - f],
            [b + d, e - a - i, f + h, c - g],
            [c + g, f + h, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    return np.linalg.eigh(matrix)[1][:, -1]


def _rotation(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation [3, 3] of (x, y, z, w), of any length but 0."""
    x, y, z, w = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
