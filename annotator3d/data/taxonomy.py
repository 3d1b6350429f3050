"""Class maps: the raw ids of a dataset, the train ids of a task, names and colours.

A YAML file has the layout of semantic-kitti-api (a stock semantic-kitti.yaml loads unchanged):

- ``labels``: raw id -> raw name
- ``color_map``: raw id -> [blue, green, red] (semantic-kitti-api's order; ``Taxonomy`` has RGB)
- ``learning_map``: raw id -> train id, 0 = ignored
- ``learning_map_inv``: train id -> the raw id that is written and that names the class
- ``learning_ignore``: train id -> true for 0 only (optional)
- ``guidance``: class name -> one line for annotators (optional, ours)
- ``class_names``: train id -> name of a class of several raw ids that no raw name fits (optional,
  ours)
- ``moves``: the names of the classes whose things move or may drive away, such as car; all others
  stand still (optional, ours). Without it nothing is known about motion.

Shorter, one entry a class: a class list (`class_list`), which stands for these sections.

In files 0 is ignored and classes are 1..C; in memory classes are 0..C-1 and 255 is ignored. The
shift happens in `parse_taxonomy` and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

from annotator3d.data.class_list import (
    LONGEST_GUIDANCE,
    LONGEST_NAME,
    PlainNumbers,
    check_text,
    expand,
)
from annotator3d.data.class_names import check_names
from annotator3d.data.files import require_file
from annotator3d.data.formats.kitti import listed_ids, split_label
from annotator3d.data.plain_yaml import read_yaml
from annotator3d.data.scan import IGNORE
from annotator3d.errors import in_yaml, nearest, shortened, some

MAX_CLASSES = 254
_UNKNOWN = 254  # neither a train id (0..253) nor IGNORE
_FOLDER = Path(__file__).parent / "taxonomies"


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """The classes of one task on one dataset. Made by `load_taxonomy`."""

    name: str
    names: list[str]  # C class names, by train id
    colors: NDArray[np.uint8]  # [C, 3] RGB
    guidance: dict[str, str]  # class name -> one line for annotators; may lack classes
    learning_map: dict[int, int]  # raw id -> train id 0..C-1 or 255
    raw_ids: NDArray[np.uint16]  # [256] train id -> raw id
    _train_ids: NDArray[np.uint8]  # [65536] raw id -> train id or _UNKNOWN
    labels: dict[int, str] = field(default_factory=dict)  # raw id -> the dataset's name for it
    moves: NDArray[np.bool_] | None = None  # [C] whether a class moves; None: the file does not say

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def to_train(self, raw: ArrayLike, file: str | os.PathLike[str]) -> NDArray[np.uint8]:
        """Map raw labels [N] (instance bits are ignored) to train ids [N] uint8, 255 = ignore.

        ``file`` is named in the ValueError for raw ids that the taxonomy does not know.
        """
        raw = np.asarray(raw).astype(np.uint32)
        classes, _ = split_label(raw)
        train = self._train_ids[classes]
        if (unknown := train == _UNKNOWN).any():
            ids, counts = np.unique(classes[unknown], return_counts=True)
            found = listed_ids(raw, dict(zip(ids, counts, strict=True)))
            raise ValueError(
                f"{file} holds raw ids that taxonomy {self.name!r} does not know: {found}. Add "
                "them to its labels and learning_map (train id 0 = ignored) or choose another one"
            )
        return train

    def to_raw(self, train: ArrayLike) -> NDArray[np.uint16]:
        """Map train ids [N] (0..C-1, 255) to the raw ids [N] uint16 that the dataset's tools read.

        Raises ValueError for any other train id.
        """
        train = np.asarray(train)
        if (wrong := (train < 0) | ((train >= self.num_classes) & (train != IGNORE))).any():
            raise ValueError(
                f"train ids must be 0..{self.num_classes - 1} or {IGNORE}, "
                f"got [{some(np.unique(train[wrong]))}]"
            )
        return self.raw_ids[train]

    def digest(self) -> str:
        """Hex digest of class names and mapping; nothing else of the file changes it."""
        content = json.dumps([self.names, sorted(self.learning_map.items())])
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def taxonomy_names() -> list[str]:
    """The taxonomies that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def taxonomy_path(name: str | os.PathLike[str]) -> Path:
    """The file of a taxonomy of the package, by its name, or of any other, by its path.

    Raises ValueError for an unknown name (with the nearest one), FileNotFoundError for a path.
    """
    path = Path(name)
    if str(name) in taxonomy_names():
        path = _FOLDER / f"{name}.yaml"
    elif not path.is_file():
        if path.exists() or path.is_symlink():
            require_file(path)
        if path.suffix in (".yaml", ".yml"):
            raise FileNotFoundError(f"there is no taxonomy file {path}")
        raise ValueError(f"unknown taxonomy {str(name)!r}: {nearest(str(name), taxonomy_names())}")
    return path


def load_taxonomy(name: str | os.PathLike[str]) -> Taxonomy:
    """Load a taxonomy of the package by its name or any YAML file by its path.

    Raises ValueError for an unknown name (with the nearest one) or a file that contradicts itself.
    """
    path = taxonomy_path(name)
    own = path == _FOLDER / f"{name}.yaml"
    content = _own(path) if own else read_yaml(path, loader=PlainNumbers)
    return parse_taxonomy(content, path.stem, path)


@cache
def _own(path: Path) -> Any:
    """The content of a file of the package: each data set of a run asks for it, some times."""
    return read_yaml(path, loader=PlainNumbers)


def dump_taxonomy(taxonomy: Taxonomy) -> bytes:
    """YAML that `parse_taxonomy` reads back as the same taxonomy, with the same digest."""
    classes = range(taxonomy.num_classes)
    raw_ids = [int(raw) for raw in taxonomy.raw_ids]
    content = {
        "labels": taxonomy.labels,
        "color_map": {raw_ids[i]: taxonomy.colors[i, ::-1].tolist() for i in classes},
        "learning_map": {
            raw: 0 if train == IGNORE else train + 1 for raw, train in taxonomy.learning_map.items()
        },
        "learning_map_inv": {0: raw_ids[IGNORE], **{i + 1: raw_ids[i] for i in classes}},
        "class_names": {i + 1: name for i, name in enumerate(taxonomy.names)},
        "guidance": taxonomy.guidance,
    }
    if taxonomy.moves is not None:
        content["moves"] = [
            name for name, moves in zip(taxonomy.names, taxonomy.moves, strict=True) if moves
        ]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()


def parse_taxonomy(content: Any, name: str, source: str | os.PathLike[str]) -> Taxonomy:
    """Check the content of a taxonomy YAML and shift its train ids to 0..C-1 / 255.

    ``source`` is named in the ValueError for content that is incomplete or contradicts itself.
    """
    if isinstance(content, dict) and "classes" in content:
        content = expand(content, source)
    sections = ("labels", "color_map", "learning_map", "learning_map_inv")
    if not isinstance(content, dict) or not all(isinstance(content.get(s), dict) for s in sections):
        raise ValueError(
            f"{source} must have the list classes, or the mappings {', '.join(sections)}"
        )
    labels, colors, to_train, to_raw = (content[section] for section in sections)
    _check_ids(labels, to_train, to_raw, content.get("learning_ignore") or {}, source)

    for section in ("labels", "class_names", "guidance"):
        longest = LONGEST_GUIDANCE if section == "guidance" else LONGEST_NAME
        for key, value in (content.get(section) or {}).items():
            if value is not None or section != "guidance":
                what = f"taxonomy {source}: {section} of {shortened(repr(key), 60)}"
                check_text(value, what, source, longest)
    count = len(to_raw) - 1
    own = content.get("class_names") or {}
    if unknown := [train for train in own if train not in to_raw or train == 0]:
        raise ValueError(f"taxonomy {source}: class_names for no class: {some(unknown)}")
    names = [str(own.get(train, labels[to_raw[train]])) for train in range(1, count + 1)]
    guidance = content.get("guidance") or {}
    check_names(names, source)
    _check_guidance(names, guidance, source)
    moves = _moves(content.get("moves"), names, source)

    learning_map = {raw: train - 1 if train else IGNORE for raw, train in to_train.items()}
    train_ids = np.full(1 << 16, _UNKNOWN, dtype=np.uint8)
    train_ids[list(learning_map)] = list(learning_map.values())
    raw_ids = np.zeros(256, dtype=np.uint16)
    raw_ids[:count] = [to_raw[train] for train in range(1, count + 1)]
    raw_ids[IGNORE] = to_raw[0]
    rgb = _rgb(colors, raw_ids[:count], source)
    for array in (train_ids, raw_ids, rgb):
        array.setflags(write=False)
    raw_names = {raw: str(label) for raw, label in labels.items()}
    return Taxonomy(
        name, names, rgb, dict(guidance), learning_map, raw_ids, train_ids, raw_names, moves
    )


def _check_ids(
    labels: Mapping, to_train: Mapping, to_raw: Mapping, ignored: Mapping, source: object
) -> None:
    """Raise ValueError unless the ids are in range, without gaps and each other's inverse."""
    problems = []
    bad = [raw for raw in labels if not (type(raw) is int and 0 <= raw < 1 << 16)]
    if bad:
        problems.append(f"raw ids must be integers in 0..65535, got [{some(map(repr, bad))}]")
    if unmapped := set(labels) ^ set(to_train):
        problems.append(
            "labels and learning_map must have the same raw ids, which these break: "
            f"{some(_listed(unmapped))}"
        )
    train = set(to_train.values())
    if not (train | {0}) == set(to_raw) == set(range(len(to_raw))):
        problems.append(
            "the train ids must be 0 (ignored) and 1..C without gaps, the same in learning_map "
            f"and learning_map_inv, got {some(_listed(train), 80)} and {some(_listed(to_raw), 80)}"
        )
    if len(to_raw) - 1 > MAX_CLASSES:
        problems.append(f"at most {MAX_CLASSES} classes, got {len(to_raw) - 1}")
    if len(to_raw) < 2:
        problems.append("there must be at least one class")
    back = {t: raw for t, raw in to_raw.items() if to_train.get(raw) != t}
    if back:
        problems.append(
            "learning_map does not lead back to the train id from "
            + some(f"{t} (of raw id {raw})" for t, raw in back.items())
        )
    if flagged := [t for t, flag in ignored.items() if bool(flag) != (t == 0)]:
        problems.append(
            f"learning_ignore must be true for train id 0 only, which these break: {some(flagged)}"
        )
    if problems:
        raise ValueError(f"taxonomy {source}: " + "; ".join(problems))


def _check_guidance(names: list[str], guidance: Mapping, source: object) -> None:
    for name in guidance:
        if name not in names:
            raise ValueError(
                f"taxonomy {source}: guidance for unknown class {name!r}: {nearest(name, names)}"
            )


def _moves(given: Any, names: list[str], source: object) -> NDArray[np.bool_] | None:
    """[C] whether a class is listed as one that moves; None where nothing is said."""
    if given is None:
        return None
    if not isinstance(given, list) or not all(type(name) in (str, int) for name in given):
        raise ValueError(
            f"taxonomy {source}: moves must list the names of the classes that move, such as "
            f"[car, person], or be empty where none does; got {in_yaml(given)}"
        )
    for name in map(str, given):
        if name not in names:
            raise ValueError(
                f"taxonomy {source}: moves names the unknown class {shortened(repr(name), 60)}: "
                f"{nearest(name, names)}"
            )
    moves = np.isin(names, list(map(str, given)))
    moves.setflags(write=False)
    return moves


def _rgb(color_map: Mapping, raw_ids: NDArray[np.uint16], source: object) -> NDArray[np.uint8]:
    try:
        bgr = np.array([color_map[int(raw)] for raw in raw_ids])
    except (KeyError, ValueError) as error:
        raise ValueError(f"taxonomy {source}: no [blue, green, red] for raw id {error}") from None
    if bgr.shape != (len(raw_ids), 3) or bgr.dtype.kind != "i" or not (bgr >> 8 == 0).all():
        raise ValueError(f"taxonomy {source}: a colour must be three integers in 0..255")
    return bgr[:, ::-1].astype(np.uint8)


def _listed(ids: Any) -> list:
    return sorted(ids, key=str)
