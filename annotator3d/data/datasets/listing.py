"""What lies in a folder, and which of it is wanted: every mistake is named with what is there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from annotator3d.data.files import require_file
from annotator3d.errors import count, in_yaml, nearest, some


def stems(folder: Path, suffix: str) -> list[str]:
    """Names without ``suffix`` of the files that end on it, sorted; hidden ones are left out.

    The folder is listed once and no file is opened or asked for its size.

    Raises FileNotFoundError when there is none, naming what the folder holds instead.
    """
    with os.scandir(folder) as entries:
        names = (e.name for e in entries if e.name.endswith(suffix) and e.name[0] != ".")
        found = sorted(name[: -len(suffix)] for name in names)
    if not found:
        raise FileNotFoundError(f"{folder} holds no {suffix} files but {contents(folder)}")
    return found


def absent(paths: Iterable[Path]) -> list[Path]:
    """Those of ``paths`` that do not exist: one listing of each folder, not a stat of each file."""
    listed: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        folder = path.parent
        if folder not in listed:
            listed[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
        if path.name not in listed[folder]:
            missing.append(path)
    return missing


def contents(folder: Path) -> str:
    """The names in a folder, for messages."""
    return some(sorted(os.listdir(folder)))


def check_names(names: Sequence[str], what: str) -> None:
    """Raise ValueError unless ``names`` is a list of different words."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{what} must be a list of strings such as ['08'], got {in_yaml(names)}")
    if not names:
        raise ValueError(f"{what} must name at least one")
    refuse_duplicates(names, what)


def refuse_duplicates(names: Sequence[str], what: str) -> None:
    """Raise ValueError for names given more than once."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{what} names these more than once: {some(twice)}")


def choose(
    ids: Iterable[str],
    stride: int,
    scans: Sequence[str] | str | os.PathLike[str] | None,
    root: Path,
) -> list[str]:
    """Every ``stride``-th of the ids of each sequence; of these, those that ``scans`` names.

    ``scans`` is a list of ids, or a text file with one id per line ('#' starts a comment). Raises
    ValueError for an id that is not there or is given twice, or where no scan is left.
    """
    if not isinstance(stride, int) or stride < 1:
        raise ValueError(f"stride must be a whole number of at least 1, got {in_yaml(stride)}")
    seen: Counter[str] = Counter()
    taken = []
    for scan_id in ids:
        sequence = scan_id.partition("/")[0]
        if seen[sequence] % stride == 0:
            taken.append(scan_id)
        seen[sequence] += 1
    if scans is not None:
        taken = _restrict(taken, scans, root)
    if not taken:
        raise ValueError(f"{root}: what was chosen of this dataset holds no scan")
    return taken


def listed_scans(path: Path) -> list[str]:
    """The ids of scans in a text file, one a line; ``#`` starts a comment.

    Raises ValueError, with the name of the file, for what is no text in UTF-8.
    """
    require_file(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}); expected an id of "
            "a scan in each line, such as 00/000000"
        ) from None
    return [text for line in lines if (text := line.partition("#")[0].strip())]


def _restrict(ids: list[str], scans: Sequence[str] | str | os.PathLike[str], root: Path) -> list:
    """Those of ``ids`` that ``scans`` names, in the order of ``ids``."""
    source = "scans"
    if isinstance(scans, (str, os.PathLike)):
        source, scans = str(scans), listed_scans(Path(scans))
    if not scans:
        raise ValueError(f"{source} names no scan")
    refuse_duplicates(scans, source)
    if unknown := sorted(set(scans) - set(ids)):
        raise ValueError(
            f"{source} names {count(len(unknown), 'scan that is', 'scans that are')} not in the "
            f"chosen sequences (and stride) of {root}: {some(unknown, 100)}; "
            f"{nearest(unknown[0], ids)}"
        )
    wanted = set(scans)
    return [scan_id for scan_id in ids if scan_id in wanted]
