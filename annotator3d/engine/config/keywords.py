"""The keywords of what a config names: each value is of the type that the constructor states."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from annotator3d.engine.config.values import expected
from annotator3d.errors import ConfigError, in_yaml
from annotator3d.registry import Registry, lookup

_STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


def check_keywords(registry: Registry, table: Mapping[str, Any], key: str) -> None:
    """Refuse values of another type than the constructor's annotations, and not finite ones.

    Ranges are the constructor's own affair. What has no annotation, or one that says nothing of
    plain values, is not judged.

    Args:
        table: with its ``type``, which is registered.
        key: where the table stands, for the message.

    Raises:
        ConfigError: with the key, what is expected there and what came.
    """
    hints = _hints(lookup(registry, table["type"]))
    for name, value in table.items():
        if name == "type" or name not in hints:
            continue
        try:
            TypeAdapter(hints[name], config=_STRICT).validate_python(_as_lists(value))
        except ValidationError as error:
            words = " or ".join(dict.fromkeys(expected(found) for found in error.errors()[:3]))
            raise ConfigError(f"{key}.{name}: expected {words}, got {in_yaml(value)}") from None
        except (PydanticUserError, TypeError, NameError):
            continue  # an annotation of the plug-in's own, such as that of a class


def check_named(registry: Registry, config: str | dict, key: str) -> None:
    """Refuse a name that nothing is registered under, given alone and not in a table."""
    if isinstance(config, str):
        try:
            lookup(registry, config)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error}") from error


def _hints(target: Any) -> dict[str, Any]:
    maker = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(maker)
    except (NameError, TypeError):  # of names that are only there for a type checker
        return {}


def _as_lists(value: Any) -> Any:
    """Python's tuples as the lists that YAML has."""
    if isinstance(value, list | tuple):
        return [_as_lists(entry) for entry in value]
    return value
