"""Nested values as a `RunConfig`; what pydantic finds wrong, in the words of our messages."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import TypeAdapter, ValidationError

from annotator3d.engine.config.schema import OPTIONAL, RENAMED, Augmentation, RunConfig
from annotator3d.errors import ConfigError, in_yaml, nearest

_CONFIG = TypeAdapter(RunConfig)
_EXPECTED = {
    "bool_type": "true or false",
    "dataclass_type": "a table of keys",
    "dict_type": "a table of keys",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than_equal": "at least {ge}",
    "int_type": "an integer",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "mapping_type": "a table of keys",
    "string_type": "text",
    "value_error": "{error}",  # of a `schema.rule`
}
_KINDS = {"Sequence": "a list", "Mapping": "a table of keys", "PathLike": "a path"}


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
    if kind in ("unexpected_keyword_argument", "invalid_key", "extra_forbidden"):
        key = ".".join(map(str, location))
        return f"unknown key {key!r}: {nearest(str(location[-1]), _keys(location[:-1]))}"
    # An entry of a list is named by the key of the list.
    key = ".".join(part for part in location if isinstance(part, str))
    return f"{key}: expected {expected(error)}, got {in_yaml(error['input'])}"


def expected(error: Any) -> str:
    """What an entry of pydantic's list of errors expected, in words."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return context["expected"].replace("'", "")
    if kind == "is_instance_of":
        return _KINDS.get(context["class"], context["class"])
    if kind in _EXPECTED:
        return _EXPECTED[kind].format_map({k: _plain(value) for k, value in context.items()})
    return error["msg"].lower()


def _plain(value: Any) -> Any:
    """A limit in digits: not 4.29e+09."""
    return f"{value:,.15g}" if isinstance(value, int | float) else value


def _keys(location: tuple) -> list[str]:
    """The keys of the table at `location`."""
    if location == ("schedule", "augmentation"):
        return list(Augmentation.__annotations__)
    table: Any = RunConfig()
    for part in location:
        table = OPTIONAL.get(part) or getattr(table, part)
    return [f.name for f in dataclasses.fields(table)]
