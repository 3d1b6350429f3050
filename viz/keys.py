"""The table of actions: key bindings, buttons and the help panel are all made from it.

Only letters, digits, arrows, space and enter are used, with or without Ctrl: they are on every
keyboard layout. Escape is not used, because it closes windows. The classes take the digits 1 to 9
and 0, then the letters without an action, in the order of the train ids; any further class has a
button only.

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

from annotator3d.data.plain_yaml import read_yaml
from annotator3d.errors import ConfigError, nearest

_PLAIN = (*"1234567890", *string.ascii_lowercase, "left", "right", "up", "down", "space", "enter")
KEYS = (*_PLAIN, *(f"ctrl+{key}" for key in _PLAIN))
"""The names of all keys that may be used."""

MODES = ("label", "review")


@dataclass(frozen=True)
class KeyAction:
    """One row of the table: an action, its key and its texts."""

    name: str  # of `LabelSession.do` or of the window; "class N" labels train id N
    key: str | None  # of `KEYS`; None: button only
    text: str  # on the button
    help: str
    window: bool = False  # done by the window: it changes only the view
    answers: bool = False  # it says something about the voxel on the screen
    mode: str = ""  # of `MODES`; "": in both

    @property
    def caption(self) -> str:
        """The text of the button: what it does and its key."""
        return self.text if self.key is None else f"{self.text} [{self.key}]"


ACTIONS = (
    KeyAction(
        "accept", "enter", "Accept", "label the voxel as proposed", mode="label", answers=True
    ),
    KeyAction(
        "repeat",
        "space",
        "Same again",
        "give the class that you gave last",
        mode="label",
        answers=True,
    ),
    KeyAction(
        "approve",
        "enter",
        "Approve",
        "accept the opinion that is shown",
        mode="review",
        answers=True,
    ),
    KeyAction(
        "next opinion", "space", "Next opinion", "show the next person's opinion", mode="review"
    ),
    KeyAction(
        "reject",
        "s",
        "Reject",
        "reject the opinion that is shown; if none is left, the voxel is asked again",
        mode="review",
        answers=True,
    ),
    KeyAction(
        "ignore",
        "x",
        "No class fits",
        "none of the classes fits; these points are not used for training",
        answers=True,
    ),
    KeyAction(
        "skip", "s", "Skip", "skip this voxel; it gets no labels", mode="label", answers=True
    ),
    KeyAction(
        "unsure",
        "u",
        "Unsure",
        "the class is unclear; the voxel gets no labels",
        mode="label",
        answers=True,
    ),
    KeyAction("undo", "ctrl+z", "Undo", "undo your last action, in any scan"),
    KeyAction("redo", "ctrl+y", "Redo", "redo what was undone"),
    KeyAction("next", "right", "Next", "go to the next voxel; this one stays as it is"),
    KeyAction("previous", "left", "Previous", "go to the previous voxel"),
    KeyAction("split prediction", "p", "By prediction", "split the voxel by predicted class"),
    KeyAction("split height", "z", "By height", "split the voxel at a horizontal plane"),
    KeyAction(
        "split clusters", "c", "Clusters", "split the voxel into 2 clusters; again: 3, 4, ..."
    ),
    KeyAction(
        "whole", "a", "All points", "undo the split: the next class goes to all points of the voxel"
    ),
    KeyAction("next part", "down", "Next part", "go to the next part of the voxel"),
    KeyAction("previous part", "up", "Previous part", "go to the previous part"),
    KeyAction("brush", "b", "Brush", "paint points of the voxel with the mouse", True),
    KeyAction("note", "n", "Note", "write a note on this voxel", True, answers=True),
    KeyAction("go to", "g", "Go to ...", "go to a voxel by its number", True),
    KeyAction("focus", "f", "Look at voxel", "move the camera back to the voxel", True),
    KeyAction(
        "view", "v", "Camera", "next camera: from the sensor, from above, from the side", True
    ),
    KeyAction("colour", "m", "Colours", "colour the points by the next property", True),
    KeyAction("neighbours", "l", "Neighbours", "show or hide the scans before and after", True),
    KeyAction("isolate", "i", "Isolate class", "show only points of the voxel's class", True),
    KeyAction("background", "k", "Background", "switch between dark and light", True),
    KeyAction("larger", "ctrl+up", "Larger", "draw the points larger", True),
    KeyAction("smaller", "ctrl+down", "Smaller", "draw the points smaller", True),
    KeyAction("help", "h", "Help", "show or hide this list", True),
)


@dataclass(frozen=True)
class KeyTable:
    """All actions with their keys, those of the classes included; made by `make_keys`."""

    actions: tuple[KeyAction, ...]

    def action(self, key: str) -> KeyAction | None:
        """The action of a key, or None."""
        return next((action for action in self.actions if action.key == key), None)

    def named(self, name: str) -> KeyAction:
        """The row of an action. Raises ConfigError with the nearest name for an unknown one."""
        by_name = {action.name: action for action in self.actions}
        if name not in by_name:
            raise ConfigError(f"unknown action {name!r}: {nearest(name, by_name)}")
        return by_name[name]

    def help(self) -> list[tuple[str, str, str]]:
        """The lines of the help panel: (key, text of the button, help)."""
        return [(a.key or "button only", a.text, a.help) for a in self.actions]


def make_keys(
    class_names: Sequence[str],
    guidance: Mapping[str, str] | None = None,
    file: str | os.PathLike[str] | None = None,
    mode: str = "label",
) -> KeyTable:
    """The table for a class list, with the changes of a YAML file.

    A key may have one action for labelling and another one for reviewing.

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
    taken = {a.key for a in every} | set(given.values())  # a class has the same key in all modes
    left = (key for key in (*"1234567890", *string.ascii_lowercase) if key not in taken)
    classes = [
        KeyAction(
            f"class {index}",
            given[name] if name in given else next(left, None),
            name,
            (guidance or {}).get(name, f"label the points as {name}"),
            answers=True,
        )
        for index, name in enumerate(class_names)
    ]
    _refuse_conflicts([*classes, *actions], file)
    return KeyTable((*classes, *actions))


def _read(file: str | os.PathLike[str], class_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    try:
        content = read_yaml(file) or {}
    except ValueError as error:
        raise ConfigError(str(error)) from None
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
    """The name of a key; None for null, which removes the key."""
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
                f"{action.name!r}; give one of them another key"
            )
        if action.key is not None:
            owner[action.key] = action
