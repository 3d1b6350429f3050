"""Balanced mixing: as many labelled points of another scan as a scan has of its own."""

from __future__ import annotations

import numpy as np

from annotator3d.data.mixing.recipe import MixRecipe, Piece, all_of, labelled, require
from annotator3d.data.scan import Scan
from annotator3d.registry import MIXES


@MIXES.register_module("balanced")
class BalancedMix(MixRecipe):
    """The labelled points of a scan with equally many labelled ones of another, drawn at random.

    The source comes in through the mixes only: there are no source batches beside them, which would
    outweigh the answers again. A scan without a labelled point stays as it is.

    Args:
        unlabelled: whether the points without a label stay, too. The paper can be read either way.
        ratio: points of the other scan for each labelled one.
        probability: see `MixRecipe`.

    Source: DDAL, dual-domain mixing, equation 8: the labelled points of the target and the same
    number of random source points. More of the source was worse there.
    """

    keeps_source = False

    def __init__(
        self, unlabelled: bool = True, ratio: float = 1.0, probability: float = 1.0
    ) -> None:
        super().__init__(probability=probability)
        self.ratio = require("ratio", ratio, 0, 1000)
        self.unlabelled = self.dense = unlabelled

    def pieces(self, own: Scan, other: Scan, random: np.random.Generator) -> list[Piece]:
        known, candidates = labelled(own), labelled(other)
        if not len(known):
            return [all_of(own)]
        number = min(round(self.ratio * len(known)), len(candidates))
        drawn = np.sort(random.choice(candidates, number, replace=False, shuffle=False))
        kept = all_of(own) if self.unlabelled else Piece(own, known)
        return [kept, Piece(other, drawn)]
