"""Query strategies, a file each. `published` has those of the Annotator paper.

A file here that registers a class is all that a new strategy of the package needs.
"""

from __future__ import annotations

from typing import Any

from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.active.strategies.published import (
    RandomSampling,
    VoxelConfusion,
    VoxelEntropy,
    VoxelMargin,
)
from annotator3d.registry import STRATEGIES, build

__all__ = [
    "STRATEGIES",
    "QueryStrategy",
    "RandomSampling",
    "VoxelConfusion",
    "VoxelEntropy",
    "VoxelMargin",
    "get_strategy",
]


def get_strategy(config: str | dict[str, Any], **limits: Any) -> QueryStrategy:
    """The strategy of a registered name, or of a table with its ``type`` and its own keywords.

    Args:
        limits: `voxel_size`, `max_range`, `min_points`.

    Raises ConfigError with the nearest name if it is unknown.
    """
    table = {"type": config} if isinstance(config, str) else config
    return build(STRATEGIES, table, **limits)
