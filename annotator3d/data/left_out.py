"""How many points of scans are not read as they are stored, over all scans that were read."""

from __future__ import annotations

from dataclasses import dataclass, field

from annotator3d.data.extent import REACH
from annotator3d.data.scan import MISSING_INTENSITY, Scan
from annotator3d.errors import count

NO_RETURN = "at (0, 0, 0), where beams without a return are stored, are left out"
NOT_FINITE = f"that are not finite, or farther than {REACH / 1000:,.0f} km, are left out"
NO_INTENSITY = f"without an intensity (NaN or Inf) get {MISSING_INTENSITY:g}"


@dataclass
class LeftOut:
    """Points and scans by what happens to them, such as `NO_RETURN`."""

    scans: int = 0
    points: int = 0
    found: dict[str, tuple[int, int]] = field(default_factory=dict)  # words -> points, scans

    def add(self, scan: Scan) -> None:
        """Count the points of one more scan."""
        numbers = {
            NO_RETURN: len(scan.no_return),
            NOT_FINITE: scan.num_dropped - len(scan.no_return),
            NO_INTENSITY: len(scan.no_intensity),
        }
        self._merge(1, scan.num_raw, {words: (n, 1) for words, n in numbers.items() if n})

    def join(self, other: LeftOut) -> None:
        """Count what somebody else has read, too."""
        self._merge(other.scans, other.points, other.found)

    def _merge(self, scans: int, points: int, found: dict[str, tuple[int, int]]) -> None:
        self.scans, self.points = self.scans + scans, self.points + points
        for words, (more, of) in found.items():
            before = self.found.get(words, (0, 0))
            self.found[words] = (before[0] + more, before[1] + of)

    def __str__(self) -> str:
        """One line; empty where all points are read as they are stored."""
        if not self.found:
            return ""
        told = [
            f"{count(points, 'point')} (in {count(scans, 'scan')}) {words}"
            for words, (points, scans) in self.found.items()
        ]
        return f"of {count(self.points, 'point')} in {count(self.scans, 'scan')}, {'; '.join(told)}"
