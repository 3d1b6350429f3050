"""The edges of voxels, to be drawn as boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_EDGES = np.array([[a, a | bit] for bit in (1, 2, 4) for a in range(8) if not a & bit])


def box_edges(centres: ArrayLike, size: float) -> NDArray[np.float64]:
    """The twelve edges of each of Q cubes: [12 Q, 2, 3] line segments, box by box.

    Args:
        centres: [Q, 3].
        size: length of an edge.
    """
    middles = np.asarray(centres, np.float64).reshape(-1, 1, 1, 3)
    return (middles + size * _CORNERS[_EDGES]).reshape(-1, 2, 3)
