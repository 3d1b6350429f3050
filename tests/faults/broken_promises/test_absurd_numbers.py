"""Times, clicks, dates and names that cannot be: none is written, and none breaks a report."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from contextlib import closing
from html.parser import HTMLParser

import pytest
from answered_runs import make_answered

from annotator3d.cli.main import main
from annotator3d.ledger.ledger import Answer, Ledger

ABSURD = {  # column -> value, as SQLite takes it
    "1e308 seconds": ("seconds", 1e308),
    "infinite seconds": ("seconds", math.inf),
    "a century": ("seconds", 3.2e9),
    "1e18 clicks": ("clicks", 10**18),
    "a date in words": ("created_at", "yesterday"),
    "no date": ("created_at", ""),
    "month 13": ("created_at", "2026-13-01T00:00:00.000Z"),
    "year 9999": ("created_at", "9999-12-31T23:59:59.999Z"),
    "no name": ("annotator", ""),
    "blanks": ("annotator", "  \t"),
    "a long name": ("annotator", "x" * 100_000),
}
COMMANDS = {
    "cost": ["cost", "RUN"],
    "cost --json": ["cost", "RUN", "--json"],
    "report": ["report", "RUN"],
    "quality report": ["quality", "report", "RUN"],
    "round status": ["round", "status", "RUN"],
    "ledger log": ["ledger", "log", "RUN"],
    "ledger verify": ["ledger", "verify", "RUN"],
    "ledger backup": ["ledger", "backup", "RUN", "OUT"],
    "export": ["export", "RUN", "OUT", "--what", "answers", "--format", "semantickitti"],
    "package export": ["package", "export", "RUN", "OUT", "--to", "bob"],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_answered(tmp_path_factory.mktemp("absurd"))


@pytest.fixture
def run(base, tmp_path):
    shutil.copytree(base / "run", tmp_path / "run")
    return tmp_path / "run"


def insert(path, column, value, query=2):
    """A skip with this value, as an earlier version or other software could write it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        row = {"query": query, "kind": "skip", "annotator": "eve", "seconds": 1.0, column: value}
        marks = ", ".join("?" * len(row))
        db.execute(f"INSERT INTO events ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def pack(run):
    out = run.with_name("one.a3dpack")
    assert main(["package", "export", str(run), str(out), "--to", "bob"]) == 0
    return out


@pytest.mark.parametrize("name", ABSURD)
def test_none_comes_home_in_a_package(run, capsys, name):
    package = pack(run)
    insert(package, *ABSURD[name], query=8)
    with Ledger.read(run / "ledger.sqlite") as ledger:
        before = len(ledger.events())
    capsys.readouterr()
    assert main(["package", "merge", str(run), str(package)]) == 1
    said = capsys.readouterr().err
    word = {"created_at": "date"}.get(ABSURD[name][0], ABSURD[name][0])
    assert word in said and "is refused" in said and "nothing was merged" in said
    assert len(said) < 600
    with Ledger.read(run / "ledger.sqlite") as ledger:
        assert len(ledger.events()) == before


@pytest.mark.parametrize(
    "values",
    [
        {"seconds": 1e308},
        {"seconds": math.inf},
        {"seconds": math.nan},
        {"seconds": -1.0},
        {"clicks": -1},
        {"clicks": 10**12},
        {"annotator": ""},
        {"annotator": "\n"},
        {"annotator": "x" * 201},
    ],
)
def test_none_is_written(run, values):
    with Ledger.open_existing(run / "ledger.sqlite") as ledger:
        count = len(ledger.events())
        with pytest.raises(ValueError, match="seconds must|clicks must|annotator must"):
            ledger.record(8, Answer("skip", None, **{"annotator": "ann", **values}))
        assert len(ledger.events()) == count


class _Page(HTMLParser):
    """Reads a page to its end."""


@pytest.mark.parametrize("command", COMMANDS)
def test_readers_survive_what_is_there(run, tmp_path, capsys, command):
    for column, value in ABSURD.values():
        insert(run / "ledger.sqlite", column, value)
    places = {"RUN": str(run), "OUT": str(tmp_path / "out")}
    capsys.readouterr()
    assert main([places.get(word, word) for word in COMMANDS[command]]) == 0
    said = capsys.readouterr().out
    if command != "ledger verify":  # which lists them
        assert "nan" not in said.replace("annot", "") and "e+" not in said and " inf" not in said
    if command == "cost --json":
        spent = json.loads(said, parse_constant=pytest.fail)["spent"]
        assert spent["seconds"] < 100 and spent["clicks"] < 100
    elif command == "cost":
        assert f"{len(ABSURD)} events hold a time, clicks, a date or a name that cannot be" in said
    elif command == "ledger verify":
        assert (
            said.count("is left out of times and counts") == len(ABSURD) and "; 0 problems" in said
        )
    elif command == "report":
        _Page().feed((run / "report.html").read_text(encoding="utf-8"))
