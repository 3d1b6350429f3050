"""What an import left out, guessed or changed: sentences with counts for its report and its card.

What concerns single scans is a remark of `Converted`; what concerns the folder as a whole is a
sentence that the finder of files returns. Both end in `Imported.notices`.
"""

from __future__ import annotations

from collections.abc import Sequence

from annotator3d.data.importing.convert import Converted
from annotator3d.errors import count


def gather(scans: Sequence[Converted]) -> list[str]:
    """The remarks of all scans: each once, with the number of its points and scans and one file."""
    words = dict.fromkeys(words for scan in scans for words in scan.remarks)
    return [_gathered(text, [scan for scan in scans if text in scan.remarks]) for text in words]


def _gathered(words: str, scans: Sequence[Converted]) -> str:
    points = sum(scan.remarks[words] for scan in scans)
    what = f"{count(points, 'point')} in " * (points > 0) + count(len(scans), "scan")
    return f"{words}: {what}, {'the first ' * (len(scans) > 1)}{scans[0].source}"
