"""Who moves: cars, riders and walkers that meet the ego vehicle during its drive."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from annotator3d.data.simulator import shapes
from annotator3d.data.simulator.models import StreetModel
from annotator3d.data.simulator.shapes import Part
from annotator3d.data.simulator.street import Street

EGO_SPEED = 8.0  # m/s
_LANE = 0.5  # lateral position of a lane, as a share of half of the road


class Thing(NamedTuple):
    """Parts at street coordinates ``(s, d)``; ``speed`` in m/s along s, negative: oncoming."""

    parts: list[Part]
    s: float
    d: float
    turn: float = 0.0  # radians, relative to the direction of the street
    speed: float = 0.0
    kind: int = 0  # raw id of a thing, 0 for stuff


def ego_lane(street: Street) -> float:
    """Lateral position of the ego vehicle: the right lane."""
    return -_LANE * street.road_half


def traffic(
    street: Street, model: StreetModel, length: float, rng: np.random.Generator
) -> list[Thing]:
    """Movers for a drive over ``0 <= s <= length`` at `EGO_SPEED`.

    A mover is placed by when and how far from the ego vehicle it is seen, so that a quota of every
    moving class comes near, however short or long the drive is.
    """
    duration = length / EGO_SPEED
    count = int(np.ceil((length + 30) / 60))
    jitter = model.size_jitter
    things: list[Thing] = []

    def meet(parts: list[Part], kind: int, d: float, speed: float, gap: float, when: float) -> None:
        s = (EGO_SPEED - speed) * when * duration + gap
        turn = np.pi if speed < 0 else 0.0
        things.append(Thing(parts, s, d, turn, speed, kind))

    lane, edge = _LANE * street.road_half, street.road_half - 0.6
    for when in (np.arange(count) + rng.random(count)) / count:
        cyclist, biker = shapes.rider(shapes.BICYCLIST), shapes.rider(shapes.MOTORCYCLIST)
        side = rng.choice([-1, 1])
        meet(cyclist, shapes.BICYCLIST, side * edge, -4.5 * side, rng.uniform(6, 14), when)
        meet(biker, shapes.MOTORCYCLIST, lane, -EGO_SPEED, rng.uniform(8, 14), when)
        for _ in range(int(rng.integers(1, model.group + 1))):
            side = rng.choice([-1, 1])
            middle = rng.uniform(0, length)
            kerb, walk, _ = street.kerb(middle, side)
            d = side * (kerb + rng.uniform(0.5, 0.9) * walk)
            speed = rng.choice([-1.3, 1.3])
            gap = rng.uniform(5, 16)
            meet(shapes.person(rng, jitter), shapes.PERSON, d, speed, gap, when)
    # Oncoming vehicles keep their distances, as all of a lane drive at one speed.
    riders = [t.s for t in things if t.kind == shapes.MOTORCYCLIST]
    for gap in np.arange(24.0, 2 * length + 60, 10.0) + rng.uniform(-1, 1):
        if rng.random() < model.traffic and all(abs(gap - s) > 12 for s in riders):
            parts, kind = _vehicle(model, rng)
            things.append(Thing(parts, float(gap), lane, np.pi, -EGO_SPEED, kind))
    ahead = shapes.car(rng, jitter)
    things.append(Thing(ahead, rng.uniform(13, 30), -lane, 0.0, EGO_SPEED, shapes.CAR))
    return things


def _vehicle(model: StreetModel, rng: np.random.Generator) -> tuple[list[Part], int]:
    if rng.random() < 0.1:
        return shapes.truck(rng, model.size_jitter), shapes.TRUCK
    van = bool(rng.random() < model.vans)
    return shapes.car(rng, model.size_jitter, van), shapes.CAR
