"""A voxel that a test asks about, in place of the picks of a selection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    cell: tuple[int, int, int] = (0, 0, 0)
    num_points: int = 2
    utility: float = 0.5
    label_points: tuple[int, ...] | None = None
