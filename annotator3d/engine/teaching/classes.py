"""Which classes scans may be taught through others: those that stay where they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.motion import UNKNOWN_MOTION
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.errors import ConfigError, nearest, some


def taught_classes(
    taxonomy: Taxonomy, wanted: Sequence[str] | None, lever: str
) -> NDArray[np.bool_]:
    """[256] whether a class may be taught, by train id.

    Args:
        wanted: names of classes; None: all that do not move.
        lever: its key, for the message.

    Raises ConfigError for a name that is no class or of one that moves, and where neither the
    class list nor `wanted` says what stays.
    """
    names, found, key = taxonomy.names, np.zeros(256, bool), f"{lever}.classes"
    if wanted is None:
        if taxonomy.moves is None:
            raise ConfigError(
                f"{key}: {UNKNOWN_MOTION}, and what moves is not at the same place in the next "
                "scan; say it there, or name the classes that stay where they are, of "
                f"{some(names)}"
            )
        found[: len(names)] = ~taxonomy.moves
        return found
    for name in wanted:
        if name not in names:
            raise ConfigError(f"{key}: unknown class {name!r}: {nearest(name, names)}")
        if taxonomy.moves is not None and taxonomy.moves[names.index(name)]:
            raise ConfigError(
                f"{key}: {name!r} is a class that moves, by the class list {taxonomy.name!r}; "
                "leave it out: it is not at the same place in the next scan"
            )
        found[names.index(name)] = True
    return found
