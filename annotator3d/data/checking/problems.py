"""What can be wrong with the files of a scan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

# Kind -> whether it is an error: the scan cannot be trained on, or would teach something wrong.
# The others are warnings: training copes with them, but somebody should look.
KINDS = {
    "truncated": True,  # the size of a file is not a multiple of a point's or a label's
    "unreadable": True,  # it cannot be opened, or is no file
    "length mismatch": True,  # the numbers of points and labels differ
    "missing label": True,  # in a sequence whose other scans have labels
    "unknown id": True,  # not in the taxonomy
    "empty scan": True,  # no points, or none is finite
    "wrong columns": True,  # suspected: the points have another number of columns, or float64
    "wrong endianness": True,  # suspected: the numbers make sense with their bytes swapped
    "large coordinates": True,  # float32 keeps steps of a centimetre or more of most points
    "coarse coordinates": False,  # or steps of a millimetre or more
    "far points": False,  # a few points far from all others, or where no sensor measures
    "no return": False,  # points at (0, 0, 0), which training leaves out
    "no intensity": False,  # points with NaN or Inf as intensity, which get a constant
    "not finite": False,  # points with NaN or Inf as coordinate, which training leaves out
    "label only zeros": False,  # no point of a labelled scan has a class
    "orphan label": False,  # a label file without a scan
    "duplicate scan": False,  # the same bytes as another scan
}


@dataclass(frozen=True)
class Problem:
    """One problem of one file.

    Attributes:
        kind: a key of `KINDS`.
        file: the file, as a path.
        words: what was found.
        scan: id of the scan; None: the file belongs to none.
    """

    kind: str
    file: str
    words: str
    scan: str | None = None

    @property
    def is_error(self) -> bool:
        return KINDS[self.kind]

    def within(self, root: Path) -> Problem:
        """The same problem with its file as seen from `root`, where it lies below it."""
        file = Path(self.file)
        return replace(self, file=str(file.relative_to(root))) if root in file.parents else self

    def __str__(self) -> str:
        return f"{self.kind}: {self.file}: {self.words}"
