"""A whole ledger as text and back, and its history in words."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
from asked import Asked
from busy_ledgers import NAMES, notes, rows_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotator3d.cli.main import main
from annotator3d.ledger.bounds import MAX_SECONDS
from annotator3d.ledger.ledger import Answer, Ledger
from annotator3d.ledger.maintenance import transfer as dump
from annotator3d.ledger.maintenance.verify import verify


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_written_as_text_and_read_back_nothing_is_lost(path, tmp_path, format):
    out, back = tmp_path / "out", tmp_path / "back.sqlite"
    assert main(["ledger", "export", str(path), str(out), "--format", format]) == 0
    assert main(["ledger", "import", str(out), str(back)]) == 0
    assert rows_of(back) == rows_of(path) and verify(back).problems == []
    with Ledger.read(path) as then, Ledger.read(back) as now:
        assert then.export_canonical() == now.export_canonical()
    assert main(["ledger", "import", str(out), str(back)]) == 1  # there is one already
    assert main(["ledger", "export", str(path), str(out), "--format", format]) == 1


def test_a_ledger_is_read_into_a_work_directory_that_is_not_there_yet(path, tmp_path, capsys):
    text, copy = tmp_path / "text.jsonl", tmp_path / "copy"
    dump.export_ledger(path, text)
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text("\n".join(text.read_text().splitlines()[:-1]) + "\n")
    assert main(["ledger", "import", str(damaged), str(copy)]) == 1
    assert not copy.exists()
    assert main(["ledger", "import", str(text), str(tmp_path / "nowhere/copy")]) == 1
    assert f"there is no folder {tmp_path / 'nowhere'};" in capsys.readouterr().err
    assert main(["ledger", "import", str(text), str(copy)]) == 0
    assert rows_of(copy / "ledger.sqlite") == rows_of(path)
    assert main(["round", "status", str(copy)]) == 0
    for there in (copy, path, text):
        before = there.read_bytes() if there.is_file() else rows_of(copy / "ledger.sqlite")
        assert main(["ledger", "import", str(text), str(there)]) == 1
        assert "exists; an export is read into a new ledger only" in capsys.readouterr().err
        after = there.read_bytes() if there.is_file() else rows_of(copy / "ledger.sqlite")
        assert after == before


acts = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.sampled_from(["answer", "skip", "ignore", "unsure", "undo", "note"]),
        st.lists(st.sampled_from([0, 1, 2, 255]), min_size=2, max_size=2),
        st.floats(0, MAX_SECONDS) | st.none(),
        notes.filter(bool),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(acts, st.sampled_from(["jsonl", "csv"]))
def test_any_history_survives_the_way_through_text(tmp_path_factory, acts, format):
    folder = tmp_path_factory.mktemp("text")
    path = folder / "ledger.sqlite"
    with Ledger.open(path, NAMES, "d1") as ledger:
        ledger.register_scan("00/0", "f", 9)
        ledger.add_round(
            1, "vcd", 0, 4, {"00/0": [Asked((i, 0, 0), utility=i / 7) for i in range(4)]}
        )
        for query, kind, labels, seconds, text in acts:
            if kind == "undo":
                if ledger.current(query) is not None:
                    ledger.undo(query, annotator="ann")
            elif kind == "note":
                ledger.note(query, text, annotator=text)
            else:
                given_labels = np.array(labels) if kind == "answer" else None
                ledger.record(query, Answer(kind, given_labels, "bob", seconds, note=text))
    dump.export_ledger(path, folder / "out", format)
    dump.import_ledger(folder / "out", folder / "back.sqlite")
    assert rows_of(folder / "back.sqlite") == rows_of(path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda lines: lines[:-1], "is not complete"),
        (lambda lines: lines[1:], "line 1: expected an export of a ledger"),
        (lambda lines: [*lines[:6], "{" + lines[6], *lines[7:]], "line 7: not JSON"),
        (lambda lines: [*lines[:6], "[]", *lines[6:]], "line 7: not a row"),
        (lambda lines: [*lines, lines[-1]], "refused: .*never changed or removed"),
        (lambda lines: [text.replace('"00ff"', '"00"') for text in lines], "one label per point"),
        (lambda lines: [text.replace('"00ff"', '"0g"') for text in lines], "refused"),
        (
            lambda lines: [text.replace('"00ff"', '"01ff"') for text in lines],
            "has changed since it was written: the checksum",
        ),
        (
            lambda lines: [text.replace('"ann"', '"eva"') for text in lines],
            "has changed since it was written: the checksum",
        ),
    ],
)
def test_damaged_text_is_refused_with_its_line(path, tmp_path, capsys, damage, words):
    text, back = tmp_path / "text.jsonl", tmp_path / "back.sqlite"
    dump.export_ledger(path, text)
    text.write_text("\n".join(damage(text.read_text().splitlines())) + "\n")
    assert main(["ledger", "import", str(text), str(back)]) == 1
    assert re.search(words, capsys.readouterr().err)
    assert not back.exists() and not list(tmp_path.glob(".*part"))


def test_a_table_that_is_missing_is_named(path, tmp_path):
    dump.export_ledger(path, tmp_path / "out", "csv")
    with open(tmp_path / "out/events.csv", newline="") as file:
        assert len(list(csv.reader(file))) == 1 + len(rows_of(path)["events"])
    (tmp_path / "out/queries.csv").unlink()
    with pytest.raises(ValueError, match=r"queries\.csv is missing"):
        dump.import_ledger(tmp_path / "out", tmp_path / "back.sqlite")


def test_the_history_of_a_query_can_be_read(path, capsys):
    assert main(["ledger", "log", str(path), "--query", "1"]) == 0
    words = capsys.readouterr().out
    for expected in (
        "query 1: scan 00/0, voxel (0, -1, 0)",
        "no class 1, car 1",  # as the classes are called today
        'a "kerb",',
        "asks once more (overlap)",
        "as proposed",
        "approved",
        "1.1 s, 2 clicks",
    ):
        assert expected in words, words
    assert main(["ledger", "log", str(path), "--annotator", "ann", "--last", "2"]) == 0
    words = capsys.readouterr().out
    assert "tree 2 [class list 2]" in words and "lead" not in words
    assert main(["ledger", "log", str(path), "--query", "2"]) == 0
    assert "skipped (taken back)" in capsys.readouterr().out
    assert main(["ledger", "log", str(path), "--last", "0"]) == 2


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--query", "99", r"has no query 99; its numbers go from 1 to 4"),
        ("--round", "9", r"has no round 9; it has 1 to 2"),
        ("--annotator", "nobody", r"'nobody' has done nothing in .*; these did: ann, bob, lead"),
    ],
)
def test_who_or_what_there_is_not_in_a_history_is_named(path, capsys, option, value, words):
    assert main(["ledger", "log", str(path), option, value]) == 2
    assert re.search(f"{option}: .*{words}", capsys.readouterr().err)


def test_a_history_is_cut_nowhere(path, capsys, monkeypatch):
    note = "behind the hedge " * 9 + "to the left"
    with Ledger.open(path, ["road", "car", "tree"], "d2") as ledger:
        ledger.note(4, note, annotator="ann")
        times = [event.created_at for event in ledger.events()]
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["ledger", "log", str(path)]) == 0  # into a pipe: a row a line
    words = capsys.readouterr().out
    assert note in words and all(time in words for time in times)
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    assert main(["ledger", "log", str(path)]) == 0
    lines = re.sub("\x1b[^m]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines[1:])) <= 80
    assert all(any(time in line for line in lines) for time in times)
    column = "".join(line.split("│")[5].strip() + " " for line in lines if "│" in line)
    assert " ".join(note.split()) in " ".join(column.split())
