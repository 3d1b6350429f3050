"""Class lists: the short way to write a taxonomy, one entry a class.

- ``classes``: a list of ``name``, ``ids`` (raw ids in the label files), ``color`` ([red, green,
  blue], optional), ``guidance`` (one line for annotators, optional) and ``moves`` (whether such
  things move or may drive away, optional); train ids by position. If one entry says ``moves``,
  those that do not say it stand still; if none does, nothing is known about motion
- ``ignored``: raw ids of no class; the first is written for points without a class. Default: 0,
  or 255 where 0 is a class.
"""

from __future__ import annotations

import colorsys
import os
import re
from collections.abc import Mapping
from types import NoneType
from typing import Any

import yaml

from annotator3d.data.plain_yaml import line_of
from annotator3d.errors import in_yaml, nearest

LONGEST_NAME, LONGEST_GUIDANCE = 200, 2000
"""Characters: a name is shown in lists and beside points, guidance on one line."""
_KEYS = ("name", "ids", "color", "guidance", "moves")


class PlainNumbers(yaml.SafeLoader):
    """Refuses whole numbers that are not what they look like: 010 is 8 in YAML, and 1:30 is 90."""


def _number(loader: PlainNumbers, node: yaml.ScalarNode) -> int:
    value = loader.construct_yaml_int(node)
    if re.fullmatch(r"[-+]?(0|[1-9]\d*|0x[\da-fA-F]+)", node.value):
        return value
    words = f"{node.value} means {value} in YAML; write {value}, or quotes around a name"
    raise yaml.constructor.ConstructorError(None, None, words, node.start_mark)


PlainNumbers.add_constructor("tag:yaml.org,2002:int", _number)


def expand(content: Mapping, source: str | os.PathLike[str]) -> dict[str, Any]:
    """The sections of semantic-kitti-api that a class list stands for.

    ``source`` is named in the ValueError for a list that is incomplete or contradicts itself.
    """
    where = f"taxonomy {source}"
    _known(content, ("classes", "ignored"), where)
    entries = content["classes"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{where}: classes must be a list of entries with name and ids")
    for number, entry in enumerate(entries, 1):
        _check_entry(entry, f"{where}, class {number}", source)
    ignored = _ignored(content, entries, where)
    labels, learning_map = dict.fromkeys(ignored, "ignored"), dict.fromkeys(ignored, 0)
    colors, inverse = {ignored[0]: [0, 0, 0]}, {0: ignored[0]}
    for train, entry in enumerate(entries, 1):
        for raw in entry["ids"]:
            if raw in learning_map:
                taken = labels[raw] if learning_map[raw] else "ignored"
                raise ValueError(f"{where}: raw id {raw} is of {entry['name']!r} and of {taken!r}")
            labels[raw], learning_map[raw] = str(entry["name"]), train
        inverse[train] = entry["ids"][0]
        colors[entry["ids"][0]] = list(entry.get("color", _color(train)))[::-1]
    guidance = {str(e["name"]): str(e["guidance"]) for e in entries if e.get("guidance")}
    sections: dict[str, Any] = {
        "labels": labels,
        "color_map": colors,
        "learning_map": learning_map,
        "learning_map_inv": inverse,
        "guidance": guidance,
    }
    if any("moves" in entry for entry in entries):
        sections["moves"] = [str(entry["name"]) for entry in entries if entry.get("moves")]
    return sections


def check_text(
    value: object, what: str, source: str | os.PathLike[str], longest: int = LONGEST_NAME
) -> None:
    """Raise ValueError for a word that YAML turned into something else, such as ``no``.

    Args:
        what: how the message calls it, file included.
        source: the file, in which the line of a text of more than `longest` characters is sought.
    """
    if type(value) in (str, int):
        if len(text := str(value)) > longest:
            line = line_of(source, text)
            raise ValueError(
                f"{what} has {len(text):,} characters{f' (line {line})' if line else ''}, expected "
                f"at most {longest}; shorten it"
            )
        return
    became = {True: "yes, on or true", False: "no, off or false", None: "null, ~ or nothing"}
    if isinstance(value, (bool, NoneType)):
        raise ValueError(
            f"{what} must be text, but YAML reads {became[value]} as {_yaml(value)}; write the "
            'word in quotes, such as "yes"'
        )
    raise ValueError(
        f"{what} must be text, but YAML reads it as {in_yaml(value)}; write it in quotes"
    )


def _yaml(value: bool | None) -> str:
    return "no value" if value is None else str(value).lower()


def _check_entry(entry: Mapping, where: str, source: str | os.PathLike[str]) -> None:
    _known(entry, _KEYS, where)
    for key, longest in (("name", LONGEST_NAME), ("guidance", LONGEST_GUIDANCE)):
        if entry.get(key) is not None or (key == "name" and key in entry):
            check_text(entry[key], f"{where}: {key}", source, longest)
    for key in ("name", "ids"):
        if not entry.get(key):
            raise ValueError(f"{where}: needs {key!r}, such as name: car, ids: [10, 252]")
    ids, color = entry["ids"], entry.get("color", [0, 0, 0])
    if not isinstance(ids, list) or not all(type(raw) is int for raw in ids):
        raise ValueError(f"{where}: ids must be a list of integers such as [1], got {in_yaml(ids)}")
    if type(entry.get("moves", False)) is not bool:
        raise ValueError(f"{where}: moves must be true or false, got {in_yaml(entry['moves'])}")
    if not isinstance(color, list) or len(color) != 3:
        raise ValueError(
            f"{where}: color must be [red, green, blue] of 0..255, got {in_yaml(color)}"
        )


def _ignored(content: Mapping, entries: list[dict], where: str) -> list[int]:
    taken = {raw for entry in entries for raw in entry["ids"]}
    ignored = content.get("ignored")
    if ignored is None:
        ignored = [raw for raw in (0, 255) if raw not in taken][:1]
    if not isinstance(ignored, list) or not ignored or not all(type(r) is int for r in ignored):
        raise ValueError(
            f"{where}: ignored must list the raw ids that stand for no class, such as [0]; at "
            f"least one that no class has, got {in_yaml(ignored)}"
        )
    return list(dict.fromkeys(ignored))


def _known(given: Mapping, keys: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in keys:
            raise ValueError(f"{where}: unknown key {key!r}: {nearest(str(key), keys)}")


def _color(train: int) -> list[int]:
    """Hues a golden angle apart: neighbours in the list look different, for any number of them."""
    hue = train * 0.618034 % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.65 + 0.1 * (train % 3), 0.95 - 0.15 * (train % 2))
    return [round(255 * value) for value in (red, green, blue)]


TEMPLATE = """\
# The classes of your scans, for `annotator3d import --taxonomy THIS_FILE`.
#
# One entry a class, in the order in which you want to see them (at most 254):
#   name      what the class is called
#   ids       the numbers that stand for it in your label files (0 to 65535); several are merged
#   color     [red, green, blue], 0 to 255; leave it out and one is chosen
#   guidance  one line for the people who label; leave it out if the name says it all
#   moves     true for things that move or may drive away, also while they stand: cars, people.
#             Answers about the others hold for other scans of the same place (training.propagate)
#
# A semantic-kitti.yaml (labels, color_map, learning_map, learning_map_inv) works in its place.
classes:
  - name: ground
    ids: [1]
    color: [128, 64, 128]
    guidance: Everything that one can drive or walk on, kerbs included.
    # moves: false     # say it of one class at least; those that do not say it stand still then
  - name: building
    ids: [2]
    color: [230, 160, 50]
    guidance: Walls and roofs; not fences.
  - name: vegetation
    ids: [3, 4]        # here: 3 trees, 4 bushes
    color: [0, 175, 0]

# The numbers that stand for no class: such points are neither trained on nor counted. The first
# is written for points without a class. A number in your files that is in no list is an error.
ignored: [0]
"""
