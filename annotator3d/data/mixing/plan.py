"""Which scan each training scan is mixed with, and with which random numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.mixing.recipe import MixRecipe, Mixture, join
from annotator3d.data.scan import Scan


class Candidates(Protocol):
    """Training scans that others are mixed with."""

    def labelled(self) -> NDArray[np.int64]:
        """Indices of the scans that training knows a class in, ascending; all if there is none."""
        ...


@dataclass
class MixPlan:
    """What is drawn depends on seed, epoch and scan alone: not on processes or workers, nor on
    what was drawn for others.

    Attributes:
        others: the scans to mix with.
        source: whether the scans that are mixed are the source's, and the others the target's;
            None: all are of the target.
        until: epochs that mix; None: all.
    """

    recipe: MixRecipe
    others: Candidates
    seed: int
    source: bool | None = None
    until: int | None = None

    def is_active(self, epoch: int) -> bool:
        return self.until is None or epoch < self.until

    def partner(self, index: int, epoch: int, draw: int) -> int | None:
        """The index in `others` of the scan that scan `index` is mixed with, if it is.

        Args:
            draw: what is drawn depends on it, as on the epoch and the seed.
        """
        random = self._random(draw, epoch, 0)
        if not self.is_active(epoch) or random.random() >= self.recipe.probability:
            return None
        candidates = self.others.labelled()
        if self.source is None:  # not with itself
            candidates = candidates[candidates != index]
        return int(candidates[random.integers(len(candidates))]) if len(candidates) else None

    def mix(self, own: Scan, other: Scan, epoch: int, draw: int) -> Mixture:
        """A scan mixed with its partner; see `partner`."""
        return join(own, self.recipe.pieces(own, other, self._random(draw, epoch, 1)))

    def _random(self, draw: int, epoch: int, what: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, draw, 1 + what + 2 * bool(self.source)])
