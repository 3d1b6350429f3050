"""What of a folder an import did not use: label files, other files, fields, with their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from annotator3d.data.formats.label_files import ENDINGS
from annotator3d.data.importing.convert import Converted
from annotator3d.data.importing.label_index import holds_labels
from annotator3d.data.importing.sources import Source, Sources
from annotator3d.data.importing.walking import walk
from annotator3d.errors import count, some

_POSES = ("poses.txt", "calib.txt", "times.txt")


def unused_files(src: Path, found: Sources, labelled: bool) -> list[str]:
    """Sentences on the files below `src` that are neither scans nor labels nor poses.

    Label-like ones come first; where nothing is labelled, with what would make them count. Those
    that the notices of `found` count are not counted again.
    """
    labels, others = grouped_files(src, found.scans, found.left_out)
    rule = "label files must be named like their scans and hold one number a point (--labels DIR)"
    hint = "" if labelled else f"; {rule}"
    sentences = [f"not used: {some(labels)}{hint}"] if labels else []
    return sentences + ([f"not used: {some(others)}"] if others else [])


def grouped_files(
    root: Path, sources: Sequence[Source], told: Collection[Path] = ()
) -> tuple[list[str], list[str]]:
    """``2 files like a/labels/0.json`` for each kind of unused file: label-like ones, others.

    Files in `told` are left out.
    """
    used = {*told, *(path for source in sources for path in source.files())}
    first: dict[tuple[bool, str], Path] = {}
    counts: Counter[tuple[bool, str]] = Counter()
    for folder, files in walk(root):
        relative = folder.relative_to(root)
        kind = next((part for part in reversed(relative.parts) if holds_labels(part)), "")
        for name in files:
            if folder / name in used or name in _POSES or name.endswith(".pose"):
                continue
            ending = Path(name).suffix.lower()
            labels = bool(kind) or holds_labels(name) or ending in (".label", ".labels")
            key = (labels, f"{kind} {ending}")
            counts[key] += 1
            first.setdefault(key, relative / name)
    labels, others = _sentences(first, counts)
    return labels, others


def labels_beside(src: Path, sources: Sequence[Source]) -> list[str]:
    """A folder of labels next to SRC, where nothing below SRC has labels."""
    if any(source.labels is not None for source in sources):
        return []
    stems = {source.path.stem for source in sources[:1]}
    place = src.resolve()
    found = [
        folder
        for folder in sorted(place.parent.iterdir())
        if folder != place and holds_labels(folder.name) and folder.is_dir()
        if any((folder / f"{stem}{ending}").exists() for stem in stems for ending in ENDINGS)
    ]
    return [f"{folder} may hold the labels: pass --labels {folder} to use it" for folder in found]


def unused_fields(scans: Sequence[Converted]) -> list[str]:
    """Fields that no scan was asked for."""
    counts = Counter(name for scan in scans for name in scan.unused)
    if not counts:
        return []
    names = [
        repr(name) + (f" ({count(number, 'scan')})" if number < len(scans) else "")
        for name, number in counts.items()
    ]
    return [f"fields not used: {some(names, 240)}; --label-field NAME reads the classes from one"]


def without_labels(scans: Sequence[Converted]) -> list[str]:
    """How many scans have no labels, where others have some."""
    bare = [scan for scan in scans if scan.classes is None]
    if not bare or len(bare) == len(scans):
        return []
    of = f"{count(len(bare), 'scan')} of {len(scans):,}"
    return [f"no labels were found for {of}, the first {bare[0].source}"]


def _sentences(first: dict[tuple[bool, str], Path], counts: Counter) -> Iterator[list[str]]:
    """Label-like files in one sentence, others in another."""
    for labels in (True, False):
        kinds = sorted((key for key in counts if key[0] == labels), key=lambda key: -counts[key])
        yield [f"{count(counts[key], 'file')} like {first[key].as_posix()}" for key in kinds]
