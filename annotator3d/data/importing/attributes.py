"""Scans that have one .npy file for each attribute, as Pointcept and others write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_COORDINATES = ("coord", "coords", "xyz", "position", "positions", "pos", "points", "pts")
_OTHERS = re.compile(
    r"(colou?rs?|rgb|normals?|strength|intensit(y|ies)|remission|reflectivity|features?|feats?"
    r"|segment|semantics?|semantic_labels?|sem|seg|labels?|gt|class(es)?|instances?|instance_ids?"
    r"|times?|timestamps?|rings?|superpoints?|flow)\d*"
)
_SEPARATED = re.compile(r"(?P<name>.+)[._-](?P<attribute>[^._-]+)")


@dataclass(frozen=True)
class Group:
    """One scan: its folder (of the sequence), its name, and its files, coordinates first.

    `alone`: the folder of its files holds no other scan.
    """

    folder: Path
    name: str
    parts: tuple[tuple[str, Path], ...]
    alone: bool = False


def is_attribute(stem: str) -> bool:
    """Whether a file of this name holds something of points that is not their place."""
    return _OTHERS.fullmatch(stem.lower()) is not None


def find_groups(folders: Mapping[Path, Sequence[Path]], src: Path) -> list[Group]:
    """The scans of several files among the .npy files of `folders`.

    One folder a scan (``scene0/coord.npy, color.npy``), one folder an attribute
    (``coord/000.npy, color/000.npy``), or both in the name (``000_coord.npy, 000_color.npy``).
    """
    found: list[Group] = []
    for folder, paths in folders.items():
        by_stem = {path.stem.lower(): path for path in paths}
        if parts := _parts(by_stem):
            place = folder.parent if folder != src else folder
            found.append(Group(place, folder.name or "scan", parts, alone=True))
        else:
            found += _by_prefix(folder, paths)
    return found + _by_folder(folders, {path for group in found for _, path in group.parts})


def _parts(by_attribute: Mapping[str, Path]) -> tuple[tuple[str, Path], ...]:
    """The files of one scan, if its coordinates and something else are there."""
    first = next((name for name in _COORDINATES if name in by_attribute), None)
    others = sorted(name for name in by_attribute if is_attribute(name))
    if first is None or not others:
        return ()
    return tuple((name, by_attribute[name]) for name in (first, *others))


def _by_prefix(folder: Path, paths: Sequence[Path]) -> list[Group]:
    scans: dict[str, dict[str, Path]] = {}
    for path in paths:
        if match := _SEPARATED.fullmatch(path.stem):
            scans.setdefault(match["name"], {})[match["attribute"].lower()] = path
    return [Group(folder, name, parts) for name, by in scans.items() if (parts := _parts(by))]


def _by_folder(folders: Mapping[Path, Sequence[Path]], taken: set[Path]) -> list[Group]:
    scans: dict[tuple[Path, str], dict[str, Path]] = {}
    for folder, paths in folders.items():
        name = folder.name.lower()
        if name in _COORDINATES or is_attribute(name):
            for path in paths:
                if path not in taken:
                    scans.setdefault((folder.parent, path.stem), {})[name] = path
    return [
        Group(parent, name, parts) for (parent, name), by in scans.items() if (parts := _parts(by))
    ]
