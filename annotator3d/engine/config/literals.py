"""Configs in Python that hold plain values only: read without running them.

mmengine runs a config, and loads torch before it can. Nearly every config is a row of assignments
of literals and ``dict(...)``, ours all are; for those, a wrong key can be named at once. Any other
one is left to mmengine.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

from annotator3d.engine.config.plain import OURS, over

_DEEPEST = 20  # configs, each the base of the one before


class _NotPlainError(Exception):
    """The file does what only Python can tell."""


def read_literals(path: Path, find: Callable[[str], Path]) -> dict[str, Any] | None:
    """What a config and its bases say, as mmengine reads them; None if that takes Python.

    Args:
        path: a file that ends in ``.py``.
        find: gives the file of a config of the package by its name.
    """
    try:
        return _read(path, find, 0)
    except (_NotPlainError, OSError, SyntaxError, ValueError, RecursionError):
        return None


def _read(path: Path, find: Callable[[str], Path], depth: int) -> dict[str, Any]:
    if path.suffix != ".py" or depth > _DEEPEST:
        raise _NotPlainError
    values: dict[str, Any] = {}
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            raise _NotPlainError
        target = statement.targets[0]
        if not isinstance(target, ast.Name) or target.id in values:  # said twice: refused later
            raise _NotPlainError
        values[target.id] = _value(statement.value, values)
    bases = values.pop("_base_", [])
    merged: dict[str, Any] = {}
    for name in [bases] if isinstance(bases, str) else bases:
        ours = name.startswith(OURS)
        base = find(name.removeprefix(OURS)) if ours else path.parent / name
        found = _read(base, find, depth + 1)
        if merged.keys() & found.keys():  # mmengine says so
            raise _NotPlainError
        merged |= found
    return over(values, merged)


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of a literal, of ``dict(key=...)`` or of a name from above."""
    match node:
        case ast.Constant(str(text)) if "{{" not in text:
            return text
        case ast.Constant(bool() | int() | float() | None as value):
            return value
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as number)):
            return -number
        case ast.Name(name) if name in names:
            return names[name]
        case ast.List(entries):
            return [_value(entry, names) for entry in entries]
        case ast.Tuple(entries):
            return tuple(_value(entry, names) for entry in entries)
        case ast.Dict(keys, values):
            return _table([k and _value(k, names) for k in keys], values, names)
        case ast.Call(ast.Name("dict"), [], keywords):
            return _table([k.arg for k in keywords], [k.value for k in keywords], names)
    raise _NotPlainError


def _table(keys: list[Any], values: list[ast.expr], names: dict[str, Any]) -> dict[Any, Any]:
    """A table; a key None stands for ``**value``."""
    table: dict[Any, Any] = {}
    for key, node in zip(keys, values, strict=True):
        more = _value(node, names) if key is None else {key: _value(node, names)}
        if not isinstance(more, dict) or table.keys() & more.keys():  # twice: others say so
            raise _NotPlainError
        table |= more
    return table
