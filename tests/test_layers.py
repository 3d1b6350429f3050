"""Who may import whom: keeps the kernels usable alone and heavy packages out of the way."""

from __future__ import annotations

import ast
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "annotator3d"
MODULES = sorted(p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*.py"))

LAYERS = {
    "kernels": set(),
    "data": {"kernels"},
    "models": {"kernels", "data"},
    "active": {"kernels", "data"},
    "viz": {"kernels", "data", "active"},
    "engine": {"kernels", "data", "models", "active"},
    "analysis": {"kernels", "data", "models", "active", "engine"},
}
ONLY_IN = {
    "spconv": ("models/sparse*.py",),
    "cumm": ("models/sparse*.py",),
    "mmengine": ("registry.py", "mm.py", "models/segmentor.py", "engine/*.py"),
    "open3d": ("viz/*.py",),
}
# Ours without a layer: the package itself (its version) and the modules that copes with mmengine.
ANYONE = {"errors", "registry", "mm", "__version__"}


def imports(source: str, module: str) -> set[str]:
    """Absolute dotted names that a module of the package imports, at any depth of its code."""
    package = ["annotator3d", *module.split("/")[:-1]]
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
    layer = module.split("/")[0] if "/" in module else None
    for name in imports(source, module):
        top, *rest = name.split(".")
        places = ONLY_IN.get(top)
        if places and not any(fnmatch(module, place) for place in places):
            found.append(f"{name} (only in {', '.join(places)})")
        if top == "annotator3d" and layer in LAYERS and rest:
            if rest[0] not in LAYERS[layer] | ANYONE | {layer}:
                found.append(f"{name} ({layer} may import {sorted(LAYERS[layer])})")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_module_keeps_to_its_layer(module):
    assert faults((PACKAGE / module).read_text(encoding="utf-8"), module) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("kernels/api.py", "from annotator3d.data import scan"),
        ("active/ledger.py", "def f():\n    from ..engine import rounds"),
        ("data/scan.py", "from .. import models"),
        ("data/scan.py", "import annotator3d.cli"),
        ("models/losses.py", "import spconv.pytorch as spconv"),
        ("active/x.py", "from mmengine.config import Config"),
        ("engine/x.py", "import open3d"),
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
