"""What the name of a class may be: people must be able to tell one from another on a screen."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from annotator3d.errors import some


def check_names(names: Sequence[str], source: object) -> None:
    """Raise ValueError for names that cannot be seen or told apart.

    These are names without a visible letter, with blanks around them or line breaks in them, and
    two that look the same (an accent written in two ways, letters of no width).

    Args:
        names: one for each class.
        source: what is named in the message.
    """
    for number, name in enumerate(names, 1):
        if not _seen(name):
            words = "has no visible letter; give the class a name"
        elif name != name.strip():
            words = "begins or ends with a blank; leave it out"
        elif len(name.splitlines()) > 1:
            words = "has a line break; write the name in one line"
        else:
            continue
        raise ValueError(f"taxonomy {source}: the name of class {number}, {name!r}, {words}")
    same: dict[str, list[str]] = {}
    for name in names:
        same.setdefault(_seen(name), []).append(name)
    groups = [set(group) for group in same.values() if len(group) > 1]
    if groups:
        raise ValueError(
            f"taxonomy {source}: class names must differ, also to the eye; the same: "
            f"{some(ascii(name) for group in groups for name in sorted(group))}"
        )


def _seen(name: str) -> str:
    """A name as it looks: accents in one spelling, one blank for several, nothing invisible."""
    visible = "".join(c for c in name if unicodedata.category(c) != "Cf")
    return " ".join(unicodedata.normalize("NFC", visible).split())
