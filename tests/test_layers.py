"""Who may import whom, and what stays in its room: keeps the wings of the house apart."""

from __future__ import annotations

import ast
import re
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

OUTSIDE = sorted(
    p.relative_to(ROOT).as_posix() for top in ("tests", "tools") for p in (ROOT / top).rglob("*.py")
)

_TO_ENGINE = {"kernels", "data", "models", "ledger", "active"}
LAYERS = {
    "kernels": set(),
    "data": {"kernels"},
    "models": {"kernels", "data"},
    "ledger": {"data"},
    "active": {"kernels", "data", "ledger"},
    "annotation": {"data", "ledger"},
    "viz": {"data", "ledger", "annotation"},
    "engine": _TO_ENGINE,
    "analysis": _TO_ENGINE | {"engine"},
    "api": _TO_ENGINE | {"engine", "analysis", "annotation", "viz"},
    "cli": _TO_ENGINE | {"engine", "analysis", "annotation", "viz", "api"},
}
ONLY_IN = {
    "spconv": ("annotator3d/models/sparse*.py",),
    "spconv_triton": ("annotator3d/models/sparse*.py",),
    "cumm": ("annotator3d/models/sparse*.py",),
    "mmengine": (
        "annotator3d/registry.py",
        "annotator3d/_mmengine.py",
        "annotator3d/models/segmentor.py",
        "annotator3d/engine/*.py",
    ),
    "open3d": ("viz/*.py",),
    "viser": ("viz/*.py",),
    "aiohttp": ("viz/web/*.py",),
    "pydantic": ("annotator3d/engine/config/*.py",),
    "jinja2": ("annotator3d/analysis/report/*.py",),
    "sqlite3": ("annotator3d/ledger/*.py",),
}
NEVER_TORCH = ("ledger", "annotation", "viz")
# Ours without a layer: errors, words for those of the system, the registries, what a long job
# tells, the account that runs us, and the door to mmengine.
ANYONE = {
    "account",
    "errors",
    "system_errors",
    "registry",
    "reporter",
    "_mmengine",
    "_yapf",
    "__version__",
}


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
    return found


_SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+(OR \w+ )?INTO|UPDATE\s+\w+\s+SET|DELETE FROM|PRAGMA)\b", re.S
)
# Whose private names not even tests and tools may use.
GUARDED = {f"annotator3d/{name}" for name in ("ledger", "annotation", "engine")}
_NAMED_TUPLE = {"_replace", "_asdict", "_fields", "_make"}


def room(module: str) -> str:
    """The folder within which a module's private names may be used; its tests belong to it."""
    module = module.replace("tests/", "annotator3d/", 1).replace("annotator3d/viz/", "viz/")
    return "viz" if module.startswith("viz/") else "/".join(module.split("/")[:2])


def sql(source: str, module: str) -> list[str]:
    """Statements of SQL in a module that is not of the ledger."""
    if module.startswith("annotator3d/ledger/"):
        return []
    texts = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant)]
    return [f"line {n.lineno}" for n in texts if isinstance(n.value, str) and _SQL.search(n.value)]


def private_definitions(source: str) -> set[str]:
    """Private functions, classes, constants and attributes that a module makes."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                found.add(node.attr)
    return {name for name in found if _is_private(name)}


def private_uses(source: str) -> list[tuple[str, int]]:
    """Private names that a module takes of another object or module, with their lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own:
                found.append((node.attr, node.lineno))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("annotator3d"):
            found += [(a.name, node.lineno) for a in node.names if _is_private(a.name)]
    return found


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in _NAMED_TUPLE | {"_"}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that import each other, directly or through others (Tarjan)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in graph[node]:
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            group = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(group)

    for node in graph:
        if node not in number:
            visit(node)
    return found


def dotted(module: str) -> str:
    """The name by which a module is imported."""
    name = ("annotator3d/" if module.startswith("viz/") else "") + module.removesuffix(".py")
    return name.removesuffix("/__init__").replace("/", ".")


def import_graph() -> dict[str, set[str]]:
    """Each module with those of ours that it imports anywhere in its code, types included."""
    names = {dotted(module) for module in MODULES}
    graph = {}
    for module in MODULES:
        found = set()
        for name in imports((ROOT / module).read_text(encoding="utf-8"), module):
            while name not in names and "." in name:
                name = name.rpartition(".")[0]
            found.add(name)
        graph[dotted(module)] = (found & names) - {dotted(module), "annotator3d"}
    return graph


@pytest.mark.parametrize("module", MODULES)
def test_sql_stays_in_the_ledger(module):
    assert sql((ROOT / module).read_text(encoding="utf-8"), module) == []


def test_the_rule_sees_sql():
    assert sql('db.execute("SELECT uid FROM event")', "annotator3d/cli/x.py") == ["line 1"]
    assert sql('db.execute("SELECT uid FROM event")', "annotator3d/ledger/x.py") == []


@pytest.fixture(scope="module")
def homes() -> dict[str, set[str]]:
    """Each private name with the rooms that define it."""
    found: dict[str, set[str]] = {}
    for module in MODULES:
        for name in private_definitions((ROOT / module).read_text(encoding="utf-8")):
            found.setdefault(name, set()).add(room(module))
    return found


@pytest.mark.parametrize("module", [*MODULES, *OUTSIDE])
def test_private_names_stay_in_their_room(module, homes):
    uses = private_uses((ROOT / module).read_text(encoding="utf-8"))
    strange = [
        f"{name} in line {line} (of {', '.join(sorted(homes[name]))})"
        for name, line in uses
        if name in homes and room(module) not in homes[name]
        if module in MODULES or homes[name] & GUARDED
    ]
    assert strange == []


def test_the_rule_sees_a_private_name():
    assert private_uses("def f(ledger):\n    return ledger._rows()") == [("_rows", 2)]
    assert private_uses("from annotator3d.cli.main import _x") == [("_x", 1)]
    assert private_uses("class A:\n    def f(self):\n        return self._x") == []


def test_no_modules_import_each_other_in_a_circle():
    assert circles(import_graph()) == []


def test_a_circle_is_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


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


def test_no_two_files_of_tests_have_one_name():
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(set(names)) == sorted(names)


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, annotator3d; print(annotator3d.__version__,"
        " sorted({'torch', 'mmengine', 'spconv', 'open3d'} & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.split(maxsplit=1)[1].strip() == "[]"
