"""Configs by name, file or dictionary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotator3d.engine.config.load import find_config, load_config
from annotator3d.engine.config.schema import RunConfig


class Config:
    """Reads configs; what it gives is a checked `RunConfig`, a dataclass of dataclasses."""

    @staticmethod
    def fromfile(
        name_or_path: str | Path, cfg_options: Mapping[str, Any] | None = None
    ) -> RunConfig:
        """The config of a file, or one that comes with annotator3d, such as ``"al/streets_demo"``.

        Args:
            name_or_path: Python, YAML or JSON, with mmengine's ``_base_``.
            cfg_options: dotted key -> value, such as ``{"active.strategy": "entropy"}``; they go
                over the config's own (docs/settings.md lists the keys).

        Raises:
            ConfigError: no such config, an unknown key (with the nearest one), or a value of the
                wrong type or range.
        """
        options = [f"{key}={_yaml(value)}" for key, value in (cfg_options or {}).items()]
        return load_config(find_config(str(name_or_path)), options)


def _yaml(value: Any) -> str:
    """JSON, which is YAML on one line."""
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy as those of Python; a path as its text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
