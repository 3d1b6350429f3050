"""Configs by name, file or dictionary."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotator3d.engine.config.load import find_config, load_config, trust
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.workdir import WorkDir


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

        A config in Python runs. One in YAML or JSON is plain data: what its ``custom_imports`` name
        runs after `trust`.

        Raises:
            ConfigError: no such config, one that needs `trust`, an unknown key (with the nearest
                one), or a value of the wrong type or range.
        """
        options = [f"{key}={_yaml(value)}" for key, value in (cfg_options or {}).items()]
        return load_config(find_config(str(name_or_path)), options)

    @staticmethod
    def trust(path: str | Path) -> None:
        """Say yes to the Python code of a config, as ``--trust`` does; remembered for its folder.

        Args:
            path: a work directory, whose config.yaml may name code in ``custom_imports``; or a
                config file.

        Raises:
            ConfigError: no such file, or it names code that is not there.
        """
        path = Path(path)
        words = trust(WorkDir(path).config_path if path.is_dir() else path)
        if words is not None:
            warnings.warn(f"{path}: {words}", stacklevel=2)


def _yaml(value: Any) -> str:
    """JSON, which is YAML on one line."""
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy as those of Python; a path as its text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
