"""Find, read, check and write configs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import yaml

from annotator3d.engine.config.bases import with_base_paths
from annotator3d.engine.config.checks import check_values
from annotator3d.engine.config.custom_imports import import_custom, resolve_folder
from annotator3d.engine.config.overrides import overlay, override, with_exponents
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.config.values import read_values, with_new_names
from annotator3d.errors import ConfigError, nearest
from annotator3d.ledger.database import is_package


def make_config(values: dict) -> RunConfig:
    """Check nested values and fill in the defaults; import what ``custom_imports`` names.

    Raises:
        ConfigError: an unknown key or name (with the nearest known one), or a value of a wrong type
            or outside its range.
    """
    config = read_values(values)
    import_custom(config.custom_imports)
    check_values(config)
    if config.active.oracle == {"type": config.active.oracle_name}:
        config.active.oracle = config.active.oracle_name  # one way to write it: runs are compared
    return config


def find_config(name: str) -> Path:
    """A config file by its path, or by its name among the configs of the package.

    Raises:
        ConfigError: there is none (with the nearest names).
    """
    return Path(name) if Path(name).is_file() else _find_shipped(name)


def _find_shipped(name: str) -> Path:
    folder = _config_folder()
    known = {
        str(path.relative_to(folder).with_suffix("")): path
        for path in sorted(folder.rglob("*.py"))
        if "_base_" not in path.parts
    }
    wanted = name.removesuffix(".py").removeprefix("configs/")
    if wanted not in known:
        raise ConfigError(f"no config file {name}: {nearest(wanted, known)}")
    return known[wanted]


def _config_folder() -> Path:
    """Where the configs lie: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def load_config(path: str | Path, settings: Sequence[str] = ()) -> RunConfig:
    """Read a config file (mmengine's language: Python, YAML or JSON with ``_base_``).

    A key ``variant`` names a file of ``configs/_base_/variants`` whose keys go over the config's.
    The effective config has those keys instead of ``variant`` itself.

    Args:
        path: the file.
        settings: ``key.path=value`` strings that override it; values are YAML.

    Raises:
        ConfigError: the file cannot be read, or `make_config` refuses what it says.
    """
    values = _read(path)
    override(values, settings)
    if (variant := values.pop("variant", None)) is not None:
        values = overlay(values, _read(_find_variant(str(variant))))
        override(values, settings)
        values.pop("variant", None)
    resolve_folder(values, Path(path))
    return make_config(values)


def _find_variant(name: str) -> Path:
    known = {path.stem: path for path in _config_folder().glob("_base_/variants/*.py")}
    if name not in known:
        raise ConfigError(f"variant: unknown {name!r}: {nearest(name, known)}")
    return known[name]


def _read(path: str | Path) -> dict:
    """What a config file and its bases say.

    Raises:
        ConfigError: it cannot be read.
    """
    from mmengine.config import Config

    if is_package(Path(path)):
        raise ConfigError(
            f"{path} is a work package, not a config: open it with `annotator3d label`, and bring "
            "its answers back with `annotator3d package merge WORK_DIR`"
        )
    try:
        with with_base_paths(Path(path), _find_shipped) as file:
            values = Config.fromfile(str(file), import_custom_modules=False).to_dict()
    except ConfigError as error:
        raise ConfigError(f"{path}: _base_: {error}") from error
    except Exception as error:  # a config in Python is a program: it can fail in any way
        words = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{path}: cannot be read as a config: {words}") from error
    values = {key: value for key, value in values.items() if not str(key).startswith("_")}
    for table in values.keys() & {"model", "schedule", "active"}:  # data: a scan may be named 1e3
        values[table] = with_exponents(values[table])
    return with_new_names(values)


def dump_config(config: RunConfig) -> str:
    """The effective config, defaults included, as YAML that `load_config` reads back."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)
