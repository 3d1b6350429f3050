"""The content of a folder of scans: which files are scans, of which sequence, with which labels."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from annotator3d.data.files import is_there
from annotator3d.data.importing.label_index import (
    GENERIC_FOLDERS,
    LabelIndex,
    Scan,
    label_folders,
)
from annotator3d.errors import some

_LABEL_FOLDERS = ("labels", "label", "predictions")
_LABEL_STEM = re.compile(r".+([._]labels?|_lidarseg)$")
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
    """

    id: str
    path: Path
    labels: Path | None = None
    pose: Path | None = None

    @property
    def sequence(self) -> str:
        return self.id.split("/")[0]

    @property
    def frame(self) -> int:
        return int(self.id.split("/")[1])


def find_sources(
    src: Path, format: str, labels: Path | None, poses: Path | None, in_files: bool = True
) -> list[Source]:
    """Every scan of `format` below `src`, by sequence and frame.

    Args:
        labels: folder of label files; None: they are looked for beside the scans.
        poses: folder of pose files, one for each scan; None: beside the scans.
        in_files: whether labels are looked for in files.

    Raises:
        FileNotFoundError: there is no such folder or no such file in it.
        ValueError: two folders would become one sequence.
    """
    for name, folder in (("SRC", src), ("--labels", labels)):
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"{name} must be a folder, but {folder} is not")
    folders = _scan_folders(src, format)
    if not folders:
        found = sorted({p.suffix for p in src.rglob("*") if p.is_file()})
        raise FileNotFoundError(
            f"{src} holds no .{format} files, only {some(found)}; check --format"
        )
    for folder in label_folders(folders, src):
        del folders[folder]
    sources: list[Source] = []
    names: dict[str, Path] = {}
    for folder in sorted(folders, key=lambda f: natural(str(f.relative_to(src)))):
        name = sequence_name(folder.relative_to(src), format)
        if name in names:
            raise ValueError(
                f"{names[name]} and {folder} would both become sequence {name!r}; rename one"
            )
        names[name] = folder
        finder = _Finder(src, folder, name, alone=len(folders) == 1)
        for frame, path in _numbered(folders[folder]):
            number = f"{frame:06d}"
            own_pose = finder.pose(path, number, poses)
            sources.append(Source(f"{name}/{number}", path, None, own_pose))
    found = _label_files(src, format, labels, sources) if in_files else {}
    return [replace(source, labels=found.get(source.path)) for source in sources]


def _label_files(
    src: Path, format: str, given: Path | None, sources: Sequence[Source]
) -> dict[Path, Path]:
    """Scan -> its label file."""
    root = src if given is None else given
    index = LabelIndex(root, [s.path for s in sources], format, given is not None)
    scans = []
    numbers = Counter((s.path.parent, _last_number(s.path.stem)) for s in sources)
    for source in sources:
        number, stem = f"{source.frame:06d}", source.path.stem
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
    parts = [p for p in relative.parts if p.lower() not in {*GENERIC_FOLDERS, format}]
    return re.sub(r"[^\w.-]", "_", "-".join(parts)) or "00"


def natural(name: str) -> list[tuple]:
    """Sorting key under which scan2 comes before scan10."""
    return [(0, int(t), t) if t.isdigit() else (1, 0, t) for t in re.split(r"(\d+)", name) if t]


def _numbered(paths: Sequence[Path]) -> list[tuple[int, Path]]:
    """Each file with its frame, ascending."""
    numbers = [int(p.stem) if p.stem.isascii() and p.stem.isdigit() else -1 for p in paths]
    kept = len(set(numbers)) == len(paths) and 0 <= min(numbers) <= max(numbers) <= _LARGEST_FRAME
    return sorted(zip(numbers if kept else range(len(paths)), paths, strict=True))


def _scan_folders(src: Path, format: str) -> dict[Path, list[Path]]:
    found: dict[Path, list[Path]] = defaultdict(list)
    for folder, inside, files in os.walk(src):
        inside[:] = [d for d in inside if d[0] != "." and d.lower() not in _LABEL_FOLDERS]
        for name in sorted(files, key=natural):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() == f".{format}" and name[0] != "." and not _LABEL_STEM.match(stem):
                found[Path(folder)].append(Path(folder) / name)
    return dict(found)


@dataclass(frozen=True)
class _Finder:
    """Looks for what belongs to the scans of one folder; `alone`: there is no other folder."""

    src: Path
    folder: Path
    sequence: str
    alone: bool

    def pose(self, scan: Path, number: str, given: Path | None) -> Path | None:
        names = (scan.stem,) if given is None else (scan.stem, number)
        folders = [self.folder / "poses", self.folder.parent / "poses"]
        if given is not None and given.is_dir():
            folders = [given / self.folder.relative_to(self.src), given / self.sequence]
            folders += [given] if self.alone else []
        beside = scan.with_suffix(".pose")
        paths = [] if given is not None else [beside]
        paths += [f / (name + s) for f in folders for name in names for s in (".pose", ".txt")]
        return next((path for path in paths if is_there(path)), None)
