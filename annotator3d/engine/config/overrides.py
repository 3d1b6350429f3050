"""What goes over a config: ``key.path=value`` settings and variants, with numbers as in Python."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from annotator3d.data.plain_yaml import read_yaml
from annotator3d.engine.config.schema import RENAMED
from annotator3d.errors import ConfigError, in_yaml, shortened

_EXPONENT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+")


class PlainLoader(yaml.SafeLoader):
    """YAML 1.1, which reads 1e-3 as text, with numbers as in Python; quoted ones stay text."""


PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(f"{_EXPONENT.pattern}$"), list("-+.0123456789")
)


def override(values: dict, settings: Sequence[str]) -> None:
    """Set keys of nested `values`; missing tables are made.

    Args:
        values: changed in place.
        settings: ``key.path=value`` with a value in YAML.

    Raises:
        ConfigError: a setting has another form.
    """
    for setting in settings:
        key, value = _parse(setting)
        *parents, last = key.split(".")
        table = values
        for parent in parents:
            if not isinstance(table.get(parent), dict):
                table[parent] = {}
            table = table[parent]
        table[last] = value


def refuse_undone(settings: Sequence[str]) -> None:
    """Raise ConfigError where a setting would take the place of one before it.

    For those that one person gives at once; programs put settings of their own over a person's.
    """
    given: dict[str, Any] = {}
    for setting in settings:
        key, value = _parse(setting)
        for before, its in given.items():
            again = before == key and repr(its) != repr(value)
            over = before.startswith(f"{key}.")
            into = key.startswith(f"{before}.") and not isinstance(its, dict)
            if again or over or into:
                raise ConfigError(
                    f"--set {key}={shortened(in_yaml(value), 80)}: --set {before}="
                    f"{shortened(in_yaml(its), 80)} was given before and would have no effect; "
                    "keep one of them"
                )
        given[key] = value


def _parse(setting: str) -> tuple[str, Any]:
    key, separator, text = setting.partition("=")
    if not separator:
        raise ConfigError(f"--set {setting}: expected key=value, for example active.strategy=vcd")
    key = key.strip()
    try:
        return RENAMED.get(key, key), read_yaml("the value", text, PlainLoader)
    except ValueError as error:
        raise ConfigError(f"--set {setting[:100]}: {error}") from error


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
