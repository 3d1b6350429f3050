"""Reading YAML as plain data: it runs nothing, and what it says is said once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from annotator3d.data.files import require_file

_MOST_BYTES = 16 << 20
_MOST_NODES = 1_000_000  # with what aliases stand for; a class list has some hundred
_MOST_DEPTH = 100


def read_yaml(
    file: str | os.PathLike[str],
    text: str | bytes | None = None,
    loader: type[yaml.SafeLoader] = yaml.SafeLoader,
) -> Any:
    """The plain data that a YAML file holds; None for an empty one.

    Args:
        file: the file, or what messages call the text.
        text: what to read in place of the file.
        loader: `yaml.SafeLoader`, or a class of its kind.

    Raises:
        ValueError: it is not YAML, holds a tag that would make an object, says a key twice, or is
            larger, deeper or, with its aliases, longer than any config.
        OSError: the file cannot be read.
    """
    content = _bytes_of(Path(file)) if text is None else text
    if len(content) > _MOST_BYTES:
        raise ValueError(f"{file}: expected at most {_MOST_BYTES >> 20} MB of YAML")
    try:
        made = loader(content)
        try:
            node = made.get_single_node()
            if node is None:
                return None
            _check(node, made.construct_object, str(file))
            return _constructed(made, node, file)
        finally:
            made.dispose()
    except yaml.reader.ReaderError as error:
        raise ValueError(
            f"{file} is not text in UTF-8, or in UTF-16 with its mark at the start: "
            f"{error.reason} at position {error.position}; save it as UTF-8"
        ) from None
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is not YAML of plain values: {_short(error)}") from None
    except RecursionError:
        raise ValueError(f"{file}: nested deeper than {_MOST_DEPTH} levels") from None


def line_of(file: str | os.PathLike[str], text: str) -> int | None:
    """The line on which a text begins in a file that `read_yaml` has read; None: not found."""
    try:
        node = yaml.SafeLoader(_bytes_of(Path(file))).get_single_node()
    except (OSError, ValueError, yaml.YAMLError):  # it was no file, or has changed meanwhile
        return None
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.ScalarNode) and node.value == text:
            return node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in reversed(node.value) for part in reversed(pair)]
        elif isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)
    return None


def _bytes_of(path: Path) -> bytes:
    require_file(path)
    with open(path, "rb") as file:
        return file.read(_MOST_BYTES + 1)


def _constructed(loader: yaml.SafeLoader, node: yaml.Node, file: str | os.PathLike[str]) -> Any:
    try:
        return loader.construct_document(node)
    except (ValueError, TypeError, OverflowError) as error:  # a date or number that does not exist
        words = str(error)
        if "integer string conversion" in words:  # the words of Python are about its settings
            words = "it holds a number of more than 4,300 digits"
        raise ValueError(f"{file} is not YAML of plain values: {words}") from None


def _check(root: yaml.Node, construct: Callable[..., Any], file: str) -> None:
    """Refuse keys that are said twice, and aliases that grow beyond all bounds or hold themselves.

    The nodes are looked at, not the values: there a second key has replaced the first, and merged
    mappings (``<<``) are copied already.
    """
    sizes: dict[int, int] = {}  # of each node, with what its aliases stand for
    open_nodes: set[int] = set()

    def size(node: yaml.Node, depth: int) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in open_nodes:
            raise ValueError(f"{file}{_line(node)}: an alias stands for what holds it")
        if depth > _MOST_DEPTH:
            raise ValueError(f"{file}{_line(node)}: nested deeper than {_MOST_DEPTH} levels")
        open_nodes.add(id(node))
        below: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, construct, file)
            below = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            below = node.value
        total = 1
        for part in below:
            total += size(part, depth + 1)
            if total > _MOST_NODES:
                raise ValueError(
                    f"{file}{_line(node)}: its aliases stand for more than {_MOST_NODES:,} values"
                )
        open_nodes.discard(id(node))
        sizes[id(node)] = total
        return total

    size(root, 0)


def _check_keys(node: yaml.MappingNode, construct: Callable[..., Any], file: str) -> None:
    lines: dict[Any, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue  # a key that is no scalar is refused when the value is made
        value, line = construct(key), key.start_mark.line + 1
        if value in lines:
            raise ValueError(
                f"{file}: the key {key.value!r} is there twice, in lines {lines[value]} and "
                f"{line}; keep one of them"
            )
        lines[value] = line


def _line(node: yaml.Node) -> str:
    return f", line {node.start_mark.line + 1}"


def _short(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the text of the file."""
    mark = getattr(error, "problem_mark", None)
    words = " ".join(filter(None, (getattr(error, "context", ""), getattr(error, "problem", ""))))
    where = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
    return f"{' '.join((words or str(error)).split())[:200]}{where}"
