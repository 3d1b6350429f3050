"""Who may import whom, and what stays in its room: keeps the wings of the house apart."""

from __future__ import annotations

import ast
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "annotator3d"
MODULES = sorted(
    [p.relative_to(ROOT).as_posix() for p in PACKAGE.rglob("*.py")]
    + [p.relative_to(ROOT).as_posix() for p in (ROOT / "viz").rglob("*.py")]
)

_TO_ENGINE = {"kernels", "data", "models", "ledger", "active"}
LAYERS = {
    "kernels": set(),
    "data": {"kernels"},
    "models": {"kernels", "data"},
    "ledger": {"data"},
    "active": {"kernels", "data", "ledger"},
    "annotation": {"data", "ledger", "active"},
    "viz": {"data", "ledger", "annotation"},
    "engine": _TO_ENGINE,
    "analysis": _TO_ENGINE | {"engine"},
    "api": _TO_ENGINE | {"engine", "analysis", "annotation", "viz"},
    "cli": _TO_ENGINE | {"engine", "analysis", "annotation", "viz", "api"},
}
# Finer than folders: what a room may take of another one.
ONLY_OF = {("annotation", "active"): {"stored_predictions", "timing"}}
ONLY_IN = {
    "spconv": ("annotator3d/models/sparse*.py",),
    "cumm": ("annotator3d/models/sparse*.py",),
    "mmengine": (
        "annotator3d/registry.py",
        "annotator3d/_mmengine.py",
        "annotator3d/models/segmentor.py",
        "annotator3d/engine/*.py",
    ),
    "open3d": ("viz/*.py",),
    "sqlite3": ("annotator3d/ledger/*.py", "annotator3d/annotation/packages/*.py"),
}
NEVER_TORCH = ("ledger", "annotation", "viz")
# Ours without a layer: errors, the registries, what a long job tells, and the door to mmengine.
ANYONE = {"errors", "registry", "reporter", "_mmengine", "__version__"}


def layer_of(module: str) -> str | None:
    """The room that a module belongs to; None for those that anybody may import."""
    parts = module.split("/")
    if parts[0] == "viz":
        return "viz"
    return Path(parts[1]).stem if parts[1] != "__init__.py" else None


def imports(source: str, module: str) -> set[str]:
    """Absolute dotted names that a module of the package imports, at any depth of its code."""
    folders = module.split("/")[:-1]
    package = ["annotator3d", *folders] if folders[0] == "viz" else folders
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*up, *filter(None, [node.module])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def faults(source: str, module: str) -> list[str]:
    """What a module imports against the rules."""
    found = []
    layer = layer_of(module)
    for name in imports(source, module):
        top, *rest = name.split(".")
        places = ONLY_IN.get(top)
        if places and not any(fnmatch(module, place) for place in places):
            found.append(f"{name} (only in {', '.join(places)})")
        if top == "torch" and layer in NEVER_TORCH:
            found.append(f"{name} ({layer} works without torch)")
        if top == "viz":
            found.append(f"{name} (the package is named annotator3d.viz)")
        if top == "annotator3d" and layer in LAYERS and rest:
            if rest[0] not in LAYERS[layer] | ANYONE | {layer}:
                found.append(f"{name} ({layer} may import {sorted(LAYERS[layer])})")
            only = ONLY_OF.get((layer, rest[0]))
            if only and (len(rest) < 2 or rest[1] not in only):
                found.append(f"{name} ({layer} may import {sorted(only)} of {rest[0]})")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_module_keeps_to_its_layer(module):
    assert faults((ROOT / module).read_text(encoding="utf-8"), module) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("annotator3d/kernels/scores.py", "from annotator3d.data import scan"),
        ("annotator3d/ledger/ledger.py", "def f():\n    from ..engine import rounds"),
        ("annotator3d/ledger/ledger.py", "def f():\n    import torch"),
        ("annotator3d/data/scan.py", "from .. import models"),
        ("annotator3d/data/scan.py", "import annotator3d.cli"),
        ("annotator3d/models/losses.py", "import spconv.pytorch as spconv"),
        ("annotator3d/active/x.py", "from mmengine.config import Config"),
        ("annotator3d/engine/x.py", "import open3d"),
        ("annotator3d/annotation/x.py", "from annotator3d.active.selector import ScanSelection"),
        ("annotator3d/cli/x.py", "import viz.keys"),
        ("viz/keys.py", "from annotator3d.engine import run"),
        ("viz/keys.py", "from ..active import strategies"),
        ("annotator3d/cli/x.py", "import sqlite3"),
    ],
)
def test_the_rule_sees_a_breach(module, source):
    assert len(faults(source, module)) == 1


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, annotator3d; print(annotator3d.__version__,"
        " sorted({'torch', 'mmengine', 'spconv', 'open3d'} & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.split(maxsplit=1)[1].strip() == "[]"
