"""The frozen parameters of the two simulated domains.

They are set by looking at real streets and at real HDL-64E scans (``docs/simulator.md``), never at
how well a strategy does on them. A change of one raises ``VERSION``: the numbers of two
versions must not be compared.
"""

from __future__ import annotations

from difflib import get_close_matches

import numpy as np

from annotator3d.data.simulator.models import Domain, Material, SensorModel, StreetModel

VERSION = 1


def _hdl64_elevations() -> tuple[float, ...]:
    upper = 2.3 - 0.33 * np.arange(32)
    lower = -8.4 - 0.495 * np.arange(32)
    return tuple(float(e) for e in np.concatenate([upper, lower]))


_IDEAL = Domain(
    name="ideal",
    sensor=SensorModel(
        elevations=tuple(float(e) for e in np.linspace(3.0, -25.0, 64)), attenuation=0.008
    ),
    street=StreetModel(
        parking=0.5,
        building=0.6,
        setback=(4.0, 4.0),
        hedge=0.4,
        groves=1.0,
        street_tree=0.5,
        sign=0.1,
        pole=0.15,
        crown_from=(1.3, 1.3),
    ),
    materials={
        "asphalt": Material(0.22),
        "bay": Material(0.26),
        "marking": Material(0.60),
        "paving": Material(0.40),
        "gravel": Material(0.45),
        "grass": Material(0.50),
        "paint": Material(0.65, 0.10),
        "glass": Material(0.20),
        "rubber": Material(0.10),
        "metal": Material(0.55),
        "cloth": Material(0.45),
        "wall": Material(0.60, 0.08),
        "wood": Material(0.40),
        "leaf": Material(0.55),
        "reflector": Material(0.90),
    },
)

_HDL64 = Domain(
    name="hdl64",
    sensor=SensorModel(
        elevations=_hdl64_elevations(),
        height=1.75,
        height_jitter=0.04,
        tilt_jitter=0.35,
        beam_gain=0.2,
        beam_bias=0.012,
        noise=0.015,
        noise_per_metre=0.0004,
        azimuth_jitter=0.02,
        mixed_pixels=0.25,
        threshold=0.0011,
        softness=0.45,
        random_loss=0.004,
        ego_shadow=True,
        outliers=0.0003,
        label_range=50.0,
        attenuation=0.002,
        lambert=0.25,
        intensity_noise=0.22,
        intensity_step=0.01,
    ),
    street=StreetModel(
        bend=9.0,
        grade=0.06,
        crown=0.025,
        road_half=(3.4, 4.2),
        lot=(9.0, 24.0),
        parking=0.12,
        parked=0.5,
        vans=0.18,
        walk=(2.2, 4.2),
        verge=0.6,
        other_ground=0.02,
        lawn=0.85,
        yard_slope=0.10,
        building=0.6,
        setback=(1.0, 14.0),
        storeys=(1.0, 4.0),
        fence=0.35,
        fence_gap=0.45,
        hedge=0.42,
        bushes=0.85,
        groves=0.7,
        thicket=0.8,
        shed=0.12,
        crown_from=(0.9, 2.6),
        street_tree=0.22,
        pole=0.2,
        sign=0.09,
        clutter=0.12,
        leaf_density=1.6,
        size_jitter=0.10,
        group=3,
        crossing=(60.0, 140.0),
        traffic=0.15,
    ),
    materials={
        "asphalt": Material(0.31, 0.05),
        "bay": Material(0.34, 0.04),
        "marking": Material(0.50, 0.05),
        "paving": Material(0.36, 0.04),
        "gravel": Material(0.43, 0.04, 0.0, 0.005),
        "grass": Material(0.42, 0.04, 0.0, 0.015),
        "paint": Material(0.10, 0.24, 0.05),
        "glass": Material(0.03, 0.01, 0.75),
        "rubber": Material(0.12, 0.06),
        "metal": Material(0.28, 0.18),
        "cloth": Material(0.46, 0.14),
        "wall": Material(0.44, 0.13, 0.04),
        "wood": Material(0.38, 0.10),
        "leaf": Material(0.37, 0.06),
        "reflector": Material(0.60, 0.25),
    },
)

DOMAINS: dict[str, Domain] = {"ideal": _IDEAL, "hdl64": _HDL64}


def get_domain(name: str) -> Domain:
    """The domain of that name; ValueError with the nearest name if there is none."""
    if name in DOMAINS:
        return DOMAINS[name]
    near = get_close_matches(str(name), DOMAINS, n=1, cutoff=0.0)[0]
    raise ValueError(
        f"domain: expected one of {', '.join(DOMAINS)}, got {name!r} (did you mean {near!r}?)"
    )
