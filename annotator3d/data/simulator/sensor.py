"""From first hits to the points of a scan: geometry of the beams, noise, loss, intensity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.simulator.caster import cast
from annotator3d.data.simulator.models import SensorModel
from annotator3d.data.simulator.noise import Rig, ego_shadow, grown, intensity, measure, returned
from annotator3d.data.simulator.street import (
    MARKING,
    OTHER_GROUND,
    PARKING,
    PAVEMENT,
    ROAD,
    TERRAIN,
)
from annotator3d.data.simulator.surfaces import GROUND, Hits, Primitives, cosines
from annotator3d.data.simulator.world import World

Array = NDArray[np.float64]

_GROUND_MATERIAL = {ROAD: "asphalt", PARKING: "bay", MARKING: "marking", PAVEMENT: "paving"}
_GROUND_MATERIAL |= {OTHER_GROUND: "gravel", TERRAIN: "grass"}


class Points(NamedTuple):
    """A scan in file order: ring by ring from the top, counter-clockwise."""

    xyz: NDArray[np.float32]  # [N, 3] metres, sensor frame
    intensity: NDArray[np.float32]  # [N] 0..1
    label: NDArray[np.uint16]  # [N] raw SemanticKITTI id
    instance: NDArray[np.uint16]  # [N]


def beam_elevations(model: SensorModel, beams: int) -> Array:
    """Elevations [beams] in radians, from the highest beam down."""
    pattern = np.radians(model.elevations)
    at = np.linspace(0, len(pattern) - 1, beams) if beams > 1 else np.array([len(pattern) / 2])
    return np.interp(at, np.arange(len(pattern)), pattern)


def rings_of(xyz: NDArray[np.float32], elevations: Array) -> NDArray[np.float32]:
    """The beam [N] of each point [N, 3] of a scan: the one whose elevation is nearest.

    Noise moves a point along its beam, so that its elevation stays that of the beam.
    """
    x, y, z = xyz.T.astype(np.float64)
    between = (elevations[1:] + elevations[:-1])[::-1] / 2
    above = len(between) - np.searchsorted(between, np.arctan2(z, np.hypot(x, y)))
    return above.astype(np.float32)


def make_rig(model: SensorModel, beams: int, rng: np.random.Generator) -> Rig:
    """Beams spread evenly over the domain's pattern, with this sensor's own small errors."""
    elevations = beam_elevations(model, beams)
    bias = model.beam_bias * rng.normal(size=beams)
    gain = np.clip(1 + model.beam_gain * rng.normal(size=beams), 0.2, 1.5)
    return Rig(elevations, bias, gain, model.height + model.height_jitter * float(rng.normal()))


def scan(
    world: World, rig: Rig, pose: Array, time: float, azimuths: int, rng: np.random.Generator
) -> Points:
    """Points of the sensor at ``pose`` [4, 4] (sensor -> world) at ``time`` seconds."""
    model = world.domain.sensor
    beams = len(rig.elevations)
    local = _beam_directions(model, rig, azimuths, rng)
    rays = local @ pose[:3, :3].T
    origin = pose[:3, 3]
    primitives = _in_reach(world.primitives(time), origin, model.max_range)
    heading = float(np.arctan2(pose[1, 0], pose[0, 0]))
    tilt = float(np.arccos(np.clip(pose[2, 2], -1, 1)))
    slack = 1.3 * tilt + 4 * np.radians(model.azimuth_jitter) + 1e-3
    hits = cast(
        origin, rays, heading, rig.elevations, slack, primitives, world.street,
        model.max_range, rng,
    )  # fmt: skip
    label, instance, reflect, loss, rough = _surfaces(world, primitives, hits, origin, rays)
    cos = cosines(primitives, hits, origin, rays)
    keep = returned(model, hits.range, reflect, loss, cos, rng)
    if model.ego_shadow:
        keep &= ~ego_shadow(rig.elevations, azimuths)
    distance = measure(model, rig, grown(hits.range, rough, rays, rng), rng)
    strength = intensity(model, rig, distance, reflect, cos, rng)
    if model.outliers:
        stray = keep & (rng.random((beams, azimuths)) < model.outliers)
        distance = np.where(stray, distance * rng.uniform(0.2, 1.0, distance.shape), distance)
        label, instance = np.where(stray, 1, label), np.where(stray, 0, instance)
    far = distance > model.label_range
    label, instance = np.where(far, 0, label), np.where(far, 0, instance)
    keep &= distance >= model.min_range
    xyz = (distance[..., None] * local)[keep].astype(np.float32)
    return Points(
        xyz,
        strength[keep].astype(np.float32),
        label[keep].astype(np.uint16),
        instance[keep].astype(np.uint16),
    )


def _beam_directions(
    model: SensorModel, rig: Rig, azimuths: int, rng: np.random.Generator
) -> Array:
    """Unit vectors [B, A, 3] in the sensor frame."""
    turn = 2 * np.pi * np.arange(azimuths) / azimuths
    turn = np.broadcast_to(turn, (len(rig.elevations), azimuths))
    if model.azimuth_jitter:
        turn = turn + np.radians(model.azimuth_jitter) * rng.normal(size=turn.shape)
    up = rig.elevations[:, None]
    flat = np.cos(up)
    z = np.broadcast_to(np.sin(up), turn.shape)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=-1)


def _in_reach(p: Primitives, origin: Array, max_range: float) -> Primitives:
    away = np.hypot(*(p.centre[:, :2] - origin[:2]).T) - np.hypot(p.half[:, 0], p.half[:, 1])
    return p.take(np.nonzero(away < max_range)[0])


def _surfaces(
    world: World, p: Primitives, hits: Hits, origin: Array, rays: Array
) -> tuple[NDArray, NDArray, Array, Array, Array]:
    """Label, instance, reflectivity, lost share and roughness of what each ray has met."""
    shape = hits.range.shape
    label, instance = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    reflect, loss = np.zeros(shape), np.zeros(shape)
    thing = hits.primitive >= 0
    rows = hits.primitive[thing]
    label[thing], instance[thing] = p.label[rows], p.instance[rows]
    reflect[thing], loss[thing] = p.reflect[rows], p.loss[rows]
    ground = hits.primitive == GROUND
    at = origin[:2] + hits.range[ground][:, None] * rays[ground][:, :2]
    label[ground] = world.street.classify(at[:, 0], at[:, 1])
    shine, height = np.zeros(TERRAIN + 1), np.zeros(TERRAIN + 1)
    for raw, material in _GROUND_MATERIAL.items():
        shine[raw] = world.ground[material]
        height[raw] = world.domain.materials[material].rough
    rough = np.zeros(shape)
    reflect[ground], rough[ground] = shine[label[ground]], height[label[ground]]
    return label, instance, reflect, loss, rough
