"""``_base_ = "annotator3d::al/streets_demo"``: a config that starts from one of the package's.

mmengine follows ``_base_`` itself, but takes a name before ``::`` for a package that its own tool
has installed. So a file with such a name is copied for it, with a path in place of the name.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import yaml

_OURS = "annotator3d::"
_FOLDER_NAME = re.compile(r"\{\{\s*fileDirname\s*\}\}")  # mmengine's name for the file's folder


@contextmanager
def with_base_paths(path: Path, find: Callable[[str], Path]) -> Iterator[Path]:
    """Give `path`, or a copy of it whose bases, and theirs, are all named by a path.

    Args:
        path: a config file.
        find: gives the file of a config of the package by its name.
    """
    with TemporaryDirectory(prefix="annotator3d-config-") as folder:
        yield _with_paths(path.absolute(), Path(folder), find)


def _with_paths(path: Path, folder: Path, find: Callable[[str], Path]) -> Path:
    """`path` itself if it needs no copy; else its copy in `folder`."""
    if not path.is_file():
        return path  # mmengine says so
    text = path.read_text(encoding="utf-8")
    names = _base_names(path, text)
    bases = [
        find(name.removeprefix(_OURS))
        if name.startswith(_OURS)
        else _with_paths(path.parent / name, folder, find)
        for name in names
    ]
    if bases == [path.parent / name for name in names]:
        return path
    text = _FOLDER_NAME.sub(str(path.parent), _with_bases(path, text, [str(b) for b in bases]))
    copy = Path(mkdtemp(dir=folder)) / path.name
    copy.write_text(text, encoding="utf-8")
    return copy


def _base_names(path: Path, text: str) -> list[str]:
    """What ``_base_`` names; nothing for a file that cannot be parsed, which mmengine reports."""
    try:
        if path.suffix == ".py":
            statement = _base_statement(text)
            found = ast.literal_eval(statement.value) if statement else []
        else:
            found = (yaml.safe_load(text) or {}).get("_base_", [])
    except (SyntaxError, ValueError, AttributeError, yaml.YAMLError):
        return []
    names = found if isinstance(found, list | tuple) else [found]
    return [name for name in names if isinstance(name, str)]


def _base_statement(text: str) -> ast.Assign | None:
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_base_":
            return node
    return None


def _with_bases(path: Path, text: str, bases: list[str]) -> str:
    """The text of a config with other bases; lines keep their numbers, for messages."""
    if path.suffix == ".py":
        statement, lines = _base_statement(text), text.splitlines()
        assert statement is not None and statement.end_lineno is not None
        length = statement.end_lineno - statement.lineno
        lines[statement.lineno - 1 : statement.end_lineno] = [f"_base_ = {bases!r}", *[""] * length]
        return "\n".join(lines) + "\n"
    values = {**yaml.safe_load(text), "_base_": bases}
    return json.dumps(values) if path.suffix == ".json" else yaml.safe_dump(values)
