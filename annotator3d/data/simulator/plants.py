"""Things that stand still: trees, hedges, fences, poles, signs, buildings, street clutter."""

from __future__ import annotations

import numpy as np

from annotator3d.data.simulator.shapes import (
    BUILDING,
    FENCE,
    OBJECT,
    POLE,
    SIGN,
    STRUCTURE,
    TRUNK,
    VEGETATION,
    Part,
    blob,
    box,
    pillar,
)


def tree(
    rng: np.random.Generator, jitter: float, density: float, crown_from: tuple[float, float]
) -> list[Part]:
    """A trunk and a crown of one (tidy) or three (untidy) ellipsoids."""
    f = 1 + 4 * jitter * rng.uniform(-0.7, 0.7, 3)
    clear = rng.uniform(*crown_from)
    top, r = clear + 4.5 * f[1], 1.9 * f[2]
    trunk = pillar(TRUNK, "wood", (-0.2, clear + 0.8), 0.17 * f[2])
    crown = blob(VEGETATION, "leaf", (clear, top), (r, r))
    parts = [trunk, crown._replace(density=density)]
    for _ in range(2 if jitter else 0):
        x, y, z = r * rng.uniform(-0.7, 0.7), r * rng.uniform(-0.7, 0.7), rng.uniform(-0.4, 1.2)
        extra = blob(VEGETATION, "leaf", (clear + z, top - 1 + z), (0.7 * r, 0.7 * r), x, y)
        parts.append(extra._replace(density=density))
    return parts


def bush(rng: np.random.Generator, density: float) -> list[Part]:
    r, h = rng.uniform(0.5, 2.0, 2), rng.uniform(0.7, 3.2)
    return [blob(VEGETATION, "leaf", (-0.3 * h, h), (r[0], r[1]))._replace(density=2 * density)]


def hedge(length: float, height: float, density: float) -> list[Part]:
    a = length / 2
    return [box(VEGETATION, "leaf", (-a, a), (-0.4, 0.4), (-0.3, height), density=4 * density)]


def fence(length: float, height: float, gap: float) -> list[Part]:
    a = length / 2
    return [box(FENCE, "wood", (-a, a), (-0.04, 0.04), (-0.3, height), gap=gap)]


def pole(rng: np.random.Generator, jitter: float) -> list[Part]:
    """A lamp post with an arm towards the road (y > 0 is the road side)."""
    h = 6.0 * (1 + 2 * jitter * rng.uniform(-1, 1))
    arm = box(POLE, "metal", (-0.05, 0.05), (0.0, 1.5), (h - 0.1, h))
    return [pillar(POLE, "metal", (-0.2, h), 0.11), arm]


def sign(rng: np.random.Generator, jitter: float) -> list[Part]:
    """A plate that faces oncoming traffic, on a thin post."""
    z = 1.6 + 4 * jitter * rng.uniform(-1, 1)
    w, h = (0.35, 0.7) if not jitter else rng.uniform((0.3, 0.5), (0.55, 1.1))
    return [
        pillar(POLE, "metal", (-0.2, z + h), 0.05),
        box(SIGN, "reflector", (0.05, 0.09), (-w, w), (z, z + h)),
    ]


def clutter(rng: np.random.Generator) -> list[Part]:
    """A bin, a cabinet or a bench: no class of the benchmark."""
    a, b, h = rng.uniform((0.2, 0.2, 0.5), (0.8, 0.4, 1.4))
    return [box(OBJECT, "metal", (-a, a), (-b, b), (-0.1, h))]


def thicket(rng: np.random.Generator, length: float, density: float) -> list[Part]:
    """A row of trees and shrubs seen from far."""
    a, b = length / 2, rng.uniform(1.0, 3.0)
    height = rng.uniform(2.5, 7.0)
    return [box(VEGETATION, "leaf", (-a, a), (-b, b), (-2.0, height), density=density)]


def shed(rng: np.random.Generator) -> list[Part]:
    """A garage, shelter or wall: a structure that is no building."""
    a, b, h = rng.uniform((0.6, 0.3, 1.6), (3.0, 1.5, 2.8))
    return [box(STRUCTURE, "wall", (-a, a), (-b, b), (-1.0, h))]


def building(rng: np.random.Generator, length: float, depth: float, height: float) -> list[Part]:
    """A block; a bay, a porch or a wing breaks the front where there is room."""
    a, b = length / 2, depth / 2
    parts = [box(BUILDING, "wall", (-a, a), (-b, b), (-2.0, height))]
    if rng.random() < 0.5 and length > 8:
        x = rng.uniform(-0.6, 0.6) * a
        front = box(BUILDING, "wall", (x - 1.6, x + 1.6), (0.0, b + 0.9), (-2.0, 0.55 * height))
        parts.append(front)
    return parts
