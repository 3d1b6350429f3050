"""Pasting: places around labelled points of another scan take the places of a scan's own points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.mixing.recipe import MixRecipe, Piece, class_ids, labelled, require
from annotator3d.data.scan import IGNORE, Scan
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.registry import MIXES


@MIXES.register_module("paste")
class Paste(MixRecipe):
    """Answered voxels and objects with what is around them, turned about the sensor.

    For each patch a class is drawn among those that the other scan has labels of, so that rare ones
    are pasted as often as others, then one of its points. All points of the other scan within
    `radius` of it, in plan, come with their labels or without; they keep their distance and height
    and take the place of the scan's own points there. Labelled ones of its own stay. A patch that
    would meet an earlier one is left out.

    Args:
        classes: that patches are drawn of. None: all.
        patches: most patches in a scan.
        radius: in metres.
        probability: see `MixRecipe`.
    """

    def __init__(
        self,
        classes: list[str] | None = None,
        patches: int = 5,
        radius: float = 2.0,
        probability: float = 1.0,
    ) -> None:
        super().__init__(probability=probability)
        self.classes = classes
        self.patches = int(require("patches", patches, 1, 1000))
        self.radius = require("radius", radius, 0.01, 1000)
        self._ids = np.arange(IGNORE, dtype=np.uint8)

    def prepare(self, taxonomy: Taxonomy) -> None:
        if self.classes is not None:
            self._ids = class_ids(self.classes, taxonomy)

    def pieces(self, own: Scan, other: Scan, random: np.random.Generator) -> list[Piece]:
        known = labelled(other)
        of_class = other.labels[known]
        present = np.intersect1d(of_class, self._ids)
        kept, patches, centres = np.ones(len(own), bool), [], []
        for _ in range(self.patches if len(present) else 0):
            chosen = known[of_class == present[random.integers(len(present))]]
            middle = other.xyz[chosen[random.integers(len(chosen))], :2].astype(np.float64)
            turn = random.uniform(-np.pi, np.pi)
            cos, sin = np.cos(turn), np.sin(turn)
            centre = np.array(
                [cos * middle[0] - sin * middle[1], sin * middle[0] + cos * middle[1]]
            )
            if any(np.linalg.norm(centre - each) < 2 * self.radius for each in centres):
                continue
            centres.append(centre)
            kept &= ~_within(own, centre, self.radius)
            patches.append(Piece(other, np.flatnonzero(_within(other, middle, self.radius)), turn))
        kept |= own.labels != IGNORE
        return [Piece(own, np.flatnonzero(kept)), *patches]


def _within(scan: Scan, centre: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    """[N] whether a point is this near to `centre` [2], in plan."""
    x, y, _ = scan.xyz.T
    x, y = x - np.float32(centre[0]), y - np.float32(centre[1])
    return x * x + y * y <= np.float32(radius * radius)
