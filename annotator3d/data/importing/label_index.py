"""Finding the label file of each scan: beside it, in a folder of labels, or below --labels."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from annotator3d.data.formats.label_files import ENDINGS, holds_one_number_a_line
from annotator3d.data.importing.walking import walk

# Folders that say what lies in them and not which sequence it is.
GENERIC_FOLDERS = {"sequences", "velodyne", "points", "scans", "lidar", "clouds", "pointclouds"}
_LABELS = re.compile(
    r"label|annotation|semantic|segment|semseg|lidarseg|truth|"
    r"(^|[_.-])(gt|seg|sem|lbl|class|classe|target)s?($|[_.-])"
)
_OTHERS = re.compile(r"pred|inst|panop|colou?r|rgb|box|object|detect|track|image|2d|label_[23]")
_AFFIX = re.compile(
    r"[._-](labels?|lbl|gt|seg|sem|semantic|lidarseg|ground_?truth|class|classes)$", re.IGNORECASE
)
_PREFIX = re.compile(r"^(labels?|gt|seg|semantic)[._-]", re.IGNORECASE)
_PLAIN = ("labels", "label")
_MAYBE = (".txt", ".csv", ".seg")
_BESIDE = (".label", ".labels", ".npy")  # without an affix: others may be anything


@cache
def holds_labels(folder: str) -> bool:
    """Whether the name of a folder says that labels lie in it."""
    name = folder.lower()
    return name in _PLAIN or bool(_LABELS.search(name) and not _OTHERS.search(name))


@cache
def identity(relative: Path, format: str = "") -> tuple[str, ...]:
    """The parts of a folder that say which sequence it is."""
    generic = {*GENERIC_FOLDERS, format, "predictions"}
    lowered = (part.lower() for part in relative.parts)
    return tuple(part for part in lowered if part not in generic and not holds_labels(part))


def label_folders(folders: Mapping[Path, Sequence[Path]], root: Path) -> list[Path]:
    """Of folders with files of the scans' format those whose files are labels of the others.

    Their names say so, and their files are named like scans of a folder that fits.
    """
    stems = {folder: {path.stem for path in paths} for folder, paths in folders.items()}
    places = {folder: identity(folder.relative_to(root)) for folder in folders}
    scans = [folder for folder in folders if not holds_labels(folder.name)]
    return [
        folder
        for folder in folders
        if holds_labels(folder.name)
        and any(
            _in_order(places[folder], places[other]) and stems[folder] & stems[other]
            for other in scans
        )
    ]


@dataclass(frozen=True)
class Scan:
    """A scan as its labels are looked for: its file, and the names that they may have."""

    path: Path
    folder: Path  # relative to SRC
    sequence: str
    names: tuple[str, ...]


class LabelIndex:
    """The label files below a folder.

    Args:
        root: where to look.
        scans: files that are no labels, because they are scans.
        format: of the scans.
        given: `root` was named by the user, so that every file in it may hold labels.
    """

    def __init__(self, root: Path, scans: Collection[Path], format: str, given: bool) -> None:
        self._root, self._format, self._given = root, format, given
        self._by_name: dict[str, list[tuple[Path, Path]]] = defaultdict(list)
        self._ranks: dict[tuple, tuple[int, ...] | None] = {}  # by folders: they are few
        known = set(scans)
        for folder, files in walk(root):
            relative = folder.relative_to(root)
            for name in files:
                if holds_labels(name) and os.path.islink(folder / name):
                    _check_folder_link(folder / name)
                if folder / name not in known:
                    self._add(folder / name, relative)

    def assign(self, scans: Sequence[Scan]) -> dict[Path, Path]:
        """Scan -> label file.

        Raises ValueError where two files fit one scan equally well, or one file two scans.
        """
        found = {scan.path: path for scan in scans if (path := self._of(scan)) is not None}
        claims: dict[Path, list[Scan]] = defaultdict(list)
        for scan in scans:
            if scan.path in found:
                claims[found[scan.path]].append(scan)
        for path, several in claims.items():
            if len(several) > 1:
                own = self._owner(path, several)
                for scan in several:
                    if scan is not own:
                        del found[scan.path]
        return found

    def _add(self, path: Path, relative: Path) -> None:
        stem, ending = os.path.splitext(path.name)
        if ending.lower() not in ENDINGS:
            return
        plain = _PREFIX.sub("", _AFFIX.sub("", stem))
        in_folder = self._given or any(map(holds_labels, relative.parts))
        if in_folder or plain != stem or ending.lower() in _BESIDE:
            self._by_name[plain].append((path, relative))
            if plain != stem:
                self._by_name[stem].append((path, relative))

    def _of(self, scan: Scan) -> Path | None:
        for name in scan.names:
            ranked = sorted(
                (
                    (rank, path)
                    for path, relative in self._by_name.get(name, ())
                    if (rank := self._rank(relative, scan)) is not None
                ),
                key=lambda each: (each[0], -ENDINGS.index(each[1].suffix.lower())),
                reverse=True,
            )
            for place, (rank, path) in enumerate(ranked):
                if not (self._given or _sure(path) or holds_one_number_a_line(path)):
                    continue
                same = [p for r, p in ranked[place + 1 :] if r == rank and p.parent != path.parent]
                if same:
                    raise ValueError(
                        f"two label files fit {scan.path}: {path} and {same[0]}; pass --labels "
                        "DIR with the folder of the right ones"
                    )
                return path
        return None

    def _rank(self, relative: Path, scan: Scan) -> tuple[int, ...] | None:
        """The higher, the better the files of a folder fit; None: they do not."""
        key = relative, scan.folder, scan.sequence
        if key not in self._ranks:
            self._ranks[key] = self._ranked(relative, scan)
        return self._ranks[key]

    def _ranked(self, relative: Path, scan: Scan) -> tuple[int, ...] | None:
        own, its = identity(scan.folder, self._format), identity(relative, self._format)
        if its != (scan.sequence.lower(),) and not _in_order(its, own):
            return None
        in_folder = any(map(holds_labels, relative.parts))
        beside = relative == scan.folder
        if not (in_folder or beside or self._given):
            return None
        last = relative.name.lower()
        parts = [part.lower() for part in scan.folder.parts]
        kind = 0 if _OTHERS.search(last) else 2 if beside or last in _PLAIN else 1
        shared = len(os.path.commonprefix([relative.parts, scan.folder.parts]))
        alike = max((_alike(last, part) for part in parts), default=0)
        return len(its), kind, shared, alike if kind == 1 else 0, -len(relative.parts)

    def _owner(self, path: Path, several: Sequence[Scan]) -> Scan:
        its = identity(path.parent.relative_to(self._root), self._format)
        exact = [scan for scan in several if identity(scan.folder, self._format) == its]
        if len(exact) == 1:
            return exact[0]
        raise ValueError(
            f"{path} fits {len(several)} scans, {several[0].path} and {several[1].path}: put the "
            "labels into folders named like those of the scans, or pass --label-field none"
        )


def _alike(labels: str, part: str) -> int:
    """How much of a part of a scan's folder the name of a folder of labels repeats."""
    if re.search(rf"(^|[^a-z0-9]){re.escape(part)}($|[^a-z0-9])", labels):
        return len(part)
    return len(os.path.commonprefix([labels, part]))


def _sure(path: Path) -> bool:
    """Whether a name says that a file holds labels; text without a word of them may be anything."""
    return path.suffix.lower() not in _MAYBE or bool(
        _AFFIX.search(path.stem) or _PREFIX.match(path.stem)
    )


def _check_folder_link(path: Path) -> None:
    if not path.exists() and not path.suffix:
        raise ValueError(
            f"{path} is a link to {os.readlink(path)}, which does not exist: it may hold labels; "
            "mount that folder, or remove the link"
        )


def _in_order(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    """Whether the words of `part` are among those of `whole`, in their order."""
    rest = iter(whole)
    return all(word in rest for word in part)
