"""Every file below a folder: linked folders are followed, each folder is visited once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Tree:
    """What lies below a folder.

    Attributes:
        files: folder -> names in it, in order; hidden ones are left out.
        hidden: files whose names start with a dot.
        again: links to folders that are in `files` under another name, or that lead upwards.
        closed: folders that may not be listed.
        dangling: links to nothing.
    """

    files: dict[Path, list[str]] = field(default_factory=dict)
    hidden: list[Path] = field(default_factory=list)
    again: list[Path] = field(default_factory=list)
    closed: list[Path] = field(default_factory=list)
    dangling: list[Path] = field(default_factory=list)


def walk_tree(root: Path) -> Tree:
    """Look through `root`, first without links and then through what links lead to."""
    tree = Tree()
    seen: set[str] = set()
    links = _descend(root, tree, seen)
    while links:
        link = links.pop(0)
        if os.path.realpath(link) in seen:
            tree.again.append(link)
        else:
            links += _descend(link, tree, seen)
    return tree


def walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder of `walk_tree` with the names of its files, in the order of their names."""
    yield from sorted(walk_tree(root).files.items())


def _descend(start: Path, tree: Tree, seen: set[str]) -> list[Path]:
    """Add a folder and those in it; returns the links to folders."""
    links: list[Path] = []

    def unreadable(error: OSError) -> None:
        tree.closed.append(Path(error.filename))

    for folder, inside, names in os.walk(start, onerror=unreadable):
        real = os.path.realpath(folder)
        if real in seen:  # by a link into the middle of what is visited now
            tree.again.append(Path(folder))
            inside.clear()
            continue
        seen.add(real)
        place = Path(folder)
        visible = sorted(name for name in inside if name[0] != ".")
        links += [place / name for name in visible if os.path.islink(place / name)]
        inside[:] = [name for name in visible if not os.path.islink(place / name)]
        tree.hidden += [place / name for name in sorted(names) if name[0] == "."]
        tree.files[place] = sorted(name for name in names if name[0] != ".")
        tree.dangling += [
            place / name for name in tree.files[place] if not os.path.exists(place / name)
        ]
    return links
