"""Where rays meet the ground of a street."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.simulator.street import Street

Array = NDArray[np.float64]
_STEEPEST = 0.06  # no street rises faster, so rays above this never meet one
_SEARCHES = 7
_CLOSE = 1e-4  # metres


def cast_ground(origin: Array, directions: Array, street: Street, max_range: float) -> Array:
    """Distance [..] along rays [.., 3] to the ground, inf where they do not meet it.

    A fixed-point search that follows the slope of the street; the few rays that it leaves off the
    ground (kerbs, crests) are bisected between their last points above and below it.
    """
    shape = directions.shape[:-1]
    flat = directions.reshape(-1, 3)
    rays = np.nonzero(flat[:, 2] < _STEEPEST)[0]
    dx, dy, dz = np.ascontiguousarray(flat[rays].T)
    t, above, below = np.full(len(rays), 10.0), np.zeros(len(rays)), np.full(len(rays), np.inf)
    live = np.arange(len(rays))
    for _ in range(_SEARCHES):
        at, ux, uz = t[live], dx[live], dz[live]
        x = origin[0] + at * ux
        error = origin[2] + at * uz - street.height(x, origin[1] + at * dy[live])
        low, high = above[live], below[live]
        above[live] = low = np.where(error >= 0, np.maximum(low, at), low)
        below[live] = high = np.where(error < 0, np.minimum(high, at), high)
        slope = np.minimum(uz - street.grade(x) * ux, -0.01)
        off = np.abs(error) > _CLOSE
        step = np.clip(at - error / slope, low, np.minimum(high, 1.5 * max_range))
        t[live] = np.where(off, step, at)
        live = live[off & (low < max_range)]
    far = np.minimum(below[live], max_range)
    t[live] = _bisect(origin, (dx[live], dy[live], dz[live]), above[live], far, street)
    out = np.full(len(flat), np.inf)
    out[rays] = np.where(t < max_range, t, np.inf)
    return out.reshape(shape)


def _bisect(
    origin: Array, d: tuple[Array, Array, Array], above: Array, below: Array, street: Street
) -> Array:
    """Halve the brackets; a ray that is above the ground everywhere ends where it began: far."""
    for _ in range(20):
        t = (above + below) / 2
        high = origin[2] + t * d[2] >= street.height(origin[0] + t * d[0], origin[1] + t * d[1])
        above, below = np.where(high, t, above), np.where(high, below, t)
    return below
