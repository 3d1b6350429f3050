"""``_base_ = "annotator3d::al/streets_demo"``: a config that starts from one of the package's.

mmengine follows ``_base_`` itself, but takes a name before ``::`` for a package that its own tool
has installed. So a file with such a name is copied for it, with a path in place of the name. Bases
in YAML are read as plain data, which mmengine's own reader does not do, and handed over as JSON.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from annotator3d.engine.config.plain import OURS, is_plain, read_plain, refuse_circle
from annotator3d.engine.config.schema import RunConfig
from annotator3d.errors import ConfigError

_FOLDER_NAME = re.compile(r"\{\{\s*fileDirname\s*\}\}")  # mmengine's name for the file's folder


@contextmanager
def with_base_paths(
    path: Path, find: Callable[[str], Path], read_ours: Callable[[str], dict]
) -> Iterator[Path]:
    """Give `path`, or a copy of it whose bases, and theirs, are all named by a path.

    Args:
        path: a config file in Python.
        find: gives the file of a config of the package by its name.
        read_ours: gives the values of a config of the package by its name.

    Raises:
        ConfigError, OSError: a base in YAML cannot be read, the bases form a circle, or a table in
            Python says a key twice.
    """
    with TemporaryDirectory(prefix="annotator3d-config-") as folder:
        yield _Bases(Path(folder), find, read_ours).with_paths(path.absolute(), [])


class _Bases:
    """Makes the copies of one config and its bases in `folder`."""

    def __init__(
        self, folder: Path, find: Callable[[str], Path], read_ours: Callable[[str], dict]
    ) -> None:
        self._folder, self._find, self._read_ours = folder, find, read_ours

    def with_paths(self, path: Path, above: Sequence[Path]) -> Path:
        """`path` itself if it needs no copy; else its copy."""
        if not path.is_file():
            return path  # mmengine says so
        refuse_circle(path, above)
        above = [*above, path]
        if is_plain(path):
            values = read_plain(path, self._read_ours, above[:-1])
            return self._copy(path.stem + ".json", json.dumps(values))
        text = path.read_text(encoding="utf-8")
        _refuse_second_keys(path, text)
        _refuse_second_tables(path, text)
        names = _base_names(text)
        bases = [
            self._find(name.removeprefix(OURS))
            if name.startswith(OURS)
            else self.with_paths(path.parent / name, above)
            for name in names
        ]
        if bases == [path.parent / name for name in names]:
            return path
        text = _FOLDER_NAME.sub(str(path.parent), _with_bases(text, [str(b) for b in bases]))
        return self._copy(path.name, text)

    def _copy(self, name: str, text: str) -> Path:
        copy = Path(mkdtemp(dir=self._folder)) / name
        copy.write_text(text, encoding="utf-8")
        return copy


def _base_names(text: str) -> list[str]:
    """What ``_base_`` names; nothing for a file that cannot be parsed, which mmengine reports."""
    try:
        statement = _base_statement(text)
        found = ast.literal_eval(statement.value) if statement else []
    except (SyntaxError, ValueError):
        return []
    names = found if isinstance(found, list | tuple) else [found]
    return [name for name in names if isinstance(name, str)]


def _base_statement(text: str) -> ast.Assign | None:
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_base_":
            return node
    return None


def _with_bases(text: str, bases: list[str]) -> str:
    """The text of a config with other bases; lines keep their numbers, for messages."""
    statement, lines = _base_statement(text), text.splitlines()
    assert statement is not None and statement.end_lineno is not None
    length = statement.end_lineno - statement.lineno
    lines[statement.lineno - 1 : statement.end_lineno] = [f"_base_ = {bases!r}", *[""] * length]
    return "\n".join(lines) + "\n"


def _refuse_second_keys(path: Path, text: str) -> None:
    """Raise ConfigError for ``{"a": 1, "a": 2}``, of which Python takes the last in silence."""
    try:
        tables = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Dict)]
    except (SyntaxError, ValueError, RecursionError):
        return  # mmengine says so
    for table in tables:
        seen = set()
        for key in table.keys:
            if isinstance(key, ast.Constant):
                if key.value in seen:
                    raise ConfigError(
                        f"{path}, line {key.lineno}: the key {key.value!r} is there twice; keep "
                        "one of them"
                    )
                seen.add(key.value)


def _refuse_second_tables(path: Path, text: str) -> None:
    """Raise ConfigError where a key of a run is set twice and the first is not used in between."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError):
        return  # mmengine says so
    keys, lines = {field.name for field in dataclasses.fields(RunConfig)}, dict[str, int]()
    for statement in body:
        for name in (node.id for node in ast.walk(statement) if isinstance(node, ast.Name)):
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
                continue
            lines.pop(name, None)  # it is used, or set in parts
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name, used = statement.targets[0].id, ast.walk(statement.value)
            if any(isinstance(node, ast.Name) and node.id == name for node in used):
                lines.pop(name, None)
            if name in keys and name in lines:
                raise ConfigError(
                    f"{path}: the key {name!r} is there twice, in lines {lines[name]} and "
                    f"{statement.lineno}; keep one of them"
                )
            lines[name] = statement.lineno
