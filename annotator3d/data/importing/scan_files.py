"""Which of the files below a folder are scans, and why the others that could be are not."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from annotator3d.data.formats.cloud import CloudError
from annotator3d.data.formats.npy import Header, read_header
from annotator3d.data.formats.registry import AUTO, FORMATS
from annotator3d.data.importing.attributes import find_groups, is_attribute
from annotator3d.data.importing.label_index import GENERIC_FOLDERS, label_folders
from annotator3d.data.importing.walking import Tree, walk_tree
from annotator3d.errors import count, some

_LABEL_FOLDERS = ("labels", "label", "predictions")
_LABEL_STEM = re.compile(r"(.+?)([._]labels?|_lidarseg)$", re.IGNORECASE)
_PREDICTED = "in a folder of predictions"
_OTHER_FORMAT = "of another format: --format auto imports every format"
_AGAIN = "to a folder that is read under another name"
_NOWHERE = "to nothing"
_CLOSED = "which may not be read"
_NOUNS = {_AGAIN: "link", _NOWHERE: "link", _CLOSED: "folder"}
_ARRAYS = ("bin", "npy", "npz")  # formats that label files have, too


@dataclass(frozen=True)
class ScanFile:
    """A scan: its file (that of its coordinates, where it has several) and its format."""

    path: Path
    format: str
    name: str
    parts: tuple[tuple[str, Path], ...] = ()  # attribute -> file, coordinates first


@dataclass
class ScanFiles:
    """The scans by folder, and what was left out: why -> files."""

    src: Path
    folders: dict[Path, list[ScanFile]] = field(default_factory=lambda: defaultdict(list))
    left_out: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def notices(self, used: set[Path]) -> list[str]:
        """What was left out, in words with counts, except files that are used as labels."""
        found = []
        for why, paths in self.left_out.items():
            paths = [path for path in paths if path not in used]
            if paths:
                names = some([os.path.relpath(path, self.src) for path in paths], 80)
                noun = _NOUNS.get(why, "file")
                found.append(f"not used: {count(len(paths), noun)} like {names} ({why})")
        grouped = [scan for scans in self.folders.values() for scan in scans if scan.parts]
        if grouped:
            kinds = dict.fromkeys(name for scan in grouped for name, _ in scan.parts)
            words = f"{count(len(grouped), 'scan')} put together from a file for each attribute"
            found.append(f"{words}: {', '.join(kinds)}")
        return found


def find_scan_files(src: Path, format: str) -> ScanFiles:
    """Look through `src` for scans of a format, or of all (`AUTO`).

    Raises:
        FileNotFoundError: there are none; the message says what there is.
        ValueError: two files may be the same scan.
    """
    tree = walk_tree(src)
    found = ScanFiles(src)
    _add_odd(tree, format, found.left_out)
    candidates = dict(_candidates(tree, src, format, found.left_out))
    arrays = {f: [p for p in paths if _ending(p) == "npy"] for f, paths in candidates.items()}
    groups = find_groups({f: paths for f, paths in arrays.items() if paths}, src)
    parts = {path for group in groups for _, path in group.parts}
    alone = {group.parts[0][1].parent for group in groups if group.alone}
    for folder in label_folders(candidates, src):
        del candidates[folder]
    for folder, paths in candidates.items():
        for path in paths:
            if path in parts:
                continue
            why = _no_scan(path, folder in alone)
            if why is not None:
                found.left_out[why].append(path)
            else:
                found.folders[folder].append(ScanFile(path, _ending(path), path.stem))
    for group in groups:
        first = group.parts[0][1]
        found.folders[group.folder].append(ScanFile(first, "npy", group.name, group.parts))
    if not found.folders:
        raise FileNotFoundError(_nothing(tree, format, found))
    return found


def _candidates(
    tree: Tree, src: Path, format: str, left_out: dict[str, list[Path]]
) -> Iterator[tuple[Path, list[Path]]]:
    """Folders with the files that have the ending and the name of a scan."""
    for folder, names in tree.files.items():
        paths = [folder / name for name in names if _ending(Path(name)) in FORMATS]
        parts = folder.relative_to(src).parts
        if any(part.lower() in _LABEL_FOLDERS for part in parts):
            if predicted := [path for path in paths if "predictions" in map(str.lower, parts)]:
                left_out[_PREDICTED] += predicted
            continue
        others = [path for path in paths if format not in (AUTO, _ending(path))]
        if others:
            left_out[_OTHER_FORMAT] += others
        paths = [path for path in paths if path not in others]
        paths = [p for p in paths if not _is_label_name(p, names)]
        if format == AUTO:
            paths = _one_of_each_name(paths, left_out)
        if paths:
            yield folder, paths


def _is_label_name(path: Path, names: Sequence[str]) -> bool:
    """Whether a name says that the file holds the labels of a scan beside it."""
    match = _LABEL_STEM.fullmatch(path.stem)
    if match is None:
        return False
    plain = match[1]
    beside = any(Path(name).stem == plain and _ending(Path(name)) in FORMATS for name in names)
    return beside or (_ending(path) in _ARRAYS and match[2].lower() == "_lidarseg")


def _one_of_each_name(paths: Sequence[Path], left_out: dict[str, list[Path]]) -> list[Path]:
    """Of files that differ in their ending only, the point cloud; arrays may be its labels."""
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        by_stem[path.stem].append(path)
    kept = []
    for same in by_stem.values():
        clouds = [path for path in same if _ending(path) not in _ARRAYS]
        if len(clouds) > 1 or (not clouds and len(same) > 1):
            raise ValueError(
                f"{some(path.name for path in clouds or same)} in {same[0].parent} may be the same "
                "scan; choose one with --format"
            )
        kept += clouds or same
        if arrays := [path for path in same if clouds and path not in clouds]:
            left_out["named like a scan beside it"] += arrays
    return kept


def _no_scan(path: Path, of_one_scan: bool) -> str | None:
    """Why an array is no scan; None: it may be one, or is damaged."""
    if _ending(path) != "npy":
        return None
    if of_one_scan:
        return "beside the coordinates of a scan"
    header = _header(path)
    if header is None or header.dtype.names or not header.shape:
        return None
    width = header.shape[1] if len(header.shape) == 2 else 1
    if len(header.shape) == 1 or (len(header.shape) == 2 and width == 1 and header.shape[0] > 0):
        return "one number a point, which is no place"
    if header.dtype.itemsize == 1:
        return f"{header.dtype} numbers, which are no places"
    return "an attribute of points, without their coordinates" if is_attribute(path.stem) else None


def _header(path: Path) -> Header | None:
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as file:
            return read_header(file, path.stat().st_size)
    except (CloudError, OSError):
        return None


def _add_odd(tree: Tree, format: str, left_out: dict[str, list[Path]]) -> None:
    formats = FORMATS if format == AUTO else (format,)
    left_out["hidden"] += [path for path in tree.hidden if _ending(path) in formats]
    left_out[_AGAIN] += tree.again
    left_out[_CLOSED] += tree.closed
    left_out[_NOWHERE] += [p for p in tree.dangling if _ending(p) not in FORMATS]


def _nothing(tree: Tree, format: str, found: ScanFiles) -> str:
    """The message where there is no scan: what there is, and why it is none."""
    endings = Counter(
        Path(name).suffix.lower() or "without an ending"
        for names in tree.files.values()
        for name in names
    )
    others = [f"{end} ({count(n, 'file')})" for end, n in endings.most_common()]
    reasons = found.notices(set())
    if number := endings.get(f".{format}"):
        why = "; ".join(reasons) or "they are named as labels"
        return f"{found.src}: none of its {count(number, f'.{format} file')} is a scan: {why}"
    what = "files of points" if format == AUTO else f".{format} files"
    more = f"; {'; '.join(reasons)}" if reasons else "; check --format"
    held = f"only {some(others)}" if others else "nor any other"
    return f"{found.src} holds no {what}, {held}{more}"


def _ending(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def generic_folders(format: str) -> set[str]:
    """Names of folders that do not say which sequence it is."""
    return {*GENERIC_FOLDERS, *(FORMATS if format == AUTO else (format,))}
