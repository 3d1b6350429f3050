"""LaserMix: bands of elevation, by turns from one scan and from the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.mixing.recipe import MixRecipe, Piece, require
from annotator3d.data.scan import Scan
from annotator3d.errors import in_yaml
from annotator3d.registry import MIXES

_OUTERMOST = (1, 99)  # percentiles of elevation: a few stray points do not make the bands wide


@MIXES.register_module("lasermix")
class LaserMix(MixRecipe):
    """A band of beams of one scan, the next one of the other, and so on up.

    Args:
        bands: numbers of bands, one of which is drawn for each mix.
        pitch: elevation in degrees between which the bands are spread evenly; points below and
            above belong to the outermost ones. None: between the 1st and the 99th percentile of
            the points of both scans.
        probability: see `MixRecipe`.

    Source: Kong et al., CVPR 2023 (arXiv 2207.00026). There the highest band is always of the first
    scan; here a coin says which scan has the lowest.
    """

    def __init__(
        self,
        bands: list[int] = [3, 4, 5, 6],  # noqa: B006  never changed
        pitch: list[float] | None = None,
        probability: float = 1.0,
    ) -> None:
        super().__init__(probability=probability)
        if not bands:
            raise ValueError("bands: expected one number or more, such as [3, 4, 5, 6], got []")
        self.bands = [int(require("bands", number, 2, 1000)) for number in bands]
        if pitch is not None and not (len(pitch) == 2 and -90 <= pitch[0] < pitch[1] <= 90):
            raise ValueError(
                "pitch: expected two elevations in degrees, the lower one first, such as "
                f"[-25, 3], got {in_yaml(pitch)}"
            )
        self.pitch = pitch

    def pieces(self, own: Scan, other: Scan, random: np.random.Generator) -> list[Piece]:
        number, lowest = self.bands[random.integers(len(self.bands))], random.integers(2)
        elevations = [_elevation(scan) for scan in (own, other)]
        inner = self._edges(np.concatenate(elevations), number)[1:-1]
        bands = [np.searchsorted(inner, each, side="right") for each in elevations]
        return [
            Piece(own, np.flatnonzero(bands[0] % 2 == lowest)),
            Piece(other, np.flatnonzero(bands[1] % 2 != lowest)),
        ]

    def _edges(self, elevation: NDArray[np.float32], number: int) -> NDArray[np.float32]:
        limits = self.pitch
        if limits is None:
            limits = np.percentile(elevation, _OUTERMOST) if len(elevation) else (0, 0)
        return np.linspace(*limits, number + 1, dtype=np.float32)


def _elevation(scan: Scan) -> NDArray[np.float32]:
    """[N] degrees above the horizon of the sensor."""
    x, y, z = scan.xyz.T
    return np.degrees(np.arctan2(z, np.hypot(x, y)))
