"""Analytic ray casting: a grid of rays against boxes, cylinders, ellipsoids and the ground.

Every primitive is only tried on the rays inside its angular window, seen from the sensor.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.simulator.ground import cast_ground
from annotator3d.data.simulator.shapes import BOX, CYLINDER
from annotator3d.data.simulator.street import Street
from annotator3d.data.simulator.surfaces import GROUND, SKY, Hits, Primitives

Array = NDArray[np.float64]
_TINY = 1e-12


class Window(NamedTuple):
    """Where primitives are seen: azimuth centre and half width, elevations, nearest distance."""

    azimuth: Array
    half: Array
    low: Array
    high: Array
    near: Array


def cast(
    origin: Array,
    directions: Array,
    azimuth0: float,
    elevations: Array,
    slack: float,
    primitives: Primitives,
    street: Street | None,
    max_range: float,
    rng: np.random.Generator,
) -> Hits:
    """First hits of the rays ``origin + t * directions`` [beams, azimuths, 3] (unit vectors).

    Column ``j`` looks to azimuth ``azimuth0 + 2 pi j / azimuths`` and row ``i`` to
    ``elevations[i]`` (falling, radians) up to ``slack`` radians of tilt and jitter. ``rng`` decides
    what porous things let through: a pure function of the arguments.
    """
    beams, azimuths = directions.shape[:2]
    best = np.full((beams, azimuths), max_range)
    winner = np.full((beams, azimuths), SKY)
    if street is not None:
        t = cast_ground(origin, directions, street, max_range)
        winner[t < best] = GROUND
        np.minimum(best, t, out=best)
    window = _windows(origin, primitives)
    for row, columns in _covered(window, azimuth0, elevations, azimuths, slack):
        view = best[row[1] : row[2], columns]
        if view.max() <= window.near[row[0]]:
            continue  # hidden: the nearer ones come first
        rays = directions[row[1] : row[2], columns]
        t = intersect(primitives, row[0], origin, rays, rng)
        nearer = t < view
        view[nearer] = t[nearer]
        winner[row[1] : row[2], columns][nearer] = row[0]
    best[winner == SKY] = np.inf
    return Hits(best, winner)


def _windows(origin: Array, p: Primitives) -> Window:
    """Bounds of every primitive as seen from ``origin``."""
    c, s = np.cos(p.yaw), np.sin(p.yaw)
    rel = p.centre - origin
    # The sensor in the frame of the box: the nearest point of the footprint bounds the elevation.
    local = np.stack([-(c * rel[:, 0] + s * rel[:, 1]), s * rel[:, 0] - c * rel[:, 1]], axis=1)
    outside = np.maximum(np.abs(local) - p.half[:, :2], 0)
    near = np.hypot(outside[:, 0], outside[:, 1])
    far = np.hypot(*(np.abs(local) + p.half[:, :2]).T)
    azimuth = np.arctan2(rel[:, 1], rel[:, 0])
    half = np.zeros(len(p))
    for sx, sy in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        x = rel[:, 0] + sx * c * p.half[:, 0] - sy * s * p.half[:, 1]
        y = rel[:, 1] + sx * s * p.half[:, 0] + sy * c * p.half[:, 1]
        turn = np.mod(np.arctan2(y, x) - azimuth + np.pi, 2 * np.pi) - np.pi
        half = np.maximum(half, np.abs(turn))
    half[near < 0.3] = np.pi
    bottom, top = rel[:, 2] - p.half[:, 2], rel[:, 2] + p.half[:, 2]
    near = np.maximum(near, 1e-3)
    low = np.arctan2(bottom, np.where(bottom < 0, near, far))
    high = np.arctan2(top, np.where(top > 0, near, far))
    return Window(azimuth, half, low, high, near)


def _covered(window: Window, azimuth0: float, elevations: Array, azimuths: int, slack: float):
    """Yield ``((primitive, first row, last row + 1), columns)``, nearest first.

    A window that wraps around comes in two pieces.
    """
    step = 2 * np.pi / azimuths
    first = np.searchsorted(-elevations, -(window.high + slack))
    last = np.searchsorted(-elevations, -(window.low - slack), side="right")
    left = np.floor((window.azimuth - window.half - slack - azimuth0) / step).astype(np.int64)
    right = np.ceil((window.azimuth + window.half + slack - azimuth0) / step).astype(np.int64) + 1
    for i in np.argsort(window.near, kind="stable"):
        if first[i] >= last[i]:
            continue
        rows = (int(i), int(first[i]), int(last[i]))
        width = int(right[i] - left[i])
        if width >= azimuths:
            yield rows, slice(0, azimuths)
            continue
        begin = int(left[i]) % azimuths
        yield rows, slice(begin, min(begin + width, azimuths))
        if begin + width > azimuths:
            yield rows, slice(0, begin + width - azimuths)


def intersect(p: Primitives, i: int, origin: Array, rays: Array, rng: np.random.Generator) -> Array:
    """Distance along ``rays`` [.., 3] to primitive ``i``; inf where they miss or pass through."""
    c, s = np.cos(p.yaw[i]), np.sin(p.yaw[i])
    ox, oy, oz = origin - p.centre[i]
    ox, oy = c * ox + s * oy, c * oy - s * ox
    dx = c * rays[..., 0] + s * rays[..., 1]
    dy = c * rays[..., 1] - s * rays[..., 0]
    dz = rays[..., 2]
    hx, hy, hz = p.half[i]
    if p.shape[i] == BOX:
        enter, leave = _slab(ox, dx, hx)
        for o, d, h in ((oy, dy, hy), (oz, dz, hz)):
            near, far = _slab(o, d, h)
            enter, leave = np.maximum(enter, near), np.minimum(leave, far)
    else:
        ax, ay, az = (0.0, 0.0, 0.0) if p.shape[i] == CYLINDER else (oz / hz, dz / hz, 1.0)
        ex, ey, fx, fy = ox / hx, oy / hy, dx / hx, dy / hy
        a = fx * fx + fy * fy + np.square(ay) + _TINY
        b = ex * fx + ey * fy + ax * ay
        root = b * b - a * (ex * ex + ey * ey + ax * ax - 1)
        half = np.sqrt(np.maximum(root, 0))
        enter = np.where(root >= 0, (-b - half) / a, np.inf)
        leave = np.where(root >= 0, (half - b) / a, -np.inf)
        if p.shape[i] == CYLINDER:
            near, far = _slab(oz, dz, hz)
            enter, leave = np.maximum(enter, near), np.minimum(leave, far)
    enter = np.maximum(enter, 0)
    hit = enter < leave
    if p.density[i] > 0:
        enter = enter + rng.standard_exponential(enter.shape) / p.density[i]
        hit &= enter < leave
    if p.gap[i] > 0:
        hit &= rng.random(enter.shape) >= p.gap[i]
    return np.where(hit, enter, np.inf)


def _slab(o: float, d: Array, h: float) -> tuple[Array, Array]:
    inverse = 1 / np.where(np.abs(d) < _TINY, _TINY, d)
    centre, spread = -o * inverse, np.abs(h * inverse)
    return centre - spread, centre + spread
