"""Things built from three primitive shapes, in their own frame (x ahead, z up from the ground)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BOX, CYLINDER, ELLIPSOID = 0, 1, 2

# Raw SemanticKITTI ids of the things, and the ids that they have while they move.
CAR, BICYCLE, BUS, MOTORCYCLE, TRUCK, OTHER_VEHICLE = 10, 11, 13, 15, 18, 20
PERSON, BICYCLIST, MOTORCYCLIST = 30, 31, 32
BUILDING, FENCE, STRUCTURE, VEGETATION, TRUNK, POLE, SIGN, OBJECT = 50, 51, 52, 70, 71, 80, 81, 99
MOVING = {CAR: 252, BICYCLIST: 253, PERSON: 254, MOTORCYCLIST: 255, BUS: 257, TRUCK: 258}
MOVING[OTHER_VEHICLE] = 259
INSTANCES = frozenset(MOVING) | {BICYCLE, MOTORCYCLE}


Range2 = tuple[float, float]


class Part(NamedTuple):
    """One primitive. ``density`` (1/m) makes it porous, ``gap`` is the share of rays that pass."""

    shape: int
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    material: str
    label: int
    density: float = 0.0
    gap: float = 0.0
    yaw: float = 0.0


def box(
    label: int,
    material: str,
    x: Range2,
    y: Range2,
    z: Range2,
    gap: float = 0.0,
    density: float = 0.0,
) -> Part:
    """A box from its extents along the three axes."""
    low, high = np.array([x[0], y[0], z[0]]), np.array([x[1], y[1], z[1]])
    centre, half = (low + high) / 2, (high - low) / 2
    return Part(BOX, tuple(centre), tuple(half), material, label, density, gap)


def _round(
    shape: int, label: int, material: str, centre: tuple[float, float], z: Range2, radius: Range2
) -> Part:
    middle, half = (z[0] + z[1]) / 2, (z[1] - z[0]) / 2
    return Part(shape, (*centre, middle), (*radius, half), material, label)


def pillar(label: int, material: str, z: Range2, r: float, x: float = 0, y: float = 0) -> Part:
    """A vertical cylinder."""
    return _round(CYLINDER, label, material, (x, y), z, (r, r))


def blob(label: int, material: str, z: Range2, r: Range2, x: float = 0.0, y: float = 0.0) -> Part:
    """An ellipsoid between two heights."""
    return _round(ELLIPSOID, label, material, (x, y), z, r)


def car(rng: np.random.Generator, jitter: float, van: bool = False) -> list[Part]:
    """Body with bonnet, glass cabin with roof, wheels; a van is taller and has no bonnet."""
    f = 1 + jitter * rng.uniform(-1, 1, 3)
    length, width = (5.2 if van else 4.3) * f[0], (1.95 if van else 1.76) * (1 + (f[1] - 1) / 2)
    belt, top = (1.15, 2.15 * f[2]) if van else (0.88, 1.48 * f[2])
    a, b = length / 2, width / 2
    front, rear = (0.42, -1.0) if van else (0.12, -0.88)
    c = b * 0.86
    parts = [
        box(CAR, "paint", (-a, a), (-b, b), (0.3, belt)),
        box(CAR, "glass", (a * rear, a * front), (-c, c), (belt, top - 0.12)),
        box(CAR, "paint", (a * rear * 0.85, a * front * 0.6), (-c, c), (top - 0.12, top)),
    ]
    if van:
        parts.append(box(CAR, "paint", (-a, a * 0.1), (-b, b), (belt, top)))
    return parts + wheels(CAR, a * 0.62, b - 0.1, 0.31)


def wheels(label: int, x: float, y: float, r: float) -> list[Part]:
    """Four wheels as short dark boxes."""
    return [
        box(label, "rubber", (sx * x - r, sx * x + r), (sy * y - 0.1, sy * y + 0.1), (0.02, 2 * r))
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]


def truck(rng: np.random.Generator, jitter: float) -> list[Part]:
    """Cab, gap, cargo box."""
    length, top = (
        7.5 * (1 + 2 * jitter * rng.uniform(-1, 1)),
        3.3 * (1 + jitter * rng.uniform(-1, 1)),
    )
    a = length / 2
    return [
        box(TRUCK, "paint", (a - 1.8, a), (-1.15, 1.15), (0.5, 1.7)),
        box(TRUCK, "glass", (a - 1.7, a - 0.1), (-1.1, 1.1), (1.7, 2.4)),
        box(TRUCK, "paint", (a - 1.8, a - 0.2), (-1.15, 1.15), (2.4, 2.7)),
        box(TRUCK, "wall", (-a, a - 2.2), (-1.22, 1.22), (1.05, top)),
        box(TRUCK, "metal", (-a, a - 1.8), (-0.5, 0.5), (0.6, 1.05)),
        *wheels(TRUCK, a * 0.66, 1.0, 0.48),
    ]


def bus(rng: np.random.Generator, jitter: float) -> list[Part]:
    """A long box with a band of windows."""
    a = 5.6 * (1 + jitter * rng.uniform(-1, 1))
    return [
        box(BUS, "paint", (-a, a), (-1.25, 1.25), (0.35, 1.35)),
        box(BUS, "glass", (-a + 0.1, a - 0.05), (-1.22, 1.22), (1.35, 2.5)),
        box(BUS, "paint", (-a, a), (-1.25, 1.25), (2.5, 3.0)),
        *wheels(BUS, a * 0.6, 1.15, 0.48),
    ]


def trailer(rng: np.random.Generator, jitter: float) -> list[Part]:
    """A caravan or box trailer: other-vehicle."""
    a, top = 2.3 * (1 + 2 * jitter * rng.uniform(-1, 1)), 2.5 * (1 + jitter * rng.uniform(-1, 1))
    return [
        box(OTHER_VEHICLE, "wall", (-a, a), (-1.05, 1.05), (0.45, top)),
        box(OTHER_VEHICLE, "metal", (a, a + 1.1), (-0.06, 0.06), (0.42, 0.55)),
        *wheels(OTHER_VEHICLE, 0.35, 0.95, 0.33),
    ]


def bicycle(label: int = BICYCLE) -> list[Part]:
    """Two wheels as thin discs that let most rays pass, frame, saddle, handlebar."""
    return [
        box(label, "rubber", (-0.87, -0.2), (-0.03, 0.03), (0.0, 0.67), gap=0.5),
        box(label, "rubber", (0.2, 0.87), (-0.03, 0.03), (0.0, 0.67), gap=0.5),
        box(label, "metal", (-0.35, 0.45), (-0.03, 0.03), (0.3, 0.85), gap=0.35),
        box(label, "cloth", (-0.35, -0.1), (-0.08, 0.08), (0.85, 0.97)),
        box(label, "metal", (0.4, 0.5), (-0.28, 0.28), (0.92, 1.05)),
    ]


def motorcycle(label: int = MOTORCYCLE) -> list[Part]:
    """Wheels, engine and tank, seat, handlebar."""
    return [
        box(label, "rubber", (-1.0, -0.38), (-0.08, 0.08), (0.0, 0.62)),
        box(label, "rubber", (0.42, 1.04), (-0.07, 0.07), (0.0, 0.62)),
        box(label, "metal", (-0.5, 0.5), (-0.2, 0.2), (0.25, 0.85)),
        box(label, "cloth", (-0.85, 0.0), (-0.16, 0.16), (0.7, 0.92)),
        box(label, "metal", (0.4, 0.55), (-0.38, 0.38), (0.9, 1.15)),
    ]


def person(rng: np.random.Generator, jitter: float) -> list[Part]:
    """Two legs, torso with arms, head."""
    h = 1.74 * (1 + jitter * rng.uniform(-1, 0.6))
    step = rng.uniform(0.0, 0.3)
    return [
        pillar(PERSON, "cloth", (0.0, 0.5 * h), 0.09, step, 0.1),
        pillar(PERSON, "cloth", (0.0, 0.5 * h), 0.09, -step, -0.1),
        blob(PERSON, "cloth", (0.42 * h, 0.86 * h), (0.17, 0.27)),
        blob(PERSON, "cloth", (0.84 * h, h), (0.11, 0.1)),
    ]


def rider(label: int) -> list[Part]:
    """A bicycle or motorcycle with somebody on it; all of it is one class, as in the data set."""
    machine = bicycle(label) if label == BICYCLIST else motorcycle(label)
    return [
        *machine,
        blob(label, "cloth", (0.9, 1.6), (0.24, 0.25), -0.05),
        blob(label, "cloth", (1.52, 1.8), (0.13, 0.12), 0.08),
        box(label, "cloth", (-0.15, 0.25), (-0.2, 0.2), (0.45, 0.95)),
    ]
