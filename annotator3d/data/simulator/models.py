"""What a domain consists of: the parameters of its sensor, its streets and its materials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Range = tuple[float, float]


@dataclass(frozen=True)
class Material:
    """How a surface reflects: mean (0..1), spread between objects, share of lost returns,
    height of what grows or lies on it in metres."""

    mean: float
    spread: float = 0.0
    loss: float = 0.0
    rough: float = 0.0


@dataclass(frozen=True)
class SensorModel:
    """A spinning lidar. Lengths in metres, angles in degrees."""

    elevations: tuple[float, ...]  # from the top beam down
    height: float = 1.73
    height_jitter: float = 0.0  # per sequence
    tilt_jitter: float = 0.0  # per scan, pitch and roll
    max_range: float = 80.0
    min_range: float = 0.9
    beam_gain: float = 0.0  # spread of the beams' intensity, per sequence
    beam_bias: float = 0.0  # range bias of each beam, per sequence
    noise: float = 0.0
    noise_per_metre: float = 0.0
    azimuth_jitter: float = 0.0
    mixed_pixels: float = 0.0  # share of edge points that lie between the two surfaces
    threshold: float = 0.0  # received signal at which half of the returns are lost
    softness: float = 0.5
    random_loss: float = 0.0
    ego_shadow: bool = False
    outliers: float = 0.0
    label_range: float = np.inf  # annotators left farther points unlabeled
    attenuation: float = 0.0  # intensity ~ exp(-attenuation * range)
    lambert: float = 0.0  # 0: intensity ignores the angle, 1: proportional to its cosine
    intensity_noise: float = 0.0
    intensity_step: float = 0.0


@dataclass(frozen=True)
class StreetModel:
    """What a street looks like: lengths in metres, shares in 0..1."""

    bend: float = 0.0  # amplitude of the centre line
    grade: float = 0.0  # steepest slope
    crown: float = 0.0  # slope of the road from its middle to its sides
    road_half: Range = (3.8, 3.8)
    lot: Range = (14.0, 14.0)  # length of a lot
    parking: float = 1.0  # share of lots with a parking lane
    parked: float = 0.5  # share of parking slots in use
    vans: float = 0.0  # share of parked cars that are vans
    walk: Range = (3.0, 3.0)
    verge: float = 0.5  # share of lots with a green strip
    other_ground: float = 0.08
    lawn: float = 0.5  # share of yards that are terrain
    yard_slope: float = 0.0
    building: float = 1.0  # share of lots with a building
    setback: Range = (2.0, 2.0)
    storeys: Range = (2.0, 5.0)
    fence: float = 0.4
    fence_gap: float = 0.0  # share of rays that pass a fence
    hedge: float = 0.2
    bushes: float = 0.0
    groves: float = 0.0
    thicket: float = 0.0  # share of lots with a wall of leaves far behind
    shed: float = 0.0  # share of lots with another structure: raw class 52
    crown_from: Range = (1.8, 1.8)  # height of the lowest leaves of a tree
    street_tree: float = 0.4  # share of kerb slots
    pole: float = 0.1
    sign: float = 0.05
    clutter: float = 0.05  # bins, boxes, benches: raw class 99
    leaf_density: float = 0.0  # 1/m; 0 is solid
    size_jitter: float = 0.0
    group: int = 1  # persons standing together, at most
    crossing: Range = (90.0, 90.0)  # distance between cross streets
    traffic: float = 0.3  # moving cars per 10 m of lane


@dataclass(frozen=True)
class Domain:
    name: str
    sensor: SensorModel
    street: StreetModel
    materials: dict[str, Material]
