"""What a kind of event is, is said once: elsewhere in the package its word is never spelled."""

from __future__ import annotations

import ast
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from annotator3d.ledger import schema
from annotator3d.ledger.records import Answer
from annotator3d.ledger.schema import Ask, EventKind

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("annotator3d", "viz")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(schema.__file__)
)
WORDS = {*EventKind, *Ask}
_IN_SQL = re.compile(r"\b(kind|ask)\s*(=|!=|IN)\s*\(?\s*'\w")


def spelled(source: str) -> list[int]:
    """Lines in which a kind or an ask is compared with, made of or looked up by its word."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            found = _about_a_kind(node) and _words(node)
        elif isinstance(node, ast.Call):
            values = [k.value for k in node.keywords if k.arg in ("kind", "ask")]
            made = [a for a in node.args[:1] if _name(node.func) in ("Answer", "requests")]
            found = any(map(_words, [*values, *made]))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = _IN_SQL.search(node.value)
        else:
            continue
        if found:
            lines.append(node.lineno)
    return lines


def _name(node: ast.AST) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


def _about_a_kind(node: ast.Compare) -> bool:
    return any(_name(side) in ("kind", "ask") for side in (node.left, *node.comparators))


def _words(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Constant) and n.value in WORDS for n in ast.walk(node))


@pytest.mark.parametrize("module", MODULES)
def test_no_other_module_spells_a_kind(module):
    assert spelled((ROOT / module).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "e.kind == 'undo'",
        "event.answer.kind in ('answer', 'ignore')",
        "Answer('skip', None, who)",
        "replace(answer, kind='draft')",
        "ledger.append(1, answer, None, ask='again')",
        "rows(\"SELECT id FROM events WHERE kind != 'lease'\")",
    ],
)
def test_a_spelled_kind_is_seen(source):
    assert spelled(source) == [1]


def test_kinds_are_their_stored_words():
    for word in (*EventKind, *Ask):
        plain = word.value
        assert (str(word), f"{word}", f"{word:>9}") == (plain, plain, f"{plain:>9}")
        assert json.dumps({word: [word]}) == json.dumps({plain: [plain]})
        assert word == plain and {plain: 1}[word] == 1
        db = sqlite3.connect(":memory:")
        assert db.execute("SELECT ?, typeof(?1)", (word,)).fetchone() == (plain, "text")
    assert Answer("skip").kind is EventKind.SKIP
    with pytest.raises(ValueError, match="expected one of answer, skip, .*; got 'maybe'"):
        Answer("maybe")


def test_each_kind_does_what_its_row_says():
    def those(name: str) -> set[str]:
        return {str(kind) for kind in EventKind if getattr(kind, name)}

    responses = {"answer", "skip", "unsure", "ignore"}
    assert those("settles") == responses
    assert those("gives_classes") == {"answer", "ignore"}
    assert those("carries_labels") == {"answer", "draft"}
    assert those("is_undoable") == responses | {"draft"}
    assert those("is_review") == {"approve", "reject"}
    assert those("ends_lease") == responses | {"approve", "reject"}
    assert those("revokes") == {"undo", "reject"}
    assert those("decides") == set(EventKind) - {"note", "lease", "release"}
    assert {ask for ask in Ask if ask.is_independent} == {"overlap", "repeat"}


def test_the_ledger_is_imported_without_torch():
    code = (
        "import sys, pkgutil, importlib, annotator3d.ledger as room\n"
        "for found in pkgutil.walk_packages(room.__path__, 'annotator3d.ledger.'):\n"
        "    importlib.import_module(found.name)\n"
        "print(sorted({'torch', 'spconv', 'open3d'} & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.strip() == "[]"
