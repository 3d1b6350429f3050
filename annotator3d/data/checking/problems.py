"""What can be wrong with the files of a scan."""

from __future__ import annotations

from dataclasses import dataclass

# Kind -> whether it is an error: the scan cannot be trained on, or what is learned from it is
# wrong. The others are warnings: training copes with them, but somebody should look.
KINDS = {
    "truncated": True,  # the size of a file is not a multiple of a point's or a label's
    "unreadable": True,
    "length mismatch": True,  # other numbers of points and labels
    "missing label": True,  # in a sequence whose other scans have labels
    "unknown id": True,  # the taxonomy does not know it
    "empty scan": True,  # no point, or none that is finite
    "wrong endianness": True,  # suspected: the numbers make sense with their bytes swapped
    "not finite": False,  # points with NaN or Inf, which training leaves out
    "label only zeros": False,  # no point of a labelled scan has a class
    "orphan label": False,  # a label file whose scan is not there
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

    def __str__(self) -> str:
        return f"{self.kind}: {self.file}: {self.words}"
