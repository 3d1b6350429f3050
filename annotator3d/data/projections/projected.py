"""What every projection is and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from annotator3d.kernels import Voxels


@dataclass(frozen=True)
class PointSet:
    """The points of one scan, where they are to be projected from.

    `xyz` may be augmented; `ring` are the sensor's own rows, see `data.scan.Scan`.
    """

    scan_id: str  # for messages
    xyz: NDArray[np.float32]  # [N, 3] metres
    intensity: NDArray[np.float32]  # [N]
    ring: NDArray[np.float32] | None = None  # [N]


@dataclass(frozen=True)
class Projected:
    """A scan on the grid of a network."""

    cells: Voxels
    """Its V occupied cells; the first member of each is the point that stands for it."""
    points: torch.Tensor
    """[N, F] float32: what the network is told of each point."""


class Projection(Protocol):
    """How points become the cells of a network.

    Attributes:
        by_first: the target of a cell is always that of its first member.
    """

    by_first: ClassVar[bool]

    def project(self, points: PointSet) -> Projected:
        """Raises ValueError, naming the scan, where it does not fit the grid."""
        ...
