"""Nested values as a `RunConfig`; what pydantic finds wrong, in the words of our messages."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import TypeAdapter, ValidationError

from annotator3d.engine.config.schema import RENAMED, RunConfig
from annotator3d.errors import ConfigError, nearest

_CONFIG = TypeAdapter(RunConfig)
_EXPECTED = {
    "bool_type": "true or false",
    "dataclass_type": "a table of keys",
    "dict_type": "a table of keys",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than_equal": "at least {ge:g}",
    "int_type": "an integer",
    "less_than_equal": "at most {le:g}",
    "list_type": "a list",
    "string_type": "text",
    "value_error": "{error}",  # of a `schema.rule`
}


def read_values(values: dict) -> RunConfig:
    """A config from nested values; defaults fill in what they lack.

    Raises:
        ConfigError: an unknown key (with the nearest known one), or a value of a wrong type or
            outside its range.
    """
    try:
        return _CONFIG.validate_python(with_new_names(values))
    except ValidationError as error:
        raise ConfigError(_describe(error.errors()[0])) from None


def with_new_names(values: dict) -> dict:
    """`values` with each key under its present name, see `schema.RENAMED`.

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


def _describe(error: Any) -> str:
    """A message for one entry of pydantic's list of errors."""
    location, kind = error["loc"], error["type"]
    if kind in ("unexpected_keyword_argument", "invalid_key"):
        key = ".".join(map(str, location))
        return f"unknown key {key!r}: {nearest(str(location[-1]), _keys(location[:-1]))}"
    # An entry of a list is named by the key of the list.
    key = ".".join(part for part in location if isinstance(part, str))
    return f"{key}: expected {_expected(kind, error.get('ctx', {}))}, got {error['input']!r}"


def _expected(kind: str, context: dict) -> str:
    if kind == "literal_error":
        return context["expected"].replace("'", "")
    return _EXPECTED[kind].format_map(context)


def _keys(location: tuple) -> list[str]:
    """The keys of the table at `location`."""
    table: Any = RunConfig()
    for part in location:
        table = getattr(table, part)
    return [f.name for f in dataclasses.fields(table)]
