"""The ground of a world: a street along x, its lots on both sides, and cross streets.

Street coordinates ``(s, d)``: ``s`` is the world's x, ``d`` the lateral distance from the centre
line, positive to the left. Everything that a lot decides (parking lane, pavement, green strip,
yard) is a function of x and side only, so it lives in one table over x and a look-up is one gather.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.simulator.models import StreetModel

Array = NDArray[np.float64]

ROAD, PARKING, PAVEMENT, OTHER_GROUND, MARKING, TERRAIN = 40, 44, 48, 49, 60, 72
_STEP = 0.25  # metres between the rows of the table
_RAMP = 0.12  # width of the kerb: a vertical one would make the ground search oscillate
_KERB = 0.13
_STONE = 0.3  # pavement between the kerb and a green strip
_CROSS_HALF = 3.2
_BLEND = 24  # rows over which the slopes of neighbouring yards blend, to either side
_KERB_AT, _WALK, _VERGE, _VERGE_LABEL, _YARD_LABEL, _SLOPE = range(6)


class Street:
    """Ground height and class as functions of world x and y, for ``start <= x <= end``."""

    def __init__(
        self, model: StreetModel, start: float, end: float, rng: np.random.Generator
    ) -> None:
        self.start, self.end = start, end
        self.road_half = float(rng.uniform(*model.road_half))
        self.crown = model.crown
        crossings = _spread(rng, start, end, model.crossing)
        self.crossings = crossings[np.abs(crossings) > 20]  # the drive begins beside kerbs
        x = np.arange(start, end + 2 * _STEP, _STEP)
        phase = rng.uniform(0, 2 * np.pi, 4)
        bend = model.bend * rng.uniform(0.6, 1.0)
        centre = bend * np.sin(x / 38 + phase[0]) + 0.3 * bend * np.sin(x / 17 + phase[1])
        hill = model.grade * (30 * np.sin(x / 50 + phase[2]) + 8 * np.sin(x / 20 + phase[3]))
        cosine = 1 / np.hypot(1, np.gradient(centre, x))
        cross = np.full(len(x), np.inf)
        for at in self.crossings:
            cross = np.minimum(cross, np.abs(x - at) - _CROSS_HALF)
        smooth = np.column_stack([centre, cosine, hill, np.minimum(cross, 1e3)])
        self._smooth = np.hstack([smooth[:-1], np.diff(smooth, axis=0)])  # [X, 4 + 4]
        self.lots: list[list[tuple[float, float]]] = []  # per side (left, right): (from, to)
        sides = [self._make_side(model, x, rng) for _ in range(2)]
        self._sides = np.stack(sides, axis=1).reshape(-1, 6)  # [X * (left, right), 6]

    def _make_side(self, model: StreetModel, x: Array, rng: np.random.Generator) -> Array:
        """Divide one side into lots and fill its columns of the table: [X, 6]."""
        edges = np.concatenate([[self.start], _spread(rng, self.start, self.end, model.lot)])
        self.lots.append(list(zip(edges[:-1], edges[1:], strict=True)))
        n = len(edges)
        bays = np.repeat(rng.random(n), 3)[:n] < model.parking  # three lots share a parking lane
        bays |= self._holds(edges, -8.0 + 40.0 * (len(self.lots) - 1), 150.0)
        columns = np.empty((n, 6))
        columns[:, _KERB_AT] = self.road_half + 2.2 * bays
        columns[:, _WALK] = np.repeat(rng.uniform(*model.walk, n), 3)[:n]
        columns[:, _VERGE] = np.where(rng.random(n) < model.verge, 0.45 * columns[:, _WALK], 0)
        other = rng.random((2, n)) < model.other_ground
        other[1] |= self._holds(edges, 8.0 + 22.0 * (len(self.lots) - 1))
        columns[:, _VERGE_LABEL] = np.where(other[1], OTHER_GROUND, TERRAIN)
        columns[other[1], _VERGE] = 0.45 * columns[other[1], _WALK]
        lawn = np.where(rng.random(n) < model.lawn, TERRAIN, PAVEMENT)
        columns[:, _YARD_LABEL] = np.where(other[0], OTHER_GROUND, lawn)
        columns[:, _SLOPE] = model.yard_slope * rng.uniform(-0.7, 1.0, n)
        table = columns[np.clip(np.searchsorted(edges, x, side="right") - 1, 0, n - 1)]
        padded = np.pad(table[:, _SLOPE], _BLEND, mode="edge")  # no cliffs between the lots
        table[:, _SLOPE] = np.convolve(
            padded, np.full(2 * _BLEND + 1, 1 / (2 * _BLEND + 1)), "valid"
        )
        return table

    def _holds(self, edges: Array, first: float, period: float = 90.0) -> NDArray[np.bool_]:
        """A quota: the lots at ``first`` and then every ``period`` metres (s = 0: first scan)."""
        wanted = np.arange(first, self.end, period)
        held = np.zeros(len(edges), bool)
        held[np.clip(np.searchsorted(edges, wanted, side="right") - 1, 0, len(edges) - 1)] = True
        return held

    def _rows(self, x: Array) -> tuple[NDArray[np.int64], Array]:
        at = np.clip((x - self.start) / _STEP, 0, len(self._smooth) - 1.001)
        row = at.astype(np.int64)
        value = self._smooth.take(row, axis=0)
        return row, value[..., :4] + (at - row)[..., None] * value[..., 4:]

    def _zones(self, x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
        """Lateral distance, smooth row [.., 4], lot row [.., 6], distance outside of any street."""
        row, smooth = self._rows(x)
        d = (y - smooth[..., 0]) * smooth[..., 1]
        lot = self._sides.take(2 * row + (d < 0), axis=0)
        return d, smooth, lot, np.minimum(np.abs(d) - lot[..., _KERB_AT], smooth[..., 3])

    def height(self, x: Array, y: Array) -> Array:
        """Ground height [..] in metres at world ``x, y`` [..]."""
        d, smooth, lot, outside = self._zones(x, y)
        kerb = _KERB * np.clip(outside / _RAMP, 0, 1)
        yard = lot[..., _SLOPE] * np.clip(outside - lot[..., _WALK], 0, 15)
        fall = self.crown * np.minimum(np.abs(d), 12.0)
        return smooth[..., 2] + kerb + yard - fall

    def grade(self, x: Array) -> Array:
        """Slope of the street itself along x."""
        at = np.clip((x - self.start) / _STEP, 0, len(self._smooth) - 1.001).astype(np.int64)
        return self._smooth[at, 6] / _STEP

    def classify(self, x: Array, y: Array) -> NDArray[np.int64]:
        """Raw SemanticKITTI id of the ground [..] at world ``x, y`` [..]."""
        d, smooth, lot, outside = self._zones(x, y)
        side, cross = np.abs(d), smooth[..., 3]
        label = np.where(outside < lot[..., _WALK], PAVEMENT, lot[..., _YARD_LABEL])
        strip = (outside >= _STONE) & (outside < _STONE + lot[..., _VERGE]) & (cross > 4)
        label = np.where(strip, lot[..., _VERGE_LABEL], label)
        label = np.where(outside < 0, ROAD, label)
        bay = (side > self.road_half) & (outside < 0) & (cross > 1)
        label = np.where(bay, PARKING, label)
        dashes = (side < 0.08) & (np.mod(x, 6.0) < 3.0) & (cross > 3)
        return np.where(dashes, MARKING, label).astype(np.int64)

    def place(self, s: float, d: float) -> tuple[float, float, float]:
        """World ``x, y`` and direction of the street (radians) of street coordinates."""
        centre, cosine = self._rows(np.array(s))[1][:2]
        ahead = self._rows(np.array(s + 0.5))[1][0] - self._rows(np.array(s - 0.5))[1][0]
        return s, float(centre + d / cosine), float(np.arctan(ahead))

    def kerb(self, s: float, side: int) -> tuple[float, float, float]:
        """Distance of the kerb from the centre line, pavement width, parking lane width."""
        row = int(self._rows(np.array(s))[0])
        at, walk = self._sides[2 * row + (side < 0), :2]
        return float(at), float(walk), float(at - self.road_half)

    def clear_of_crossings(self, s: float, margin: float) -> bool:
        """Whether ``s`` is at least ``margin`` metres from the edge of every cross street."""
        return all(abs(s - at) > _CROSS_HALF + margin for at in self.crossings)


def _spread(rng: np.random.Generator, start: float, end: float, gap: tuple[float, float]) -> Array:
    """Positions in (start, end] whose distances are uniform in ``gap``."""
    count = int((end - start) / gap[0]) + 2
    at = start + rng.uniform(0.3, 1.0) * gap[0] + np.cumsum(rng.uniform(*gap, count)) - gap[0]
    return at[at <= end]
