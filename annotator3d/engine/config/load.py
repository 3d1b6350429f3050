"""Find, read, check and write configs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import yaml

from annotator3d._yapf import load_yapf
from annotator3d.data.files import is_there, require_file
from annotator3d.engine.config.bases import with_base_paths
from annotator3d.engine.config.custom_imports import import_custom, is_imported, resolve_folder
from annotator3d.engine.config.literals import read_literals
from annotator3d.engine.config.overrides import overlay, override, with_exponents
from annotator3d.engine.config.plain import is_plain, read_plain
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.config.trust import (
    are_trusted,
    is_trusted_program,
    trust_imports,
    trust_program,
)
from annotator3d.engine.config.values import read_values, with_new_names
from annotator3d.errors import ConfigError, nearest
from annotator3d.ledger.database import is_package
from annotator3d.system_errors import in_words, is_refusal


def make_config(values: dict) -> RunConfig:
    """Check nested values and fill in the defaults; import what ``custom_imports`` names.

    Raises:
        ConfigError: an unknown key or name (with the nearest known one), or a value of a wrong type
            or outside its range.
    """
    config = read_values(values)
    import_custom(config.custom_imports)
    return _checked(config)


def make_plain_config(values: dict) -> RunConfig:
    """As `make_config`, of values that somebody else may have written: imports nothing.

    Names are looked up only where what ``custom_imports`` names is imported already.
    """
    config = read_values(values)
    return _checked(config) if is_imported(config.custom_imports) else _in_one_form(config)


def _checked(config: RunConfig) -> RunConfig:
    from annotator3d.engine.config.checks import check_values  # late: it loads torch

    check_values(config)
    return _in_one_form(config)


def _in_one_form(config: RunConfig) -> RunConfig:
    if config.active.oracle == {"type": config.active.oracle_name}:
        config.active.oracle = config.active.oracle_name  # one way to write it: runs are compared
    return config


def find_config(name: str) -> Path:
    """A config file by its path, or by its name among the configs of the package.

    Raises:
        ConfigError: there is none (with the nearest names).
    """
    path = Path(name)
    if path.is_dir():
        kept = sorted(path.glob("config.y*ml"))
        way = f"name the config that it keeps: {kept[0]}" if kept else "name a file"
        raise ConfigError(f"{name} is a folder, not a config; {way}")
    if is_there(path):
        try:
            require_file(path)
        except (OSError, ValueError) as error:
            raise ConfigError(in_words(error)) from None
        return path
    return _find_shipped(name)


def _find_shipped(name: str) -> Path:
    folder = config_folder()
    known = {
        str(path.relative_to(folder).with_suffix("")): path
        for path in sorted(folder.rglob("*.py"))
        if "_base_" not in path.parts
    }
    wanted = name.removesuffix(".py").removeprefix("configs/")
    if wanted not in known:
        raise ConfigError(f"no config file {name}: {nearest(wanted, known)}")
    return known[wanted]


def config_folder() -> Path:
    """Where the configs lie: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def load_config(
    path: str | Path, settings: Sequence[str] = (), *, python: bool = True, network: bool = True
) -> RunConfig:
    """Read a config file (mmengine's language: Python, YAML or JSON with ``_base_``).

    A config in Python is a program, which runs. YAML and JSON are plain data: what their
    ``custom_imports`` name runs only where it is needed, and after a yes (`trust`).

    A key ``variant`` names a file of ``configs/_base_/variants`` whose keys go over the config's.
    The effective config has those keys instead of ``variant`` itself.

    Args:
        path: the file.
        settings: ``key.path=value`` strings that override it; values are YAML.
        python: take a config in Python that is not of the package, and without a yes.
        network: a network is built from it, so that the names of all its parts are needed.

    Raises:
        ConfigError: the file cannot be read, `make_config` refuses what it says, or it needs a yes.
    """
    path = Path(path)
    _refuse_program(path, python)
    values = _values_of(path, settings)
    return _of_plain(values, path, network) if is_plain(path) else make_config(values)


def kept_config(values: dict, path: Path) -> RunConfig:
    """The config that `values`, kept beside the config file `path`, say; for its scans.

    Raises ConfigError as `load_config` does of that file, without a network.
    """
    return _of_plain(values, path, network=False)


def _of_plain(values: dict, path: Path, network: bool) -> RunConfig:
    config = make_plain_config(values)
    custom = config.custom_imports
    if is_imported(custom) or not (network or _has_unknown_data(config)):
        return config
    if not are_trusted(path, custom):
        raise ConfigError(
            f"{path}: custom_imports names Python code that would run as you: "
            f"{_few(custom.imports)} in {custom.folder}. Nobody has said yes to it as it is now. "
            "Read it; --trust runs it, and is remembered until the code changes"
        )
    return make_config(values)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def quick_look(path: Path, settings: Sequence[str] = ()) -> RunConfig | None:
    """The config in a file with the settings over it, before names are looked up; loads no torch.

    Returns None for a config that only Python can read.

    Raises ConfigError for what cannot be read, an unknown key, or a value of a wrong type or range.
    """
    if not is_plain(path) and read_literals(path, _find_base) is None:
        return None
    return read_values(_values_of(path, settings))


def trust(path: str | Path) -> str | None:
    """Say yes to the Python code of a config: to itself, or to what it imports.

    Returns:
        what a person should know about it, in words; None: the yes is kept.

    Raises:
        ConfigError: the file cannot be read, or names files that are not there.
    """
    path = Path(path)
    if not is_plain(path):
        return trust_program(path)
    custom = read_values(_values_of(path, ())).custom_imports
    return trust_imports(path, custom) if custom.imports else None


def keep_trust(path: Path, config: RunConfig) -> None:
    """Say yes to what a config imports that has just run here and is kept at `path`.

    Where the yes cannot be kept, the next command asks for it.
    """
    if config.custom_imports.imports:
        trust_imports(path, config.custom_imports)


def _refuse_program(path: Path, python: bool) -> None:
    """Raise ConfigError for a config in Python where none is expected without a yes."""
    if python or is_plain(path) or not path.is_file() or _is_shipped(path):
        return
    if not is_trusted_program(path):
        raise ConfigError(
            f"{path}: a config in Python is a program, and this command runs none: only train, "
            "select and evaluate do. A work directory keeps its config as plain data; leave "
            "--config out, name a config in YAML, or add --trust to run this one"
        )


def _is_shipped(path: Path) -> bool:
    return path.resolve().is_relative_to(config_folder().resolve())


def _has_unknown_data(config: RunConfig) -> bool:
    """Whether its scans are of a type that only its own Python code can name."""
    from annotator3d.registry import DATASETS, lookup

    for values in (config.data.train, config.data.val, config.data.source):
        try:
            if values is not None:
                lookup(DATASETS, values.get("type", ""))
        except ConfigError:
            return True
    return False


def _values_of(path: Path, settings: Sequence[str]) -> dict:
    """The nested values of a config with its variant and the settings."""
    values = _read(path)
    override(values, settings)
    if (variant := values.pop("variant", None)) is not None:
        values = overlay(values, _read(_find_variant(str(variant))))
        override(values, settings)
        values.pop("variant", None)
    resolve_folder(values, path)
    return values


def _find_variant(name: str) -> Path:
    known = {path.stem: path for path in config_folder().glob("_base_/variants/*.py")}
    if name not in known:
        raise ConfigError(f"variant: unknown {name!r}: {nearest(name, known)}")
    return known[name]


def _read(path: str | Path) -> dict:
    """What a config file and its bases say.

    Raises:
        ConfigError: it cannot be read.
    """
    if is_package(Path(path)):
        raise ConfigError(
            f"{path} is a work package, not a config: open it with `annotator3d label`, and bring "
            "its answers back with `annotator3d package merge WORK_DIR`"
        )
    try:
        values = _read_any(Path(path))
    except ConfigError as error:
        words = str(error)
        raise ConfigError(words if str(path) in words else f"{path}: {words}") from error
    except Exception as error:  # a config in Python is a program: it can fail in any way
        words = in_words(error) if is_refusal(error) else f"{type(error).__name__}: {error}"
        if is_refusal(error) and str(path) in words:
            raise ConfigError(words) from error
        raise ConfigError(f"{path}: cannot be read as a config: {words}") from error
    values = {key: value for key, value in values.items() if not str(key).startswith("_")}
    for table in values.keys() & {"model", "schedule", "training", "active"}:  # data has names
        values[table] = with_exponents(values[table])
    return with_new_names(values)


def _read_any(path: Path) -> dict:
    if is_plain(path):
        return read_plain(path, _read_ours)
    if (values := read_literals(path, _find_base)) is not None:
        return values
    load_yapf()
    from mmengine.config import Config  # late: it loads torch

    with with_base_paths(path, _find_base, _read_ours) as file:
        return Config.fromfile(str(file), import_custom_modules=False).to_dict()


def _find_base(name: str) -> Path:
    try:
        return _find_shipped(name)
    except ConfigError as error:
        raise ConfigError(f"_base_: {error}") from error


def _read_ours(name: str) -> dict:
    return _read_any(_find_base(name))


def dump_config(config: RunConfig) -> str:
    """The effective config, defaults included, as YAML that `load_config` reads back."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)
