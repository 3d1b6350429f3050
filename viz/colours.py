"""Colours of points as arrays of RGB, and the colours of everything else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator3d.ledger.records import IGNORE, UNASSIGNED

Colours = NDArray[np.float32]  # [N, 3] 0..1

REVIEW_MODE = "difference"
"""While answers are reviewed: the points of the voxel that people labelled differently."""
MODES = ("height", "intensity", "prediction", "answer", "confusion")
NONE = np.float32([0.45, 0.45, 0.45])  # no value: no answer yet, no prediction stored
NO_CLASS = np.float32([0.85, 0.2, 0.85])  # answered: none of the classes
DIFFERENT = np.float32([1.0, 0.1, 0.1])  # people gave the point different labels
ALIKE = np.float32([0.75, 0.9, 0.75])  # all gave it the same
PART = np.float32([1.0, 0.55, 0.0])  # the points that the next class goes to
OPEN_PIN = np.float32([1.0, 0.8, 0.1])
PASSED_PIN = np.float32([0.5, 0.5, 0.5])  # skipped, or unsure
BOX = np.float32([0.75, 0.75, 0.2])
CURRENT_BOX = np.float32([1.0, 0.25, 0.1])
INK = {"dark": (1.0, 1.0, 1.0), "light": (0.0, 0.0, 0.0)}  # of the numbers, by background
BACKGROUNDS = {"dark": (0.08, 0.08, 0.09, 1.0), "light": (1.0, 1.0, 1.0, 1.0)}


@dataclass(frozen=True, eq=False)
class PointValues:
    """The properties of N points that can be shown; None where a round stored nothing."""

    height: NDArray[np.float32]  # [N] metres
    intensity: NDArray[np.float32]  # [N]
    prediction: NDArray[np.uint8] | None  # [N] train ids, 255 = none
    answer: NDArray[np.uint8]  # [N] train ids, 255 = none of the classes, 254 = no answer
    confusion: NDArray[np.float32] | None  # [N], NaN = none


def colours(values: PointValues, mode: str, palette: Colours) -> Colours:
    """Colours [N, 3] of points under one of `MODES`; `palette` [C, 3] are those of the classes."""
    if mode == "height":
        return ramp(values.height, "viridis")
    if mode == "intensity":
        return ramp(values.intensity, "magma", floor=0.15)
    if mode == "confusion":
        return ramp(values.confusion, "inferno", len(values.height), floor=0.15)
    if mode == "prediction":
        return classes(values.prediction, palette, len(values.height))
    if mode == "answer":
        return classes(values.answer, palette, len(values.height))
    raise ValueError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")


def classes(ids: NDArray[np.uint8] | None, palette: Colours, count: int) -> Colours:
    """Colours of train ids [N]; unanswered points and points without a class have their own."""
    table = np.tile(NONE, (256, 1))
    table[: len(palette)] = palette
    table[IGNORE], table[UNASSIGNED] = NO_CLASS, NONE
    return np.tile(NONE, (count, 1)) if ids is None else table[ids]


def ramp(
    values: NDArray[np.float32] | None, name: str, count: int = 0, floor: float = 0.0
) -> Colours:
    """Values [N] on a colour map of matplotlib, from their 2nd to their 98th percentile.

    Args:
        values: None gives `count` times the colour of no value, as NaN does.
        floor: where on the map the lowest value lies: dark ends do not show on a dark background.
    """
    from matplotlib import colormaps

    if values is None or not len(values):
        return np.tile(NONE, (count, 1))
    known = np.isfinite(values)
    found = np.tile(NONE, (len(values), 1))
    if known.any():
        low, high = np.percentile(values[known], (2, 98))
        share = np.clip((values[known] - low) / max(high - low, 1e-6), 0, 1)
        table = colormaps[name](np.linspace(floor, 1, 256))[:, :3].astype(np.float32)
        found[known] = table[(share * 255).astype(np.int64)]
    return found
