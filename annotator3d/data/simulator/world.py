"""A world: the street, everything that stands on it, and everything that moves."""

from __future__ import annotations

import numpy as np

from annotator3d.data.simulator.layout import Kerbside, fill_lots
from annotator3d.data.simulator.models import Domain
from annotator3d.data.simulator.shapes import INSTANCES, MOVING
from annotator3d.data.simulator.street import Street
from annotator3d.data.simulator.surfaces import Primitives
from annotator3d.data.simulator.traffic import Thing, traffic

_BEYOND = 95.0  # metres of street behind the first and ahead of the last scan


class World:
    """Geometry of one sequence for a drive over ``0 <= s <= length``."""

    def __init__(self, domain: Domain, length: float, rng: np.random.Generator) -> None:
        self.domain = domain
        model = domain.street
        self.street = Street(model, -_BEYOND, length + _BEYOND, rng)
        standing = Kerbside(self.street, model, rng).fill(length)
        standing += fill_lots(self.street, model, rng)
        moving = traffic(self.street, model, length, rng)
        self._standing = [self._fix(thing, rng) for thing in standing]
        self._moving = [self._fix(thing, rng) for thing in moving]
        self._static = self._assemble(self._standing, 0.0, first_instance=1)
        self._first_mover = 1 + sum(thing.kind in INSTANCES for thing, _ in self._standing)
        self.ground = {
            name: float(np.clip(m.mean + m.spread * rng.normal(), 0.02, 0.98))
            for name, m in domain.materials.items()
        }

    def _fix(self, thing: Thing, rng: np.random.Generator) -> tuple[Thing, dict[str, float]]:
        """Draw how bright each material of a thing is, once for all scans."""
        names = dict.fromkeys(part.material for part in thing.parts)
        table = self.domain.materials
        shine = {n: table[n].mean + table[n].spread * rng.normal() for n in names}
        return thing, {n: float(np.clip(value, 0.005, 0.99)) for n, value in shine.items()}

    def primitives(self, time: float) -> Primitives:
        """All primitives at ``time`` seconds: the standing ones first, always in the same order."""
        inside = [
            (t, shine)
            for t, shine in self._moving
            if self.street.start < t.s + t.speed * time < self.street.end
        ]
        numbers = {id(t): k for k, (t, _) in enumerate(self._moving)}
        movers = [
            self._assemble([item], time, self._first_mover + numbers[id(item[0])])
            for item in inside
        ]
        out = self._static
        for mover in movers:
            out = out + mover
        return out

    def _assemble(
        self, things: list[tuple[Thing, dict[str, float]]], time: float, first_instance: int
    ) -> Primitives:
        rows, instance = [], first_instance
        for thing, shine in things:
            number = 0
            if thing.kind in INSTANCES:
                number, instance = instance, instance + 1
            rows += self._rows(thing, shine, time, number)
        columns = list(zip(*rows, strict=True)) if rows else [()] * 10
        integers = {0, 6, 7}
        shapes = {1: (-1, 3), 2: (-1, 3)}
        arrays = [
            np.array(column, dtype=np.int64 if k in integers else np.float64).reshape(
                shapes.get(k, -1)
            )
            for k, column in enumerate(columns)
        ]
        return Primitives(*arrays)

    def _rows(self, thing: Thing, shine: dict[str, float], time: float, number: int) -> list[tuple]:
        """One row of `Primitives` for each part."""
        x, y, way = self.street.place(thing.s + thing.speed * time, thing.d)
        yaw = way + thing.turn
        c, s = np.cos(yaw), np.sin(yaw)
        z = float(self.street.height(np.array(x), np.array(y)))
        rows = []
        for part in thing.parts:
            px, py, pz = part.centre
            centre = (x + c * px - s * py, y + s * px + c * py, z + pz)
            label = MOVING.get(part.label, part.label) if thing.speed else part.label
            loss = self.domain.materials[part.material].loss
            rows.append((part.shape, centre, part.half, yaw + part.yaw, part.density, part.gap,
                         label, number, shine[part.material], loss))  # fmt: skip
        return rows
