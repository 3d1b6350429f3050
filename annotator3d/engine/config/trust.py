"""Whose Python code may run: what a person has said yes to, kept among the user's own settings.

A config in YAML or JSON may come from somebody else, with a work directory. The Python files that
it names run after a yes for its folder, and no longer once one of them has changed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from annotator3d.account import settings_folder
from annotator3d.data.files import atomic_write
from annotator3d.data.plain_json import parse_json
from annotator3d.engine.config.schema import CustomImports
from annotator3d.errors import ConfigError
from annotator3d.system_errors import in_words

_said_here: set[tuple[str, str]] = set()  # a yes holds in this process, even if it cannot be kept


def trust_file() -> Path:
    """Where a yes is kept."""
    return settings_folder() / "trusted.json"


def trust_imports(config_file: Path, custom: CustomImports) -> str | None:
    """Say yes to what a config in YAML or JSON imports.

    Returns:
        why the yes cannot be kept for the next process, in words; None: it is kept.

    Raises:
        ConfigError: there is no such file to import.
    """
    return _remember(_folder_key(config_file), digest_of(custom))


def trust_program(config_file: Path) -> str | None:
    """Say yes to a config in Python; returns as `trust_imports`."""
    return _remember(str(config_file.resolve()), _digest([config_file]))


def are_trusted(config_file: Path, custom: CustomImports) -> bool:
    """Whether somebody said yes to what this config imports, as it is now."""
    return _is_known(_folder_key(config_file), digest_of(custom))


def is_trusted_program(config_file: Path) -> bool:
    """Whether somebody said yes to this config in Python, as it is now."""
    return _is_known(str(config_file.resolve()), _digest([config_file]))


def digest_of(custom: CustomImports) -> str:
    """A digest of the names and of the files that they stand for, with all files of a package.

    What those files import in turn is not in it.

    Raises:
        ConfigError: a file is not there.
    """
    folder, files = Path(custom.folder or ".").resolve(), []
    for name in custom.imports:
        path = folder / name
        if name.endswith(".py"):
            if not path.is_file():
                raise ConfigError(f"custom_imports.imports: {name}: there is no file {path}")
            files.append(path)
        else:
            files += _files_of(folder, name.partition(".")[0])
    return _digest(files, json.dumps([custom.imports, str(folder)]))


def _files_of(folder: Path, module: str) -> list[Path]:
    """All that may be imported under the name of a module: its source, compiled code, a package."""
    found = list(folder.glob(f"{module}.*")) + list((folder / module).rglob("*"))
    return sorted(p for p in found if p.is_file() and "__pycache__" not in p.parts)


def _digest(files: list[Path], names: str = "") -> str:
    digest = hashlib.blake2b(names.encode(), digest_size=16)
    for file in files:
        content = file.read_bytes()
        digest.update(f"\n{file.resolve()} {len(content)}\n".encode(errors="surrogateescape"))
        digest.update(content)
    return digest.hexdigest()


def _folder_key(config_file: Path) -> str:
    return str(config_file.resolve().parent)


def _is_known(key: str, digest: str) -> bool:
    return (key, digest) in _said_here or digest in _kept().get(key, [])


def _kept() -> dict[str, list[str]]:
    """Raises ConfigError for a file that makes no sense."""
    path = trust_file()
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except OSError:  # nothing kept yet
        return {}
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read ({error}); remove it") from None
    good = isinstance(values, dict) and all(isinstance(v, list) for v in values.values())
    if not good:
        raise ConfigError(f"{path}: expected folders with lists of digests; remove it")
    return values


def _remember(key: str, digest: str) -> str | None:
    _said_here.add((key, digest))
    kept = _kept()
    if digest in kept.get(key, []):
        return None
    kept[key] = [*kept.get(key, []), digest][-20:]
    path = trust_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(path) as file:
            file.write(json.dumps(kept, indent=1, sort_keys=True).encode())
    except OSError as error:
        return f"the yes to its Python code cannot be kept for the next time: {in_words(error)}"
    return None
