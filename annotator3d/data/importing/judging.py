"""Checks that need all converted scans: unknown ids, missing fields, scale of intensities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from annotator3d.data.importing.convert import Converted
from annotator3d.data.scan import IGNORE
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.errors import some

SCALES = (1.0, 255.0, 4095.0, 65535.0)  # highest intensities of common sensors


def check_fields(scans: Sequence[Converted]) -> None:
    """Raise ValueError if only some scans have an intensity: the others would get a constant."""
    bare = [scan for scan in scans if scan.intensity is None]
    if bare and len(bare) < len(scans):
        raise ValueError(
            f"{len(bare)} of {len(scans)} files have no intensity, for example {bare[0].source}; "
            "pass --intensity-field NAME if the field has another name, or --intensity-field none "
            "to import no intensities"
        )


def check_ids(scans: Sequence[Converted], taxonomy: Taxonomy) -> None:
    unknown: Counter[int] = Counter()
    where: dict[int, str] = {}
    for scan in scans:
        for raw, count in (scan.classes or {}).items():
            if raw not in taxonomy.learning_map:
                unknown[raw] += count
                where.setdefault(raw, scan.source)
    if not unknown:
        return
    listed = some(f"{i} ({n:,} points, first in {where[i]})" for i, n in unknown.items())
    places = some({repr(scan.label): None for scan in scans if scan.label is not None})
    raise ValueError(
        f"these raw ids of {places} are not in the taxonomy: {listed}. Add each to the ids of a "
        "class or to ignored, and repeat the command"
    )


def any_class(scans: Sequence[Converted], taxonomy: Taxonomy) -> bool:
    """Whether any point has a class: LAS files always have a field for it, often never filled."""
    ids = {raw for scan in scans for raw in scan.classes or ()}
    return any(taxonomy.learning_map[raw] != IGNORE for raw in ids)


def intensity_max(scans: Sequence[Converted]) -> float:
    """The smallest of `SCALES` that no intensity exceeds."""
    largest = max((scan.span[1] for scan in scans if scan.span), default=0.0)
    return next((scale for scale in SCALES if largest <= scale), largest)
