"""From the options of a command to a config."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from annotator3d.engine.config.schema import RunConfig


def config_from(args: argparse.Namespace) -> tuple[RunConfig, Path]:
    """The config that the options of `options.add_config` describe, and its file."""
    from annotator3d.engine.config.load import find_config, load_config

    path, settings = find_config(args.config), []
    for key in ("seed", "init", "device"):
        value = getattr(args, key, None)
        if value is not None:
            settings.append(f"{key}={json.dumps(value)}")
    return load_config(path, [*settings, *(args.set or [])]), path
