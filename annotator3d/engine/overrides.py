"""What goes over a config: ``key.path=value`` settings, variants; numbers as people write them."""

from __future__ import annotations

import re
from typing import Any

import yaml

from annotator3d.errors import ConfigError

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
    *parents, last = key.strip().split(".")
    for parent in parents:
        if not isinstance(values.get(parent), dict):
            values[parent] = {}
        values = values[parent]
    values[last] = value


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
