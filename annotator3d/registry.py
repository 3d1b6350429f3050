"""Names that a config may use: strategies, oracles, datasets, backbones and mixing recipes.

Each registry is a root (no parent, one scope), so that a name means one thing. Each has a folder: a
file in it that registers a class is all that a new name needs. The folder's modules are imported
when a name is looked up that is not known yet.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from annotator3d._yapf import load_yapf
from annotator3d.account import ensure_home
from annotator3d.errors import ConfigError, in_yaml, nearest

ensure_home()  # mmengine cannot be imported without
load_yapf()
from mmengine.registry import Registry  # noqa: E402

_SCOPE = "annotator3d"

STRATEGIES = Registry("strategy", scope=_SCOPE)
ORACLES = Registry("oracle", scope=_SCOPE)
DATASETS = Registry("dataset", scope=_SCOPE)
BACKBONES = Registry("backbone", scope=_SCOPE)
MIXES = Registry("mix", scope=_SCOPE)

_FOLDERS = {
    "strategy": "annotator3d.active.strategies",
    "oracle": "annotator3d.active",
    "dataset": "annotator3d.data.datasets",
    "backbone": "annotator3d.models",
    "mix": "annotator3d.data.mixing",
}


def fill(registry: Registry) -> None:
    """Import every module of the registry's folder, so that all its names are known."""
    folder = import_module(_FOLDERS[registry.name])
    for module in iter_modules(folder.__path__, f"{folder.__name__}."):
        import_module(module.name)


def lookup(registry: Registry, name: str) -> Callable[..., Any]:
    """The class or function that is registered as ``name``.

    Raises ConfigError with the nearest registered name for an unknown one.
    """
    if not isinstance(name, str):
        raise ConfigError(f"expected the name of a {registry.name}, got {name!r}")
    if name not in registry.module_dict:
        fill(registry)
    if name not in registry.module_dict:
        raise ConfigError(
            f"unknown {registry.name} {name!r}: {nearest(name, registry.module_dict)}"
        )
    return registry.module_dict[name]


def build(registry: Registry, cfg: Mapping[str, Any], **extra: Any) -> Any:
    """Call what ``cfg['type']`` names with the other keys of ``cfg`` as keywords.

    ``extra`` holds keywords of the caller; the config wins where both have one. Raises ConfigError
    for a missing or unknown ``type``, for a keyword that the class does not take (with the nearest
    one) and for a required one that is missing.
    """
    target = _target(registry, cfg)
    kind, name = registry.name, cfg["type"]
    keywords = {**extra, **{key: value for key, value in cfg.items() if key != "type"}}
    unknown, known = _unknown(target, keywords)
    if unknown:
        raise ConfigError(f"{kind} {name!r} has no keyword {unknown!r}: {nearest(unknown, known)}")
    needed = [p.name for p in _by_keyword(target) if p.default is p.empty]
    missing = [key for key in needed if key not in keywords]
    if missing:
        raise ConfigError(f"{kind} {name!r} needs {', '.join(missing)}, which the config lacks")
    return target(**keywords)


def check(registry: Registry, cfg: Mapping[str, Any], key: str) -> None:
    """Refuse what `build` would refuse of a config, before any work begins.

    Keywords may be missing, since a caller may supply them. ``key`` is where the config stands, for
    the messages. Raises ConfigError as `build` does.
    """
    try:
        target = _target(registry, cfg)
    except ConfigError as error:
        raise ConfigError(f"{key}.type: {error}") from error
    unknown, known = _unknown(target, {name: cfg[name] for name in cfg if name != "type"})
    if unknown:
        raise ConfigError(f"unknown key {f'{key}.{unknown}'!r}: {nearest(unknown, known)}")


def _target(registry: Registry, cfg: Mapping[str, Any]) -> Callable[..., Any]:
    if "type" not in cfg:
        got = in_yaml(dict(cfg))
        raise ConfigError(f"the config of a {registry.name} needs the key 'type', got {got}")
    return lookup(registry, cfg["type"])


def _by_keyword(target: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = inspect.signature(target).parameters.values()
    return [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _unknown(target: Callable[..., Any], given: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The first keyword that `target` does not take ('' if it takes all), and all it takes."""
    known = [p.name for p in _by_keyword(target)]
    parameters = inspect.signature(target).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return "", known
    return next((str(key) for key in given if key not in known), ""), known
