"""Semantic patches: the points of whole classes of one scan, put into another one."""

from __future__ import annotations

import math

import numpy as np

from annotator3d.data.mixing.recipe import Piece, all_of, join
from annotator3d.data.scan import IGNORE, Scan

_KEPT = 0.5  # of the points of a patch


def with_patches(own: Scan, other: Scan, share: float, random: np.random.Generator) -> Scan:
    """All points of `own`, and a patch of each of some classes of `other`.

    Of the classes that `other` has labels of, `share` are drawn, at least one; of each half of the
    points, which are turned together about the sensor by an angle of their own.

    Args:
        own, other: with labels; what has none (255) is not pasted.

    Source: CoSMix (Saltori et al., ECCV 2022, arXiv 2207.09778), which also scales each patch.
    """
    present = np.unique(other.labels[other.labels != IGNORE])
    number = max(1, math.floor(share * len(present))) if len(present) else 0
    pieces = [all_of(own)]
    for label in np.sort(random.choice(present, number, replace=False)) if number else ():
        rows = np.flatnonzero(other.labels == label)
        kept = random.choice(rows, math.ceil(_KEPT * len(rows)), replace=False)
        pieces.append(Piece(other, np.sort(kept), random.uniform(-np.pi, np.pi)))
    return join(own, pieces).scan
