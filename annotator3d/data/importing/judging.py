"""What is seen only when all scans are converted: unknown ids, missing fields, scales."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from annotator3d.data.importing.convert import Converted
from annotator3d.data.scan import IGNORE
from annotator3d.data.taxonomy import Taxonomy

SCALES = (1.0, 255.0, 4095.0, 65535.0)  # what sensors' intensities end at


def check_fields(scans: Sequence[Converted]) -> None:
    """Either every scan has an intensity or none: a constant in some would be a fault."""
    bare = [scan for scan in scans if scan.intensity is None]
    if bare and len(bare) < len(scans):
        raise ValueError(
            f"{len(bare)} of {len(scans)} files have no intensity, the first is {bare[0].source}; "
            "pass --intensity-field NAME if it has another name there, or --intensity-field none "
            "to leave all of them out"
        )


def check_ids(scans: Sequence[Converted], taxonomy: Taxonomy) -> None:
    unknown: Counter[int] = Counter()
    where: dict[int, str] = {}
    for scan in scans:
        for raw, count in (scan.classes or {}).items():
            if raw not in taxonomy.learning_map:
                unknown[raw] += count
                where.setdefault(raw, scan.source)
    if unknown:
        listed = ", ".join(f"{i} ({n:,} points, first in {where[i]})" for i, n in unknown.items())
        raise ValueError(
            f"the taxonomy does not know these raw ids: {listed}. Add each to the ids of a class "
            "or to ignored, and repeat the command"
        )


def any_class(scans: Sequence[Converted], taxonomy: Taxonomy) -> bool:
    """Whether any point has a class: LAS files always have a field for it, often never filled."""
    ids = {raw for scan in scans for raw in scan.classes or ()}
    return any(taxonomy.learning_map[raw] != IGNORE for raw in ids)


def intensity_max(scans: Sequence[Converted]) -> float:
    """The first of `SCALES` that no intensity passes."""
    largest = max((scan.span[1] for scan in scans if scan.span), default=0.0)
    return next((scale for scale in SCALES if largest <= scale), largest)
