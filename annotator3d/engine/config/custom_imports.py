"""Files and modules of the user's own, which a config names in ``custom_imports``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from tempfile import TemporaryDirectory

from annotator3d.engine.config.schema import CustomImports
from annotator3d.errors import ConfigError


def resolve_folder(values: dict, config_file: Path) -> None:
    """Write the folder of the imports into the nested `values` of a config, as an absolute path."""
    table = values.get("custom_imports")
    named = isinstance(table, dict) and table.get("imports")
    if named and isinstance(table.get("folder"), str | None):
        folder = config_file.parent / (table.get("folder") or ".")
        values["custom_imports"] = {**table, "folder": str(folder.resolve())}


def import_custom(custom: CustomImports) -> None:
    """Import what a config names, each once in a process.

    The folders stay at the end of Python's path, so that worker processes find the modules too.

    Raises:
        ConfigError: there is no such file or module, it cannot be imported, or its name is taken.
    """
    for name in custom.imports:
        _import(name, Path(custom.folder or ".").resolve())


def _rivals(path: Path) -> list[Path]:
    """What Python prefers to a file, of the same name beside it: a package, or compiled code."""
    compiled = tuple(EXTENSION_SUFFIXES)
    return sorted(
        other
        for other in path.parent.iterdir()
        if other.name.partition(".")[0] == path.stem
        and (other.is_dir() or other.name.endswith(compiled))
        and other != path
    )


@contextmanager
def _from_source() -> Iterator[None]:
    """Compile what is imported meanwhile, instead of taking a ``__pycache__`` that lies there.

    It may hold other code than the source, which is what a person has read.
    """
    before = sys.pycache_prefix, sys.dont_write_bytecode
    with TemporaryDirectory(prefix="annotator3d-") as folder:
        sys.pycache_prefix, sys.dont_write_bytecode = folder, True
        try:
            yield
        finally:
            sys.pycache_prefix, sys.dont_write_bytecode = before


def is_imported(custom: CustomImports) -> bool:
    """Whether this process has imported all that a config names, so that nothing is left to run."""
    return all(_is_imported(name, Path(custom.folder or ".").resolve()) for name in custom.imports)


def _is_imported(name: str, folder: Path) -> bool:
    if not name.endswith(".py"):
        return name in sys.modules
    path = (folder / name).resolve()
    module = sys.modules.get(path.stem)
    return module is not None and Path(getattr(module, "__file__", None) or "").resolve() == path


def _import(name: str, folder: Path) -> None:
    where = f"custom_imports.imports: {name}"
    path = (folder / name).resolve() if name.endswith(".py") else None
    if path is not None and not path.is_file():
        raise ConfigError(f"{where}: there is no file {path}")
    if path is not None and (rivals := _rivals(path)):
        raise ConfigError(
            f"{where}: Python would import {rivals[0].name} in its place; remove that from {folder}"
        )
    folder = folder if path is None else path.parent
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: no file of the user's hides an installed package
    importlib.invalidate_caches()
    try:
        with _from_source():
            module = importlib.import_module(name if path is None else path.stem)
    except Exception as error:  # the user's own code: it can fail in any way
        hint = "" if path else f" (searched on Python's path and in {folder})"
        words = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{where}: cannot be imported: {words}{hint}") from error
    if path is not None and Path(getattr(module, "__file__", None) or "").resolve() != path:
        raise ConfigError(
            f"{where}: Python has another module of that name, {module!r}; rename the file"
        )
