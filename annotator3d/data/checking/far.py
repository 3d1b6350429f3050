"""Problems of where the points of a scan lie: far from each other, or from the origin."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.extent import COARSE, FINE, REACH, middle, step_at, strays


def far_points(
    xyz: NDArray[np.float32], finite: NDArray[np.bool_], beyond: NDArray[np.bool_]
) -> Iterator[tuple[str, str]]:
    """Kinds and words of what is wrong with where the points [N, 3] of a scan lie.

    Args:
        finite, beyond: [N], which points are finite, and which of these are beyond `REACH`.
    """
    of = f"of {len(xyz):,} points"
    if beyond.any():
        words = f"{int(beyond.sum()):,} {of} are farther than {REACH / 1000:,.0f} km, the first in "
        yield "far points", f"{words}row {beyond.argmax()}; training leaves them out"
    rows = np.flatnonzero(finite & ~beyond)
    alone = rows[strays(xyz[rows])]
    if len(alone):
        words = f"{len(alone):,} {of} lie far from all others, up to "
        far = np.abs(xyz[alone]).max() / 1000
        yield "far points", f"{words}{far:,.1f} km, the first in row {alone[0]}"
    where = np.abs(middle(xyz[rows])).max()
    if (step := step_at(where)) >= FINE:
        words = f"most points lie around {where:.3g} m, where float32 holds steps of {step:g} m; "
        kind = "large coordinates" if step >= COARSE else "coarse coordinates"
        yield kind, f"{words}subtract an offset in double precision, as `annotator3d import` does"
