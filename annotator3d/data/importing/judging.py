"""Checks that need all converted scans: unknown ids, missing fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from annotator3d.data.formats.cloud import plain
from annotator3d.data.importing.convert import Converted
from annotator3d.data.importing.rules import UnclearError
from annotator3d.data.scan import IGNORE
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.errors import count, some

_MANY = 50  # unknown ids that are hardly classes


def check_fields(scans: Sequence[Converted]) -> None:
    """Raise UnclearError if only some scans have an intensity: the others would get a constant."""
    bare = [scan for scan in scans if scan.intensity is None]
    if bare and len(bare) < len(scans):
        raise UnclearError(
            f"{len(bare)} of {len(scans)} files have no intensity, for example {bare[0].source}; "
            "pass --intensity-field NAME if the field has another name, or --intensity-field none "
            "to import no intensities"
        )


def check_places(scans: Sequence[Converted], taxonomy: Taxonomy) -> None:
    """Raise UnclearError if the classes of scans come from fields of different names, or files.

    Scans without any class do not count: LAS files always have a field for it.
    """
    places: dict[str, list[Converted]] = {}
    for scan in scans:
        if scan.classes and any(taxonomy.learning_map.get(i) != IGNORE for i in scan.classes):
            kind = "label files" if scan.label.startswith(".") else f"field {plain(scan.label)!r}"
            places.setdefault(kind, []).append(scan)
    if len(places) > 1:
        listed = some(
            f"{kind} for {len(found)} of {len(scans)} scans, such as {found[0].source}"
            for kind, found in places.items()
        )
        raise UnclearError(
            f"the labels come from different places: {listed}. Choose one with --label-field NAME, "
            "or add the missing label files"
        )


def check_ids(scans: Sequence[Converted], taxonomy: Taxonomy) -> None:
    """Raise UnclearError for raw ids that the taxonomy does not know; it names their field."""
    unknown: Counter[int] = Counter()
    where: dict[int, Converted] = {}
    for scan in scans:
        for raw, number in (scan.classes or {}).items():
            if raw not in taxonomy.learning_map:
                unknown[raw] += number
                where.setdefault(raw, scan)
    if not unknown:
        return
    listed = some(_unknown_id(raw, number, where[raw]) for raw, number in unknown.items())
    places = some({repr(scan.label): None for scan in where.values()}, 60)
    many = "So many may be numbers of objects. " if len(unknown) > _MANY else ""
    if all(raw // 1000 in taxonomy.learning_map and raw >= 1000 for raw in unknown):
        many = "They look like class x 1000 + object: save the class alone. "
    others = dict.fromkeys(repr(name) for scan in where.values() for name in scan.unused)
    field = f"; --label-field NAME reads another field ({some(others, 60)})" if others else ""
    raise UnclearError(
        f"these raw ids of {places} are not in the taxonomy: {listed}. {many}Add each to the ids "
        f"of a class or to ignored, and repeat the command{field}"
    )


def _unknown_id(raw: int, points: int, scan: Converted) -> str:
    """An id as it stands in the file."""
    if raw in scan.large:
        return (
            f"{scan.large[raw]} ({count(points, 'point')}, first in {scan.source}; above "
            "65535, so it was "
            f"read as class {raw} of object {scan.large[raw] >> 16})"
        )
    return f"{raw} ({count(points, 'point')}, first in {scan.source})"


def any_class(scans: Sequence[Converted], taxonomy: Taxonomy) -> bool:
    """Whether any point has a class: LAS files always have a field for it, often never filled."""
    ids = {raw for scan in scans for raw in scan.classes or ()}
    return any(taxonomy.learning_map[raw] != IGNORE for raw in ids)
