"""From the options of a command to a config."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from annotator3d.engine.config.schema import RunConfig
    from annotator3d.engine.workdir import WorkDir


def config_from(
    args: argparse.Namespace, splits: Sequence[str] | None = None
) -> tuple[RunConfig, Path]:
    """The config that the options of `options.add_config` describe, and its file.

    Args:
        splits: the data sets that the command reads; None: those of a training.
    """
    from annotator3d.cli.usage import check_usage
    from annotator3d.engine.config.load import find_config, load_config

    path, settings = find_config(args.config), []
    for key in ("seed", "init", "device"):
        value = getattr(args, key, None)
        if value is not None:
            settings.append(f"{key}={json.dumps(value)}")
    settings += args.set or []
    check_usage(args, settings, path, splits)
    return load_config(path, settings), path


def refuse_twice(args: argparse.Namespace) -> None:
    """Raise ConfigError where one ``--set`` of a command line undoes another."""
    if getattr(args, "set", None):
        from annotator3d.engine.config.overrides import refuse_undone

        refuse_undone(args.set)


def say_yes(args: argparse.Namespace) -> None:
    """Do what ``--trust`` asks for: keep a yes to the Python code of the command's config."""
    from annotator3d.engine.config.load import find_config, trust
    from annotator3d.engine.workdir import WorkDir

    if getattr(args, "config", None) is not None:
        path = find_config(args.config)
    else:
        given = Path(getattr(args, "work_dir", None) or getattr(args, "what", None) or ".")
        path = WorkDir(given if given.is_dir() else given.parent).config_path
    if path.is_file() and (words := trust(path)):
        print(f"{path}: {words}", file=sys.stderr)


def run_of(path: Path) -> WorkDir | None:
    """The work directory whose own config a file is; None for any other config."""
    from annotator3d.engine.workdir import WorkDir

    folder = WorkDir(path.parent)
    kept = path.name == folder.config_path.name and folder.run_info_path.is_file()
    return folder if kept else None


def data_root_of(args: argparse.Namespace, config: RunConfig, path: Path) -> str | None:
    """``--data-root``; where it is not given, what the run knows whose own config this is."""
    run = run_of(path)
    return args.data_root or (None if run is None else run.known_data_root(config))
