"""Range images: one row for each beam of the sensor, one column for each direction around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from annotator3d.data.projections.projected import PointSet, Projected
from annotator3d.kernels import Voxels
from annotator3d.kernels.grouping import group_cells

ROWS = ("auto", "ring", "angle")
MOST_HEIGHT, MOST_WIDTH = 4096, 65536
CHANNELS = 5  # range, x, y, z, intensity


@dataclass(frozen=True)
class RangeImage:
    """The view of the sensor, as in RangeNet++ (Milioto et al., IROS 2019).

    Columns run clockwise from behind the sensor, once around; the first one follows the last. Of
    several points of a pixel the nearest is seen (of equally near ones, the first of the file).

    Attributes:
        height, width: pixels.
        fov: degrees above (positive) the horizon of the highest and of the lowest row.
        rows: ``ring``: the row of a point is its ring number; ``angle``: its elevation, spread
            evenly over `fov`, where points above or below go to the outermost rows; ``auto``:
            ``ring`` where the scan has ring numbers, else ``angle``.
    """

    height: int = 64
    width: int = 2048
    fov: tuple[float, float] = (3.0, -25.0)
    rows: str = "auto"

    by_first: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, most in (("height", MOST_HEIGHT), ("width", MOST_WIDTH)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name}: expected 1 to {most:,}, got {getattr(self, name)!r}")
        if len(self.fov) != 2 or not 90 >= self.fov[0] > self.fov[1] >= -90:
            raise ValueError(
                "fov: expected two elevations in degrees, the higher one first, from 90 to -90, "
                f"got {list(self.fov)}"
            )
        if self.rows not in ROWS:
            raise ValueError(f"rows: expected one of {', '.join(ROWS)}, got {self.rows!r}")

    def project(self, points: PointSet) -> Projected:
        """The pixels (row, column, 0) of a scan, and [N, 5]: range, x, y, z, intensity.

        Raises:
            ValueError: the scan has no ring numbers, or none that are rows of this image; or none
                of its points is in the field of view.
        """
        xyz = points.xyz.astype(np.float64)
        distance = np.linalg.norm(xyz, axis=1)
        cells = np.zeros((len(xyz), 3), np.int32)
        cells[:, 0] = self._rows(points, xyz, distance)
        # -pi to pi, counter-clockwise from ahead; the right edge of the image is behind, too.
        turn = np.arctan2(xyz[:, 1], xyz[:, 0])
        columns = np.floor(0.5 * (1 - turn / np.pi) * self.width).astype(np.int64)
        cells[:, 1] = columns % self.width
        told = np.column_stack([distance, points.xyz, points.intensity]).astype(np.float32)
        return Projected(_nearest_first(cells, distance), torch.from_numpy(told))

    def _rows(
        self, points: PointSet, xyz: NDArray[np.float64], distance: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        if self.rows == "ring" and points.ring is None:
            raise ValueError(
                f"scan {points.scan_id} has no ring numbers, which rows='ring' needs: its data set "
                "does not store them; use model.backbone.rows=angle"
            )
        if self.rows != "angle" and points.ring is not None:
            return self._of_rings(points.scan_id, points.ring)
        up, down = self.fov
        # In a scan without any distance the elevation is that of the horizon.
        height = np.divide(xyz[:, 2], distance, out=np.zeros(len(xyz)), where=distance > 0)
        elevation = np.degrees(np.arcsin(np.clip(height, -1, 1)))
        if len(elevation) and not ((elevation <= up) & (elevation >= down)).any():
            raise ValueError(
                f"scan {points.scan_id}: none of its {len(elevation):,} points is between {down:g} "
                f"and {up:g} degrees above the horizon, but all from {elevation.min():.1f} to "
                f"{elevation.max():.1f}; set model.backbone.fov to what the sensor sees, or look "
                "whether z points up"
            )
        rows = np.floor((up - elevation) / (up - down) * self.height).astype(np.int64)
        return np.clip(rows, 0, self.height - 1)

    def _of_rings(self, scan_id: str, ring: NDArray[np.float32]) -> NDArray[np.int64]:
        fits = (ring >= 0) & (ring < self.height) & (ring == np.rint(ring))
        if not fits.all():
            wrong = ring[~fits]
            raise ValueError(
                f"scan {scan_id}: {len(wrong):,} of {len(ring):,} ring numbers are no rows of an "
                f"image of height {self.height}: expected whole numbers from 0 to "
                f"{self.height - 1}, got {wrong[0]:g}; set model.backbone.height to the number of "
                "beams, or model.backbone.rows=angle"
            )
        return ring.astype(np.int64)


def _nearest_first(cells: NDArray[np.int32], distance: NDArray[np.float64]) -> Voxels:
    """Points grouped by pixel, in each the nearest one first."""
    order = torch.from_numpy(np.argsort(distance, kind="stable"))
    grouped = group_cells(torch.from_numpy(cells)[order])
    point_to_voxel = torch.empty_like(grouped.point_to_voxel)
    point_to_voxel[order] = grouped.point_to_voxel
    return replace(grouped, point_to_voxel=point_to_voxel, members=order[grouped.members])
