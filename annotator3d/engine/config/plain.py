"""Configs in YAML or JSON: plain data that run nothing, with mmengine's ``_base_``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from annotator3d.data.plain_yaml import read_yaml
from annotator3d.errors import ConfigError, in_yaml, kind_in_words

OURS = "annotator3d::"
PLAIN = (".yaml", ".yml", ".json")
_TEMPLATE = re.compile(r"\{\{(.*?)\}\}")


def is_plain(path: Path) -> bool:
    """Whether a config file is data, and no program."""
    return path.suffix.lower() in PLAIN


def parse_plain(path: Path) -> dict[str, Any]:
    """What one file says, without its bases.

    Raises:
        ConfigError: it is empty, not YAML or JSON of plain values, or says a key twice.
        OSError: it cannot be read.
    """
    try:
        values = _read_json(path) if path.suffix.lower() == ".json" else read_yaml(path)
    except ValueError as error:
        words = str(error).removeprefix(str(path)).lstrip(":, ")
        raise ConfigError(f"{path}: cannot be read as a config: {words}") from None
    if values is None:
        raise ConfigError(f"{path} is empty: a config names its data at least; put back a copy")
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a table of keys, got {kind_in_words(values)}")
    return _filled_in(values, path)


def base_names(values: dict[str, Any], path: Path) -> list[str]:
    """What ``_base_`` names.

    Raises ConfigError for a Python file, which is a program, unless it is a config of the package.
    """
    found = values.get("_base_", [])
    names = [found] if isinstance(found, str) else found
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path}: _base_: expected the name of a config, or a list of names")
    for name in names:
        if not name.startswith(OURS) and not is_plain(Path(name)):
            raise ConfigError(
                f"{path}: _base_: {name} is a Python file, and a config in YAML or JSON runs no "
                f"program: start from another YAML file or from {OURS}NAME, or write this config "
                "in Python"
            )
    return names


def read_plain(
    path: Path, read_ours: Callable[[str], dict[str, Any]], above: Sequence[Path] = ()
) -> dict[str, Any]:
    """What a config in YAML or JSON and its bases say.

    Args:
        read_ours: gives the values of a config of the package by its name.
        above: the files that this one is a base of.

    Raises:
        ConfigError, OSError: see `parse_plain` and `base_names`; a base that there is none of; or
            the bases form a circle.
    """
    refuse_circle(path, above)
    values, merged = parse_plain(path), dict[str, Any]()
    for name in base_names(values, path):
        base = (
            read_ours(name.removeprefix(OURS))
            if name.startswith(OURS)
            else read_plain(path.parent / name, read_ours, [*above, path])
        )
        if twice := sorted(merged.keys() & base.keys()):
            raise ConfigError(f"{path}: _base_: two of its configs have the key {twice[0]!r}")
        merged |= base
    values.pop("_base_", None)
    return over(values, merged)


def refuse_circle(path: Path, above: Sequence[Path]) -> None:
    """Raise ConfigError for a config that is, by way of others, a base of itself."""
    places = [p.resolve() for p in above]
    if path.resolve() in places:
        chain = " -> ".join(p.name for p in [*above[places.index(path.resolve()) :], path])
        raise ConfigError(f"{path}: _base_ goes round in a circle: {chain}")
    if len(above) > 50:
        raise ConfigError(f"{path}: more than 50 configs, each the _base_ of the one before")


def over(values: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """`values` over `base`; a table with ``_delete_: true`` takes nothing from it."""
    merged = dict(base)
    for key, value in values.items():
        if not isinstance(value, dict):
            merged[key] = value
            continue
        own = {name: entry for name, entry in value.items() if name != "_delete_"}
        below = {} if value.get("_delete_") else base.get(key, {})
        if not isinstance(below, dict):
            raise ConfigError(
                f"{key}: a table here and {in_yaml(below)} in _base_; add _delete_: true"
            )
        merged[key] = over(own, below)
    return merged


def _filled_in(value: Any, path: Path) -> Any:
    """`value` with ``{{ fileDirname }}`` and the like, at any depth, as what they stand for."""
    if isinstance(value, dict):
        return {key: _filled_in(entry, path) for key, entry in value.items()}
    if isinstance(value, list):
        return [_filled_in(entry, path) for entry in value]
    return _TEMPLATE.sub(lambda m: _meaning(m[1], path), value) if isinstance(value, str) else value


def _meaning(name: str, path: Path) -> str:
    known = {
        "fileDirname": str(path.parent),
        "fileBasename": path.name,
        "fileBasenameNoExtension": path.stem,
        "fileExtname": path.suffix,
    }
    if name.strip() not in known:
        raise ConfigError(
            f"{path}: {{{{{name}}}}} is not filled in: a config in YAML or JSON knows "
            f"{', '.join(known)}; write it in Python for more"
        )
    return known[name.strip()]


def _read_json(path: Path) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"{path}: the key {twice!r} is there twice; keep one of them")
        return values

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except RecursionError:
        raise ConfigError(f"{path}: nested too deep for a config") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
