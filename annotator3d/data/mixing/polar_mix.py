"""PolarMix: half of the surroundings of another scan, and its objects, turned and pasted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.mixing.recipe import MixRecipe, Piece, all_of, class_ids, require
from annotator3d.data.scan import Scan
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.errors import ConfigError
from annotator3d.registry import MIXES

_APART = 2 * np.pi / 3  # the widest turn between one copy and the next


@MIXES.register_module("polarmix")
class PolarMix(MixRecipe):
    """Swap a half circle of azimuth, then paste the points of some classes, also turned.

    Pasted are the points of the other scan that have one of the classes: where only a few voxels
    are answered, what is answered of them.

    Args:
        classes: whose points are pasted. None: those that move, as the class list says.
        swap: probability of the half circle.
        paste: probability of pasting: once where the points are, once turned by up to a third of a
            circle, once by up to a third more.
        probability: see `MixRecipe`.

    Source: Xiao et al., NeurIPS 2022 (arXiv 2208.00223), whose code pastes twice what the half
    circle has already brought.
    """

    def __init__(
        self,
        classes: list[str] | None = None,
        swap: float = 0.5,
        paste: float = 1.0,
        probability: float = 1.0,
    ) -> None:
        super().__init__(probability=probability)
        self.classes = classes
        self.swap = require("swap", swap, 0, 1)
        self.paste = require("paste", paste, 0, 1)
        self._ids = np.empty(0, np.uint8)

    def prepare(self, taxonomy: Taxonomy) -> None:
        if self.classes is not None:
            self._ids = class_ids(self.classes, taxonomy)
        elif taxonomy.moves is not None:
            self._ids = np.flatnonzero(taxonomy.moves).astype(np.uint8)
        elif self.paste > 0:
            raise ConfigError(
                f"training.mix.classes: the class list {taxonomy.name!r} does not say which of its "
                "classes move; name the classes to paste, or set training.mix.paste=0"
            )

    def pieces(self, own: Scan, other: Scan, random: np.random.Generator) -> list[Piece]:
        swaps, pastes = random.random() < self.swap, random.random() < self.paste
        start = random.uniform(-np.pi, np.pi)
        turns = [_APART * random.random(), _APART * (1 + random.random())]
        found, there = [all_of(own)], np.zeros(len(other), bool)
        if swaps:
            there = _in_half(other, start)
            found = [Piece(own, np.flatnonzero(~_in_half(own, start)))]
            found.append(Piece(other, np.flatnonzero(there)))
        if pastes:
            pasted = np.isin(other.labels, self._ids)
            found.append(Piece(other, np.flatnonzero(pasted & ~there)))
            found += [Piece(other, np.flatnonzero(pasted), turn) for turn in turns]
        return found


def _in_half(scan: Scan, start: float) -> NDArray[np.bool_]:
    """[N] whether a point is up to half a circle counter-clockwise of the azimuth `start`."""
    x, y, _ = scan.xyz.T
    return y * np.float32(np.cos(start)) > x * np.float32(np.sin(start))
