"""What a person chooses to see; none of it changes a label."""

from __future__ import annotations

from dataclasses import dataclass

from annotator3d.viz.camera import VIEWS
from annotator3d.viz.colours import BACKGROUNDS, MODES

POINT_SIZES = range(1, 13)  # pixels


@dataclass
class ViewSettings:
    """The choices of one person."""

    mode: str = "height"
    modes: tuple[str, ...] = MODES  # that can be chosen
    background: str = "dark"
    view: str = "sensor"
    point_size: int = 3
    accumulated: bool = False  # whether neighbour scans are shown
    neighbours: int = 2  # how many before and after
    only: int | None = None  # train id: show no points of other classes
    hidden: frozenset[int] = frozenset()  # train ids
    nearby: bool = True  # whether the answers around the voxel are drawn in their colours
    flies: bool = True  # whether the camera flies to the next voxel; else it jumps

    def cycle(self, name: str) -> None:
        """Go to the next value of ``mode``, ``background`` or ``view``."""
        values = {"mode": self.modes, "background": tuple(BACKGROUNDS), "view": VIEWS}[name]
        setattr(self, name, values[(values.index(getattr(self, name)) + 1) % len(values)])

    def resize(self, by: int) -> None:
        """Draw points larger or smaller, within `POINT_SIZES`."""
        size = self.point_size + by
        self.point_size = min(max(size, POINT_SIZES.start), POINT_SIZES.stop - 1)
