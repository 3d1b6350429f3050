"""Names that a config may use: strategies, oracles, datasets and backbones.

The registries are roots of their own (no parent, one scope), so that a name means one thing. The
modules in ``locations`` are imported when a name is first asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from mmengine.registry import Registry

_SCOPE = "annotator3d"

STRATEGIES = Registry("strategy", scope=_SCOPE, locations=["annotator3d.active.strategies"])
ORACLES = Registry("oracle", scope=_SCOPE, locations=["annotator3d.active.oracles"])
DATASETS = Registry(
    "dataset", scope=_SCOPE, locations=["annotator3d.data.datasets", "annotator3d.data.simulated"]
)
BACKBONES = Registry("backbone", scope=_SCOPE, locations=["annotator3d.models"])


def nearest(name: str, known: Iterable[str]) -> str:
    """Words for an error message: the nearest of ``known`` first, then all of them.

    Returns for example ``"did you mean 'vcd'? Known: entropy, margin, random, vcd"``.
    """
    ordered = sorted(known)
    by_folded = {key.casefold(): key for key in ordered}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    hint = f"did you mean {by_folded[close[0]]!r}? " if close else ""
    return f"{hint}Known: {', '.join(ordered) or 'none'}"


def lookup(registry: Registry, name: str) -> Callable[..., Any]:
    """The class or function that is registered as ``name``.

    Raises ValueError with the nearest registered name for an unknown one.
    """
    if name not in registry.module_dict:
        registry.import_from_location()
    if name not in registry.module_dict:
        raise ValueError(
            f"unknown {registry.name} {name!r}: {nearest(str(name), registry.module_dict)}"
        )
    return registry.module_dict[name]


def build(registry: Registry, cfg: Mapping[str, Any], **extra: Any) -> Any:
    """Call what ``cfg['type']`` names with the other keys of ``cfg`` as keywords.

    ``extra`` holds what the caller supplies beside the config; the config wins where both name a
    keyword. Raises ValueError for a missing or unknown ``type``, for a keyword that the class does
    not take (with the nearest one) and for a required one that is missing.
    """
    if "type" not in cfg:
        raise ValueError(f"the config of a {registry.name} needs the key 'type', got {dict(cfg)}")
    target = lookup(registry, cfg["type"])
    keywords = {**extra, **{key: value for key, value in cfg.items() if key != "type"}}
    _check_keywords(registry.name, cfg["type"], target, keywords)
    return target(**keywords)


def _check_keywords(kind: str, name: str, target: Callable[..., Any], given: dict) -> None:
    parameters = inspect.signature(target).parameters.values()
    by_keyword = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    known = [p.name for p in by_keyword]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for key in given:
            if key not in known:
                raise ValueError(f"{kind} {name!r} has no keyword {key!r}: {nearest(key, known)}")
    missing = [p.name for p in by_keyword if p.default is p.empty and p.name not in given]
    if missing:
        raise ValueError(f"{kind} {name!r} needs {', '.join(missing)}, which the config lacks")
