"""`import annotator3d` is light, and gives exactly the names that it and docs/python.md list."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import annotator3d as a3d

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
NAMES = [name for name in a3d.__all__ if name != "__version__"]


def test_the_import_loads_nothing_else():
    code = (
        "import sys; before = set(sys.modules); import annotator3d\n"
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = set(ast.literal_eval(run.stdout))
    assert found - sys.stdlib_module_names == {"annotator3d"}


@pytest.mark.parametrize("name", ["Scan", "Ledger", "ConfigError", "Criteria", "open_session"])
def test_a_name_that_needs_no_torch_does_not_load_it(name):
    code = f"import sys, annotator3d; annotator3d.{name}; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_there_and_documented(name):
    value = getattr(a3d, name)
    assert name in dir(a3d)
    assert inspect.getdoc(value), f"{name} has no docstring"
    if inspect.isclass(value):
        methods = [
            (key, member)
            for key, member in vars(value).items()
            if inspect.isfunction(member) and not key.startswith("_")
        ]
        bare = [key for key, member in methods if not inspect.getdoc(getattr(value, key))]
        assert bare == []


def test_the_names_for_type_checkers_are_those_of_the_package():
    tree = ast.parse(Path(a3d.__file__).read_text(encoding="utf-8"))
    (block,) = (n for n in tree.body if isinstance(n, ast.If))
    stated = {
        (node.module.removeprefix("annotator3d."), alias.name)
        for node in block.body
        for alias in node.names
    }
    assert stated == {(module, name) for name, module in a3d._MODULE_OF.items()}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'VoxelConfused'"):
        _ = a3d.VoxelConfused


def test_the_page_lists_the_same_names():
    if not PAGE.exists():
        pytest.skip("the page is not beside the tests")
    table = re.findall(r"^\| `([^`]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(table) == sorted(NAMES)
