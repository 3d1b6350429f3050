"""What stands along a street: quotas of rare things first, then a random mix."""

from __future__ import annotations

import numpy as np

from annotator3d.data.simulator import plants, shapes
from annotator3d.data.simulator.models import StreetModel
from annotator3d.data.simulator.shapes import Part
from annotator3d.data.simulator.street import Street
from annotator3d.data.simulator.traffic import Thing

SLOT = 6.4  # metres of kerb per slot: a parked vehicle, a tree, a lamp ...
_REACH = 18.0  # quotas stand between this far behind the start and this far ahead of the end
# These stand along every 60 m of the drive; the first come first where slots are few.
_QUOTA = ("car", "bicycle", "motorcycle", "truck", "other", "sign", "person", "tree", "pole",
          "sign", "bicycle", "motorcycle", "person", "clutter")  # fmt: skip
_LARGE = ("truck", "other")


class Kerbside:
    """The slots of both kerbs, and the things on them."""

    def __init__(self, street: Street, model: StreetModel, rng: np.random.Generator) -> None:
        self.street, self.model, self.rng = street, model, rng
        self.things: list[Thing] = []

    def fill(self, length: float) -> list[Thing]:
        """Quotas along ``0 <= s <= length``, then a random mix on the slots that are left."""
        starts = np.arange(self.street.start + 8, self.street.end - 8, SLOT)
        slots = [
            (float(s), side)
            for s in starts
            for side in (1, -1)
            if self.street.clear_of_crossings(float(s), 5.0)
        ]
        near = [slot for slot in slots if -_REACH <= slot[0] <= length + _REACH]
        free = [near[i] for i in self.rng.permutation(len(near))]
        taken: dict[tuple[float, int], str] = {}
        for kind in list(_QUOTA) * max(1, round(length / 60)):
            # Beside the ego lane a truck would hide half of the world for several scans.
            fits = (slot for slot in free if slot[1] > 0 or kind not in _LARGE)
            if (slot := next(fits, None)) is not None:
                free.remove(slot)
                taken[slot] = kind
        for slot in slots:
            if slot in taken:
                self._stand(taken[slot], *slot)
            else:
                self._mix(*slot)
        return self.things

    def _add(self, parts: list[Part], s: float, d: float, turn: float = 0, kind: int = 0) -> None:
        self.things.append(Thing(parts, s, d, turn, 0.0, kind))

    def _mix(self, s: float, side: int) -> None:
        """Perhaps a parked car, perhaps something on the pavement behind it."""
        model, rng = self.model, self.rng
        if self.street.kerb(s, side)[2] > 0 and rng.random() < model.parked:
            self._stand("car", s, side)
        kinds = ("tree", "pole", "sign", "clutter", "none")
        shares = np.array([model.street_tree, model.pole, model.sign, model.clutter])
        kind = kinds[int(np.searchsorted(np.cumsum(shares), rng.random()))]
        if kind != "none":
            self._stand(kind, s, side)

    def _stand(self, kind: str, s: float, side: int) -> None:
        """Put one thing on a slot: vehicles at the road side of the kerb, others behind it."""
        model, rng, jitter = self.model, self.rng, self.model.size_jitter
        kerb, walk, bay = self.street.kerb(s, side)
        s += rng.uniform(-0.5, 0.5)
        parked = side * (kerb - 1.1) if bay else side * (kerb + 0.5)
        turn = (0.0 if side < 0 else np.pi) + jitter * rng.normal(0, 0.4)
        behind = side * (kerb + 0.55)
        if kind == "car":
            van = bool(rng.random() < model.vans)
            self._add(shapes.car(rng, jitter, van), s, parked, turn, shapes.CAR)
        elif kind == "truck":
            self._add(shapes.truck(rng, jitter), s, parked, turn, shapes.TRUCK)
        elif kind == "other":
            if rng.random() < 0.2:
                self._add(shapes.bus(rng, jitter), s, parked, turn, shapes.BUS)
            else:
                self._add(shapes.trailer(rng, jitter), s, parked, turn, shapes.OTHER_VEHICLE)
        elif kind == "bicycle":
            for k in range(int(rng.integers(1, 3))):
                self._add(shapes.bicycle(), s + 0.3 * k, behind + 0.4 * k, turn, shapes.BICYCLE)
        elif kind == "motorcycle":
            self._add(shapes.motorcycle(), s, behind, turn, shapes.MOTORCYCLE)
        elif kind == "person":
            for _ in range(int(rng.integers(1, model.group + 1))):
                at, d = s + rng.normal(0, 0.9), side * (kerb + rng.uniform(0.4, 0.9) * walk)
                way = rng.uniform(0, 2 * np.pi)
                self._add(shapes.person(rng, jitter), at, d, way, shapes.PERSON)
        elif kind == "sign":
            self._add(plants.sign(rng, jitter), s, behind, 0.0 if side > 0 else np.pi)
        elif kind == "pole":
            self._add(plants.pole(rng, jitter), s, behind, 0.0 if side < 0 else np.pi)
        elif kind == "tree":
            self._add(plants.tree(rng, jitter, model.leaf_density, model.crown_from), s, behind)
        else:
            self._add(plants.clutter(rng), s, side * (kerb + 0.8), turn)


def fill_lots(street: Street, model: StreetModel, rng: np.random.Generator) -> list[Thing]:
    """Buildings, fences, hedges, bushes and groves on the lots of both sides."""
    things: list[Thing] = []
    for side, lots in zip((1, -1), street.lots, strict=True):
        for index, (start, end) in enumerate(lots):
            middle = (start + end) / 2
            length = end - start
            if street.clear_of_crossings(middle, length / 2 + 1):
                kerb, walk, _ = street.kerb(middle, side)
                fenced = index % 5 == 2  # a quota
                things += _lot(model, rng, side, middle, length, kerb + walk, fenced)
    return things


def _lot(
    model: StreetModel,
    rng: np.random.Generator,
    side: int,
    middle: float,
    length: float,
    front: float,
    fenced: bool,
) -> list[Thing]:
    """One lot whose pavement ends ``front`` metres from the centre line."""
    things: list[Thing] = []
    density, away = model.leaf_density, np.pi if side > 0 else 0.0

    def add(parts: list[Part], s: float, d: float, turn: float = 0.0) -> None:
        things.append(Thing(parts, s, side * d, turn))

    setback = rng.uniform(*model.setback)
    border = rng.random() * (model.fence if fenced else 1.0)
    # Straight pieces of a few metres follow the bends and the slope of the street.
    pieces = max(1, round(length / 4.0))
    size = length / pieces
    if border < model.fence + model.hedge:
        height = rng.uniform(0.9, 1.9) if model.size_jitter else 1.3
        for k in range(pieces):
            s = middle + (k + 0.5) * size - length / 2
            if border < model.fence:
                add(plants.fence(size, height, model.fence_gap), s, front + 0.15)
            elif k:  # the missing piece is the gate
                add(plants.hedge(size, height, density), s, front + 0.5)
    if rng.random() < model.building:
        depth, height = rng.uniform(9, 13), 3.0 * round(rng.uniform(*model.storeys)) + 0.8
        width = length * (1.0 if not model.size_jitter else rng.uniform(0.6, 1.0))
        d = front + setback + depth / 2 + 0.5
        add(plants.building(rng, width, depth, height), middle, d, away)
    elif rng.random() < model.groves:
        for _ in range(int(rng.integers(3, 9))):
            s, d = middle + rng.uniform(-0.5, 0.5) * length, front + rng.uniform(2, 22)
            add(plants.tree(rng, model.size_jitter, density, model.crown_from), s, d)
    if rng.random() < model.bushes:
        for _ in range(int(rng.integers(2, 8))):
            s, d = middle + rng.uniform(-0.5, 0.5) * length, front + rng.uniform(1.0, 9.0)
            add(plants.bush(rng, density), s, d)
    if rng.random() < model.thicket:
        add(plants.thicket(rng, length, density), middle, front + rng.uniform(16, 34))
    if rng.random() < model.shed:
        add(plants.shed(rng), middle + rng.uniform(-0.3, 0.3) * length, front + 2.0)
    return things
