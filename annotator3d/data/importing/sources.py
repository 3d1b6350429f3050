"""The content of a folder of scans: which files are scans, of which sequence, with which labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from annotator3d.data.files import is_there, require_folder
from annotator3d.data.formats.registry import AUTO
from annotator3d.data.importing.label_index import LabelIndex, Scan
from annotator3d.data.importing.scan_files import ScanFile, find_scan_files, generic_folders

_LARGEST_FRAME = 999_999


@dataclass(frozen=True)
class Source:
    """One scan to import.

    Attributes:
        id: ``"sequence/FFFFFF"``. A file whose name is a number keeps it, if all of its folder
            are; else the frames are counted in natural order of the names (scan2 before scan10).
        path: the file of its points.
        labels: the file of its labels, where that is another one.
        pose: the file of its own pose.
        format: of the file.
        name: of the scan, as its labels and its pose are named.
        parts: attribute -> file, where each has its own; `path` is the first of them.
    """

    id: str
    path: Path
    labels: Path | None = None
    pose: Path | None = None
    format: str = ""
    name: str = ""
    parts: tuple[tuple[str, Path], ...] = ()

    def files(self) -> list[Path]:
        """Every file of the scan."""
        own = [path for _, path in self.parts] or [self.path]
        return own + [path for path in (self.labels, self.pose) if path is not None]

    @property
    def sequence(self) -> str:
        return self.id.split("/")[0]

    @property
    def frame(self) -> int:
        return int(self.id.split("/")[1])


@dataclass(frozen=True)
class Sources:
    """Every scan, by sequence and frame; and the files that were left out, with words on them."""

    scans: list[Source]
    left_out: set[Path]
    notices: list[str]


def find_sources(
    src: Path, format: str, labels: Path | None, poses: Path | None, in_files: bool = True
) -> Sources:
    """The scans of `format` below `src`.

    Args:
        format: a key of `FORMATS`, or `AUTO`.
        labels: folder of label files; None: they are looked for beside the scans.
        poses: folder of pose files, one for each scan; None: beside the scans.
        in_files: whether labels are looked for in files.

    Raises:
        FileNotFoundError: there is no such folder or no such file in it.
        ValueError: two folders would become one sequence.
    """
    for name, folder in (("SRC", src), ("--labels", labels)):
        if folder is not None:
            require_folder(folder, name)
    files = find_scan_files(src, format)
    sources: list[Source] = []
    names: dict[str, Path] = {}
    for folder in sorted(files.folders, key=lambda f: natural(str(f.relative_to(src)))):
        name = sequence_name(folder.relative_to(src), format)
        if name in names:
            raise ValueError(
                f"{names[name]} and {folder} would both become sequence {name!r}; rename one"
            )
        names[name] = folder
        finder = _Finder(src, folder, name, alone=len(files.folders) == 1)
        for frame, scan in _numbered(files.folders[folder]):
            number = f"{frame:06d}"
            own_pose = finder.pose(scan.name, number, poses)
            known = {"format": scan.format, "name": scan.name, "parts": scan.parts}
            sources.append(Source(f"{name}/{number}", scan.path, pose=own_pose, **known))
    found = _label_files(src, format, labels, sources) if in_files else {}
    sources = [replace(source, labels=found.get(source.path)) for source in sources]
    used = {path for source in sources for path in source.files()}
    left_out = {path for paths in files.left_out.values() for path in paths}
    return Sources(sources, left_out - used, files.notices(used))


def _label_files(
    src: Path, format: str, given: Path | None, sources: Sequence[Source]
) -> dict[Path, Path]:
    """Scan -> its label file."""
    root = src if given is None else given
    own = [path for source in sources for path in source.files()]
    index = LabelIndex(root, own, "" if format == AUTO else format, given is not None)
    scans = []
    numbers = Counter((s.path.parent, _last_number(s.name)) for s in sources)
    for source in sources:
        number, stem = f"{source.frame:06d}", source.name
        names = [stem, source.path.name] + [number] * (given is not None or stem.isdigit())
        # As `annotator3d export --format lidarseg` names them, and others.
        names += [f"{source.sequence}_{frame}" for frame in (number, stem)]
        last = _last_number(stem)
        names += [last] * (last != "" and numbers[source.path.parent, last] == 1)
        folder = source.path.parent.relative_to(src)
        scans.append(Scan(source.path, folder, source.sequence, tuple(dict.fromkeys(names))))
    return index.assign(scans)


def _last_number(stem: str) -> str:
    """``0104`` of ``cloud_0104``, whose labels may be ``label_0104``; empty if there is none."""
    return stem[len(stem.rstrip("0123456789")) :]


def sequence_name(relative: Path, format: str) -> str:
    """Name of the sequence in a folder: its path without words such as ``velodyne``; else 00."""
    parts = [p for p in relative.parts if p.lower() not in generic_folders(format)]
    return re.sub(r"[^\w.-]", "_", "-".join(parts)) or "00"


def natural(name: str) -> list[tuple]:
    """Sorting key under which scan2 comes before scan10."""
    return [(0, int(t), t) if t.isdigit() else (1, 0, t) for t in re.split(r"(\d+)", name) if t]


def _numbered(scans: Sequence[ScanFile]) -> list[tuple[int, ScanFile]]:
    """Each scan with its frame, ascending."""
    scans = sorted(scans, key=lambda scan: natural(scan.name))
    numbers = [int(s.name) if s.name.isascii() and s.name.isdigit() else -1 for s in scans]
    kept = len(set(numbers)) == len(scans) and 0 <= min(numbers) <= max(numbers) <= _LARGEST_FRAME
    return sorted(
        zip(numbers if kept else range(len(scans)), scans, strict=True), key=lambda each: each[0]
    )


@dataclass(frozen=True)
class _Finder:
    """Looks for what belongs to the scans of one folder; `alone`: there is no other folder."""

    src: Path
    folder: Path
    sequence: str
    alone: bool

    def pose(self, scan: str, number: str, given: Path | None) -> Path | None:
        names = (scan,) if given is None else (scan, number)
        folders = [self.folder / "poses", self.folder.parent / "poses"]
        if given is not None and given.is_dir():
            folders = [given / self.folder.relative_to(self.src), given / self.sequence]
            folders += [given] if self.alone else []
        beside = self.folder / f"{scan}.pose"
        paths = [] if given is not None else [beside]
        paths += [f / (name + s) for f in folders for name in names for s in (".pose", ".txt")]
        return next((path for path in paths if is_there(path)), None)
