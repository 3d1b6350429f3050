"""Primitives in a world, what a grid of rays meets of them, and at which angle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.simulator.shapes import BOX, CYLINDER

Array = NDArray[np.float64]
GROUND, SKY = -1, -2


@dataclass(frozen=True)
class Primitives:
    """P primitives in world coordinates (metres, radians)."""

    shape: NDArray[np.int64]  # [P]
    centre: Array  # [P, 3]
    half: Array  # [P, 3] half extents along its own axes
    yaw: Array  # [P]
    density: Array  # [P] 1/m, 0 = solid
    gap: Array  # [P] share of rays that pass
    label: NDArray[np.int64]  # [P] raw id
    instance: NDArray[np.int64]  # [P]
    reflect: Array  # [P] 0..1
    loss: Array  # [P] share of returns lost on the surface

    def __len__(self) -> int:
        return len(self.shape)

    def take(self, rows: NDArray) -> Primitives:
        return Primitives(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def __add__(self, other: Primitives) -> Primitives:
        names = self.__dataclass_fields__
        return Primitives(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))


class Hits(NamedTuple):
    """What a grid of rays meets first: [beams, azimuths] each."""

    range: Array  # metres, inf where nothing
    primitive: NDArray[np.int64]  # row, or GROUND, or SKY


def cosines(p: Primitives, hits: Hits, origin: Array, directions: Array) -> Array:
    """|cos| of the angle between ray and surface normal [B, A]; 1 inside leaves."""
    cos = np.abs(directions[..., 2])  # the ground is close to level
    at = np.nonzero(hits.primitive >= 0)
    rows, rays, t = hits.primitive[at], directions[at], hits.range[at]
    rel = origin + t[:, None] * rays - p.centre[rows]
    c, s = np.cos(p.yaw[rows]), np.sin(p.yaw[rows])

    def turn(v: Array) -> Array:
        return np.stack([c * v[:, 0] + s * v[:, 1], c * v[:, 1] - s * v[:, 0], v[:, 2]], axis=1)

    unit, ray = turn(rel) / p.half[rows], turn(rays)
    normal = unit / p.half[rows]
    normal[p.shape[rows] == CYLINDER, 2] = 0
    side = np.argmax(np.abs(unit), axis=1)
    flat = np.zeros_like(unit)
    flat[np.arange(len(side)), side] = 1
    normal = np.where((p.shape[rows] == BOX)[:, None], flat, normal)
    norm = np.sqrt((normal * normal).sum(axis=1)) + 1e-12
    value = np.abs((normal * ray).sum(axis=1)) / norm
    cos[at] = np.where(p.density[rows] > 0, 1.0, value)
    return cos
