"""What goes over a config: ``key.path=value`` settings, variants; numbers as people write them."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from annotator3d.engine.config.checks import check_values, from_values
from annotator3d.engine.config.schema import RENAMED, CustomImports, RunConfig
from annotator3d.errors import ConfigError, nearest
from annotator3d.ledger.database import is_package


def make_config(values: dict) -> RunConfig:
    """Check a nested dict against the keys above and fill in the defaults.

    Raises:
        ConfigError: an unknown key or name (with the nearest known one), a value of a wrong type or
            range.
    """
    config = from_values(RunConfig, with_new_names(values))
    import_custom(config.custom_imports)
    check_values(config)
    if config.active.oracle == {"type": config.active.oracle_name}:
        config.active.oracle = config.active.oracle_name  # one way to write it: runs are compared
    return config


def find_config(name: str) -> Path:
    """A config file by path, or by its name under the configs that come with the package.

    Raises:
        ConfigError: there is none (with the nearest names).
    """
    if Path(name).is_file():
        return Path(name)
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
    The key itself is not kept: the effective config has the keys that it stands for.

    Args:
        path: the file.
        settings: ``key.path=value`` strings that override it; values are YAML.

    Raises:
        ConfigError: the file cannot be read, or `make_config` refuses what it says.
    """
    values = _with_settings(_read(path), settings)
    if (variant := values.pop("variant", None)) is not None:
        known = {p.stem: p for p in _config_folder().glob("_base_/variants/*.py")}
        if str(variant) not in known:
            raise ConfigError(f"variant: unknown {variant!r}: {nearest(str(variant), known)}")
        values = _with_settings(overlay(values, _read(known[variant])), settings)
        values.pop("variant", None)
    resolve_folder(values, Path(path))
    return make_config(values)


def _with_settings(values: dict, settings: Sequence[str]) -> dict:
    for setting in settings:
        override(values, setting)
    return values


def _read(path: str | Path) -> dict:
    """What a config file says, its bases included.

    Raises:
        ConfigError: it cannot be read.
    """
    from annotator3d._mmengine import Config

    if is_package(Path(path)):
        raise ConfigError(
            f"{path} is a work package, not a config: `annotator3d label` opens it, and "
            "`annotator3d package merge WORK_DIR` brings its answers to where it is trained"
        )
    try:
        values = Config.fromfile(str(path), import_custom_modules=False).to_dict()
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


_EXPONENT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+")


class _Loader(yaml.SafeLoader):
    """YAML 1.1, which reads 1e-3 as text, with numbers as in Python; quoted ones stay text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(f"{_EXPONENT.pattern}$"), list("-+.0123456789")
)


def override(values: dict, setting: str) -> None:
    """Set one key of nested `values`, tables that are not there included.

    Raises:
        ConfigError: `setting` is not ``key.path=value`` with a value in YAML.
    """
    key, separator, text = setting.partition("=")
    if not separator:
        raise ConfigError(f"--set {setting}: expected key=value, for example active.strategy=vcd")
    try:
        value = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise ConfigError(f"--set {setting}: the value is not YAML: {error}") from error
    key = key.strip()
    *parents, last = RENAMED.get(key, key).split(".")
    for parent in parents:
        if not isinstance(values.get(parent), dict):
            values[parent] = {}
        values = values[parent]
    values[last] = value


def with_new_names(values: dict) -> dict:
    """`values` with each key under its present name, see `RENAMED`.

    Raises:
        ConfigError: a key is given under both names.
    """
    renamed = dict(values)
    for old, new in RENAMED.items():
        table, _, old_key = old.partition(".")
        new_key = new.rpartition(".")[2]
        inner = renamed.get(table)
        if not isinstance(inner, dict) or old_key not in inner:
            continue
        if new_key in inner:
            raise ConfigError(f"{old} is the old name of {new}: give only one of the two")
        renamed[table] = {new_key if k == old_key else k: v for k, v in inner.items()}
    return renamed


def overlay(values: dict, over: dict) -> dict:
    """`values` with the keys of `over` in their place, at any depth.

    Of ``data``, only the datasets that `values` has: a variant says how data are read, not which.
    """
    merged = dict(values)
    for key, value in over.items():
        below = merged.get(key)
        if key == "data" and isinstance(value, dict):
            value = {name: table for name, table in value.items() if name in (below or {})}
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = overlay(below, value) if both else value
    return merged


def with_exponents(value: Any) -> Any:
    """Texts such as ``1e-3``, at any depth, as the numbers that they are."""
    if isinstance(value, dict):
        return {key: with_exponents(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [with_exponents(entry) for entry in value]
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    return value


def resolve_folder(values: dict, config_file: Path) -> None:
    """Write the folder of the imports into the nested `values` of a config, as an absolute path."""
    table = values.get("custom_imports")
    named = isinstance(table, dict) and table.get("imports")
    if named and isinstance(table.get("folder"), (str, type(None))):
        folder = config_file.parent / (table.get("folder") or ".")
        values["custom_imports"] = {**table, "folder": str(folder.resolve())}


def import_custom(custom: CustomImports) -> None:
    """Import what a config names, each once in a process.

    The folders stay at the end of Python's path, so that worker processes find the modules too.

    Raises:
        ConfigError: there is no such file or module, it cannot be imported, or its name is taken.
    """
    if custom.allow_failed_imports:
        raise ConfigError(
            "custom_imports.allow_failed_imports: only False; a run cannot do without what its "
            "config names"
        )
    for name in custom.imports:
        _import(name, Path(custom.folder or ".").resolve())


def _import(name: str, folder: Path) -> None:
    where = f"custom_imports.imports: {name}"
    path = (folder / name).resolve() if name.endswith(".py") else None
    if path is not None and not path.is_file():
        raise ConfigError(f"{where}: there is no file {path}")
    folder = folder if path is None else path.parent
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: no file of the user's hides an installed package
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name if path is None else path.stem)
    except Exception as error:  # the user's own code: it can fail in any way
        hint = "" if path else f" (looked for on Python's path and in {folder})"
        words = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{where}: cannot be imported: {words}{hint}") from error
    if path is not None and Path(getattr(module, "__file__", None) or "").resolve() != path:
        raise ConfigError(
            f"{where}: Python has another module of that name, {module!r}; rename the file"
        )
