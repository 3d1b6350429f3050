"""Which classes other scans may be taught: those that stay where they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.motion import UNKNOWN_MOTION
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.errors import ConfigError, nearest, some

_KEY = "training.propagate.classes"


def taught_classes(taxonomy: Taxonomy, wanted: Sequence[str] | None) -> NDArray[np.bool_]:
    """[256] whether a class may be taught, by train id.

    Args:
        wanted: names of classes; None: all that do not move.

    Raises ConfigError for a name that is no class or of one that moves, and where neither the
    class list nor `wanted` says what stays.
    """
    names, found = taxonomy.names, np.zeros(256, bool)
    if wanted is None:
        if taxonomy.moves is None:
            raise ConfigError(
                f"{_KEY}: {UNKNOWN_MOTION}, and what moves is not at the same place in the next "
                "scan; say it there, or name the classes that stay where they are, of "
                f"{some(names)}"
            )
        found[: len(names)] = ~taxonomy.moves
        return found
    for name in wanted:
        if name not in names:
            raise ConfigError(f"{_KEY}: unknown class {name!r}: {nearest(name, names)}")
        if taxonomy.moves is not None and taxonomy.moves[names.index(name)]:
            raise ConfigError(
                f"{_KEY}: {name!r} is a class that moves, by the class list {taxonomy.name!r}; "
                "leave it out: it is not at the same place in the next scan"
            )
        found[names.index(name)] = True
    return found
