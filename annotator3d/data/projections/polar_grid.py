"""The polar grid: cells by distance, direction and height around the sensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from annotator3d.data.projections.projected import PointSet, Projected
from annotator3d.kernels.grouping import group_cells

MOST = 8192  # cells of an axis
CHANNELS = 9


@dataclass(frozen=True)
class PolarGrid:
    """A cylinder around the sensor, cut as a cake is (PolarNet, Zhang et al., CVPR 2020).

    A point nearer or farther, higher or lower than the cylinder belongs to the outermost cell on
    its side, as in the published code, so that each point has a cell. The first cell of the
    directions follows the last.

    Attributes:
        grid: cells by distance from the axis, by direction and by height.
        reach: nearest and farthest distance from the axis, metres.
        heights: lowest and highest z, metres.
    """

    grid: tuple[int, int, int] = (480, 360, 32)
    reach: tuple[float, float] = (3.0, 50.0)
    heights: tuple[float, float] = (-3.0, 1.5)

    by_first: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if len(self.grid) != 3 or not all(1 <= n <= MOST for n in self.grid):
            raise ValueError(f"grid: expected three numbers from 1 to {MOST:,}, got {self.grid}")
        for name, least in (("reach", 0.0), ("heights", -np.inf)):
            given = getattr(self, name)
            if len(given) != 2 or not least <= given[0] < given[1]:
                raise ValueError(
                    f"{name}: expected two numbers in metres, the smaller one first, got "
                    f"{list(given)}"
                )

    def project(self, points: PointSet) -> Projected:
        """The cells (distance, direction, height) of a scan, and what is told of a point.

        [N, 9]: distance from the axis (metres), direction (radians) and z from the middle of its
        cell; the same three themselves; x, y; intensity.

        Raises:
            ValueError: none of the points is within the cylinder.
        """
        xyz = points.xyz.astype(np.float64)
        polar = np.column_stack(
            [np.hypot(xyz[:, 0], xyz[:, 1]), np.arctan2(xyz[:, 1], xyz[:, 0]), xyz[:, 2]]
        )
        low = np.array([self.reach[0], -np.pi, self.heights[0]])
        high = np.array([self.reach[1], np.pi, self.heights[1]])
        self._refuse_none_inside(points.scan_id, polar, low, high)
        grid = np.array(self.grid)
        edge = (high - low) / grid
        # Clipped as floats: a point far away may be more cells away than an integer holds.
        cells = np.clip(np.floor((polar - low) / edge), 0, grid - 1).astype(np.int32)
        middle = (cells + 0.5) * edge + low
        told = np.column_stack([polar - middle, polar, xyz[:, :2], points.intensity])
        grouped = group_cells(torch.from_numpy(cells))
        return Projected(grouped, torch.from_numpy(told.astype(np.float32)))

    def _refuse_none_inside(
        self, scan_id: str, polar: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> None:
        if not len(polar) or ((polar >= low) & (polar <= high)).all(1).any():
            return
        near, _, bottom = polar.min(0)
        far, _, top = polar.max(0)
        raise ValueError(
            f"scan {scan_id}: none of its {len(polar):,} points is within the polar grid, "
            f"{low[0]:g} to {high[0]:g} m from the sensor and {low[2]:g} to {high[2]:g} m high; "
            f"they are {near:.1f} to {far:.1f} m away and {bottom:.1f} to {top:.1f} m high; set "
            "model.backbone.reach and heights to where the points are, or look at their unit"
        )
