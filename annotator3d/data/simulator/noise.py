"""What a real sensor does to a perfect scan: lost returns, noise, intensity. [B, A] arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.simulator.models import SensorModel

Array = NDArray[np.float64]

# Azimuth sectors (degrees, counter-clockwise from ahead) in which the ego vehicle hides the beams
# below an elevation: roof edge ahead, rear, and two racks, as in KITTI.
_EGO = ((-13, 9, -20.0), (-22, 21, -21.8), (152, 208, -18.3), (165, 195, -17.0), (129, 138, -18.0),
        (120, 152, -21.8), (283, 297, -16.5))  # fmt: skip


class Rig(NamedTuple):
    """The sensor of one sequence; [B] per beam."""

    elevations: Array  # radians, falling
    bias: Array  # metres
    gain: Array  # of the intensity
    height: float


def returned(
    model: SensorModel, distance: Array, reflect: Array, loss: Array, cos: Array, rng
) -> NDArray[np.bool_]:
    """Which rays come back: not from the sky, and strong enough."""
    keep = np.isfinite(distance)
    if not model.threshold:
        return keep
    signal = reflect * np.maximum(cos, 0.01) ** 0.7 * np.square(10 / np.maximum(distance, 5.0))
    excess = np.log(np.maximum(signal, 1e-9) / model.threshold) / model.softness
    chance = (1 - loss) * (1 - model.random_loss) / (1 + np.exp(-np.clip(excess, -50, 50)))
    return keep & (rng.random(distance.shape) < chance)


def ego_shadow(elevations: Array, azimuths: int) -> NDArray[np.bool_]:
    """Which beams [B, azimuths] the ego vehicle itself hides."""
    up = np.degrees(elevations)[:, None]
    turn = 360.0 * np.arange(azimuths)[None] / azimuths
    hidden = np.zeros((len(elevations), azimuths), bool)
    for left, right, below in _EGO:
        hidden |= (up < below) & (np.mod(turn - left, 360) < right - left)
    return hidden


def grown(distance: Array, rough: Array, rays: Array, rng: np.random.Generator) -> Array:
    """Grass and gravel stop a ray a little above the ground, which is far before it at grazing."""
    if not rough.any():
        return distance
    early = rough * rng.standard_exponential(rough.shape) / np.maximum(-rays[..., 2], 0.05)
    return distance - np.minimum(early, 1.0)


def measure(model: SensorModel, rig: Rig, distance: Array, rng: np.random.Generator) -> Array:
    """Measured range: mixed pixels at edges, bias of the beam, noise."""
    out = np.where(np.isfinite(distance), distance, 0.0)
    if model.mixed_pixels:
        behind = np.roll(out, -1, axis=1) - out
        edge = (behind > 0.3) & (behind < 3.0) & (rng.random(out.shape) < model.mixed_pixels)
        out = out + np.where(edge, behind * np.square(rng.random(out.shape)), 0.0)
    if model.noise:
        spread = model.noise + model.noise_per_metre * out
        out = out + rig.bias[:, None] + spread * rng.normal(size=out.shape)
    return out


def intensity(
    model: SensorModel,
    rig: Rig,
    distance: Array,
    reflect: Array,
    cos: Array,
    rng: np.random.Generator,
) -> Array:
    """Intensity [B, A] in 0..0.99: material, angle, range, gain of the beam, noise."""
    value = rig.gain[:, None] * reflect * (1 - model.lambert + model.lambert * cos)
    value = value * np.exp(-model.attenuation * distance)
    if model.intensity_noise:
        value = value * (1 + model.intensity_noise * rng.normal(size=value.shape))
    if model.intensity_step:
        value = np.round(value / model.intensity_step) * model.intensity_step
    return np.clip(value, 0.0, 0.99)
