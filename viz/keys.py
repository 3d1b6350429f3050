"""The one table of what a key does: keys, buttons and the help panel are all made from it.

Keys are letters, digits, arrows, space and enter, with or without Ctrl, because these are where
their name says on every keyboard layout; Escape is left alone, windows close on it. Classes take
the digits 1 to 9 and 0, then the letters that no action has, in the order of the train ids; a class
beyond them is chosen with the mouse.

A YAML file changes keys::

    actions: {skip: k, background: q}
    classes: {car: c, road: "1"}
"""

from __future__ import annotations

import os
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from annotator3d.errors import ConfigError, nearest

_PLAIN = (*"1234567890", *string.ascii_lowercase, "left", "right", "up", "down", "space", "enter")
KEYS = (*_PLAIN, *(f"ctrl+{key}" for key in _PLAIN))
"""Every name of a key that may be used."""


MODES = ("label", "review")


@dataclass(frozen=True)
class KeyAction:
    """One row of the table."""

    name: str  # what `LabelSession.do` or the window is asked for; "class N" labels train id N
    key: str | None  # of `KEYS`; None: by button only
    text: str  # on the button
    help: str
    window: bool = False  # the window does it by itself; it changes only the picture
    mode: str = ""  # of `MODES`; "": in both

    @property
    def caption(self) -> str:
        """What a button says: the text and the key."""
        return self.text if self.key is None else f"{self.text} [{self.key}]"


ACTIONS = (
    KeyAction("accept", "enter", "Accept", "label the voxel as proposed", mode="label"),
    KeyAction("repeat", "space", "Same again", "give the class that was given last", mode="label"),
    KeyAction("approve", "enter", "Approve", "the answer that is shown counts", mode="review"),
    KeyAction(
        "next opinion", "space", "Next opinion", "show what the next person said", mode="review"
    ),
    KeyAction(
        "reject",
        "s",
        "Reject",
        "take the answer that is shown away; with none left the voxel is asked again",
        mode="review",
    ),
    KeyAction(
        "ignore", "x", "No class fits", "none of the classes: these points are not trained on"
    ),
    KeyAction("skip", "s", "Skip", "skip this voxel; it gets no labels", mode="label"),
    KeyAction(
        "unsure", "u", "Unsure", "the class is unclear; the voxel gets no labels", mode="label"
    ),
    KeyAction("undo", "ctrl+z", "Undo", "undo your last action, in any scan"),
    KeyAction("redo", "ctrl+y", "Redo", "redo what was undone"),
    KeyAction("next", "right", "Next", "leave this voxel as it is and go to the next"),
    KeyAction("previous", "left", "Previous", "go to the voxel before"),
    KeyAction("split prediction", "p", "By prediction", "part the voxel by the predicted classes"),
    KeyAction("split height", "z", "By height", "part the voxel by a horizontal plane"),
    KeyAction(
        "split clusters", "c", "Clusters", "part the voxel into 2 clusters; again: 3, 4, ..."
    ),
    KeyAction("whole", "a", "All points", "no parts: a class goes to all points of the voxel"),
    KeyAction("next part", "down", "Next part", "choose the next part of the voxel"),
    KeyAction("previous part", "up", "Previous part", "choose the part before"),
    KeyAction("brush", "b", "Brush", "paint points of the voxel with the mouse", True),
    KeyAction("note", "n", "Note", "write a remark on this voxel", True),
    KeyAction("go to", "g", "Go to ...", "go to a voxel by its number", True),
    KeyAction("focus", "f", "Look at voxel", "bring the camera back to the voxel", True),
    KeyAction("view", "v", "View", "camera: from above, from the sensor, from the side", True),
    KeyAction("colour", "m", "Colours", "next colouring of the points", True),
    KeyAction("neighbours", "l", "Neighbours", "show or hide the scans before and after", True),
    KeyAction("isolate", "i", "Isolate class", "show only the points of one class", True),
    KeyAction("background", "k", "Background", "dark or light", True),
    KeyAction("larger", "ctrl+up", "Larger", "draw points larger", True),
    KeyAction("smaller", "ctrl+down", "Smaller", "draw points smaller", True),
    KeyAction("help", "h", "Help", "show or hide this list", True),
)


@dataclass(frozen=True)
class KeyTable:
    """All actions, those of the classes included, each with its key; made by `make_keys`."""

    actions: tuple[KeyAction, ...]

    def action(self, key: str) -> KeyAction | None:
        """What a key does; None if nothing."""
        return next((action for action in self.actions if action.key == key), None)

    def named(self, name: str) -> KeyAction:
        """The row of an action. Raises ConfigError with the nearest name for an unknown one."""
        by_name = {action.name: action for action in self.actions}
        if name not in by_name:
            raise ConfigError(f"unknown action {name!r}: {nearest(name, by_name)}")
        return by_name[name]

    def help(self) -> list[tuple[str, str, str]]:
        """Lines of the help panel: (key, button text, help)."""
        return [(a.key or "button only", a.text, a.help) for a in self.actions]


def make_keys(
    class_names: Sequence[str],
    guidance: Mapping[str, str] | None = None,
    file: str | os.PathLike[str] | None = None,
    mode: str = "label",
) -> KeyTable:
    """The table for a class list, with the changes of a YAML file.

    A key may do one thing while labelling and another one while reviewing.

    Args:
        class_names: by train id.
        guidance: class name -> help for annotators.
        file: see the top of this module.
        mode: of `MODES`.

    Raises:
        ConfigError: the file names an unknown action, class or key, or gives one key twice.
        FileNotFoundError: there is no such file.
    """
    changes = _read(file, class_names) if file is not None else {"actions": {}, "classes": {}}
    given = changes["classes"]
    every = [replace(a, key=changes["actions"].get(a.name, a.key)) for a in ACTIONS]
    actions = [action for action in every if action.mode in ("", mode)]
    taken = {a.key for a in every} | set(given.values())  # so that a class has one key in all modes
    left = (key for key in (*"1234567890", *string.ascii_lowercase) if key not in taken)
    classes = [
        KeyAction(
            f"class {index}",
            given[name] if name in given else next(left, None),
            name,
            (guidance or {}).get(name, f"label the points as {name}"),
        )
        for index, name in enumerate(class_names)
    ]
    _refuse_conflicts([*classes, *actions], file)
    return KeyTable((*classes, *actions))


def _read(file: str | os.PathLike[str], class_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    with open(file, encoding="utf-8") as stream:
        try:
            content = yaml.safe_load(stream) or {}
        except yaml.YAMLError as error:
            raise ConfigError(f"{file} is not YAML: {error}") from None
    known = {"actions": [a.name for a in ACTIONS], "classes": list(class_names)}
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ConfigError(f"{file}: expected the mappings actions and classes, got {content!r}")
    for section, names in content.items():
        if section not in known:
            raise ConfigError(f"{file}: unknown section {section!r}: {nearest(section, known)}")
        for name, key in names.items():
            if name not in known[section]:
                hint = nearest(str(name), known[section])
                raise ConfigError(f"{file}, {section}: unknown {name!r}: {hint}")
            names[name] = _key(key, f"{file}, {section}, {name}")
    return {section: content.get(section, {}) for section in known}


def _key(key: Any, where: str) -> str | None:
    """The name of a key; null takes the key away."""
    name = None if key is None else str(key).lower().replace(" ", "")
    if name is not None and name not in KEYS:
        raise ConfigError(
            f"{where}: {key!r} is not a key that every layout has; use a letter, a digit, left, "
            "right, up, down, space or enter, or ctrl+ one of them"
        )
    return name


def _refuse_conflicts(actions: Sequence[KeyAction], file: object) -> None:
    owner: dict[str, KeyAction] = {}
    for action in actions:
        if action.key is not None and action.key in owner:
            raise ConfigError(
                f"{file}: key {action.key!r} is both {owner[action.key].name!r} and "
                f"{action.name!r}; change one of them"
            )
        if action.key is not None:
            owner[action.key] = action
