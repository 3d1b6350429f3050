"""Keeping a ledger for months: checked, copied, written as text and back, read by people."""

import csv
import json
import multiprocessing
import os
import re
import shutil
import socket
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from killing import die, killed
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.data.datasets.moved import find_moved
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.files import fingerprint
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.rounds.select_only import select_only
from annotator3d.ledger import schema
from annotator3d.ledger.ledger import Answer, Ledger, ScanRecord
from annotator3d.ledger.maintenance import backup
from annotator3d.ledger.maintenance import transfer as dump
from annotator3d.ledger.maintenance.verify import verify

NAMES = ["car", "road", "tree"]


class Asked:
    def __init__(self, cell, points=2, utility=0.1):
        self.cell, self.num_points, self.utility = cell, points, utility


def busy_ledger(path):
    """A ledger with every kind of row."""
    with Ledger.open(path, NAMES, "d1") as ledger:
        ledger.register_scans([ScanRecord("00/0", "f0", 9), ScanRecord("00/1", "f1", 9)])
        first, second, third = ledger.add_round(
            1, "vcd", 7, 3, {"00/0": [Asked((i, -1, 0), utility=1 / 3) for i in range(3)]}
        )
        ledger.answer(first.id, [0, 255], annotator="ann", seconds=1.1, clicks=2, note='a "kerb",')
        ledger.request(first.id, "overlap", annotator="lead")
        event = ledger.answer(first.id, [0, 1], annotator="bob", proposal_accepted=True)
        ledger.review(event, "approve", annotator="lead")
        ledger.leases.hold([second.id], annotator="ann", seconds=60)
        ledger.skip(second.id, annotator="ann")
        ledger.undo(second.id, annotator="ann")
        ledger.ignore(second.id, annotator="ann")
        ledger.note(third.id, "ein Gerüst?\nvielleicht", annotator="ann")
        ledger.release(third.id, annotator="lead")
        ledger.add_round(2, "vcd", 7, 3, {"00/0": [Asked((2, -1, 0))], "00/1": []}, epoch=3)
        table = bytes([1, 0, 2, *range(3, 256)])
        ledger.file.db.execute(
            "INSERT INTO taxonomies (version, digest, classes, mapping) VALUES"
            ' (2, \'d2\', \'["road", "car", "tree"]\', ?)',
            (table,),
        )
    with Ledger.open(path, ["road", "car", "tree"], "d2") as ledger:
        ledger.answer(4, [2, 2], annotator="ann")
    return path


@pytest.fixture
def path(tmp_path):
    return busy_ledger(tmp_path / "ledger.sqlite")


def rows_of(path):
    db = sqlite3.connect(path)
    found = {t: db.execute(f"SELECT * FROM {t} ORDER BY 1").fetchall() for t in dump.TABLES}
    db.close()
    return found


def corrupt(path, *statements):
    """Write into a ledger as only a broken program could: without its triggers."""
    db = sqlite3.connect(path)
    triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        db.execute(statement)
    for _, sql in triggers:
        db.execute(sql)
    db.commit()
    db.close()


def test_a_ledger_that_keeps_its_rules_has_no_problems(path, capsys):
    assert verify(path).problems == []
    assert main(["ledger", "verify", str(path), "--no-scans"]) == 0
    assert "4 queries" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE rounds SET round = 5 WHERE round = 2", "round 5 is not the one after round 1"),
        ("UPDATE rounds SET epoch = 9 WHERE round = 1", "round 2 is scheduled at epoch 3, before"),
        ("UPDATE rounds SET num_queries = 1", "round 1 holds 3 queries, 1 were planned"),
        ("UPDATE rounds SET max_queries = 0, num_queries = 0", "its limit is 0"),
        ("UPDATE rounds SET budget = 2", "asks about scan 00/0 3 times, its budget is 2"),
        ("UPDATE queries SET x = 0 WHERE id = 2", "voxel (0, -1, 0) of scan 00/0 was asked 2"),
        ("DELETE FROM scans WHERE id = '00/0'", "row 1 of queries refers to a row of scans"),
        ("UPDATE queries SET num_points = 3 WHERE id = 1", "has 2 labels, query 1 has 3 points"),
        ("UPDATE events SET labels = x'0009' WHERE id = 1", "event 1 has label 9, which is no"),
        ("UPDATE events SET supersedes = 5 WHERE id = 3", "supersedes event 5, which is not"),
        ("UPDATE events SET kind = 'skip', query = 3 WHERE id = 8", "was released and has"),
        ("UPDATE taxonomies SET mapping = x'00' WHERE version = 2", "lacks its map"),
        ("UPDATE events SET labels = x'01ff' WHERE id = 1", "event 1 of query 1 has changed"),
        ("UPDATE events SET annotator = 'bnn' WHERE id = 1", "event 1 of query 1 has changed"),
        ("UPDATE events SET seconds = 9 WHERE id = 1", "event 1 of query 1 has changed"),
        ("DROP TRIGGER IF EXISTS events_undo", None),
    ],
)
def test_each_broken_rule_is_named(path, capsys, statement, words):
    corrupt(path, "PRAGMA ignore_check_constraints = ON", statement)
    if words is None:
        db = sqlite3.connect(path)
        db.execute(statement)
        db.commit()
        db.close()
        words = "trigger events_undo is missing"
    found = verify(path).problems
    assert any(words in problem for problem in found), found
    assert main(["ledger", "verify", str(path), "--no-scans", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == found


def test_a_damaged_file_is_a_problem_and_not_an_exception(path, tmp_path):
    data = bytearray(path.read_bytes())
    data[2 * 4096 : 3 * 4096] = os.urandom(4096)
    path.write_bytes(data)
    assert verify(path).problems
    path.write_bytes(data[: len(data) // 2])
    assert verify(path).problems
    other = tmp_path / "other.sqlite"
    sqlite3.connect(other).execute("CREATE TABLE a (b)")
    assert "not a ledger" in verify(other).problems[0]


@pytest.fixture
def asked(make_kitti, tmp_path):
    """A work directory with queries of scans on disk."""
    root = make_kitti(sequences=("00", "01"), scans=2, points=300)
    config = tiny_config(root, active={"strategy": "random"})
    select_only(config, tmp_path / "run")
    (tmp_path / "run/config.yaml").write_text(dump_config(config))
    return tmp_path / "run", root


def test_the_scans_are_compared_with_what_was_asked(asked, capsys):
    work_dir, root = asked
    assert main(["ledger", "verify", str(work_dir)]) == 0
    scan = root / "sequences/00/velodyne/000001.bin"
    changed = np.fromfile(scan, "<f4")
    changed[0] += 40
    changed.tofile(scan)
    assert main(["ledger", "verify", str(work_dir)]) == 1
    assert "scan 00/000001 is not the one that was asked about" in capsys.readouterr().err


def test_a_scan_that_is_gone_is_not_counted_as_checked(asked, capsys):
    work_dir, root = asked
    (root / "sequences/00/velodyne/000001.bin").unlink()
    assert main(["ledger", "verify", str(work_dir)]) == 1
    said = capsys.readouterr()
    assert "4 scans, 3 scan files; 1 problems" in said.out and "00/000001" in said.err


def test_a_copy_without_a_config_is_checked_but_for_the_scans(asked, tmp_path, capsys):
    work_dir, root = asked
    copy, config = tmp_path / "copy.sqlite", str(work_dir / "config.yaml")
    assert main(["ledger", "backup", str(work_dir), str(copy)]) == 0
    capsys.readouterr()
    assert main(["ledger", "verify", str(copy)]) == 0
    said = capsys.readouterr().out
    assert said.count("the scans are not checked") == 1 and "--config" in said
    assert "4 scans; 0 problems" in said
    assert main(["ledger", "verify", str(copy), "--json"]) == 0
    assert "scans are not checked" in json.loads(capsys.readouterr().out)["not_checked"][0]
    assert main(["ledger", "verify", str(copy), "--config", config]) == 0
    assert "4 scan files; 0 problems" in capsys.readouterr().out
    corrupt(copy, "UPDATE rounds SET round = 3")
    assert main(["ledger", "verify", str(copy)]) == 1
    assert "round 3 is not the one after round 0" in capsys.readouterr().err
    data = bytearray(copy.read_bytes())
    data[2 * 4096 : 9 * 4096] = bytes(range(256)) * 16 * 7
    copy.write_bytes(data)
    assert main(["ledger", "verify", str(copy)]) == 1
    assert "copy.sqlite: its rows cannot be read; " in capsys.readouterr().out


def test_a_package_is_checked_with_the_scans_that_it_brings(asked, tmp_path, capsys):
    work_dir, root = asked
    pack = tmp_path / "ann.a3dpack"
    assert main(["package", "export", str(work_dir), str(pack), "--to", "ann"]) == 0
    shutil.rmtree(root)
    shutil.rmtree(work_dir)
    capsys.readouterr()
    assert main(["ledger", "verify", str(pack)]) == 0
    said = capsys.readouterr().out
    assert "4 scan files; 0 problems" in said and "not checked" not in said
    assert main(["ledger", "verify", str(pack), "--data-root", str(root)]) == 2
    db = sqlite3.connect(pack)
    db.execute("UPDATE package_scans SET content = zeroblob(9) WHERE rowid = 2")
    db.commit()
    db.close()
    assert main(["ledger", "verify", str(pack)]) == 1
    assert "row 2 of package_scans has changed since it was written" in capsys.readouterr().err


def test_scans_that_moved_are_found_by_what_is_in_them(asked, capsys):
    work_dir, root = asked
    moved = root.with_name("elsewhere")
    shutil.move(root, moved)
    os.rename(moved / "sequences/01", moved / "sequences/05")
    config = work_dir / "config.yaml"
    config.write_text(config.read_text().replace("- '01'", "- '05'"))
    assert main(["ledger", "verify", str(work_dir), "--data-root", str(moved)]) == 0
    assert "scan 01/000000 is found as 05/000000" in capsys.readouterr().out
    dataset = SemanticKITTI(moved, ["00", "05"])
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        known = ledger.scans()
    assert find_moved(dataset, known) == {f"01/{i:06d}": f"05/{i:06d}" for i in range(2)}
    assert find_moved(dataset, [ScanRecord("00/000000", "f", 1)]) == {}
    twin = ScanRecord("09/000000", fingerprint(dataset.path(0)), 300)
    assert find_moved(dataset, [twin]) == {"09/000000": "00/000000"}


@pytest.mark.parametrize("page", [1, 4, 8])
def test_a_damaged_ledger_is_told_from_a_damaged_copy(path, tmp_path, capsys, monkeypatch, page):
    folder = tmp_path / "backups"
    folder.mkdir()
    command = ["ledger", "backup", str(path), str(folder), "--keep", "1"]
    assert main(command) == 0
    (older,) = folder.iterdir()
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(backup, "_damage", lambda file: "page 3" if file != path else None)
        assert main(command) == 1
    assert "the copy came out damaged (page 3); check the disk" in capsys.readouterr().err
    data = bytearray(path.read_bytes())
    data[page * 4096 : (page + 1) * 4096] = bytes(range(256)) * 16
    path.write_bytes(data)
    assert verify(path).problems
    assert main(command) == 1
    said = capsys.readouterr().err
    assert f"{path} is damaged" in said and f"ledger verify {path}" in said
    assert "older backup" in said and list(folder.iterdir()) == [older]


def test_a_backup_holds_all_and_nothing_lies_beside_it(path, tmp_path, capsys):
    folder = tmp_path / "backups"
    folder.mkdir()
    assert main(["ledger", "backup", str(path), str(folder / "one.sqlite")]) == 0
    assert rows_of(folder / "one.sqlite") == rows_of(path)
    assert [p.name for p in folder.iterdir()] == ["one.sqlite"]
    assert verify(folder / "one.sqlite").problems == []
    for _ in range(4):
        assert main(["ledger", "backup", str(path), str(folder), "--keep", "2"]) == 0
    names = sorted(p.name for p in folder.iterdir())
    assert len(names) == 3 and names[-1] == "one.sqlite"  # what has another name stays
    assert main(["ledger", "backup", str(path), str(folder / "one.sqlite")]) == 1
    assert main(["ledger", "backup", str(path), str(folder / "two"), "--keep", "1"]) == 2
    assert main(["ledger", "backup", str(path), str(tmp_path / "no/where")]) == 1
    assert "create it first" in capsys.readouterr().err


def write_notes(path, started, stop):
    with Ledger.open(path, ["road", "car", "tree"], "d2") as ledger:
        number = 0
        while not stop.is_set():
            ledger.note(1, f"note {number}", annotator="ann")
            number += 1
            started.set()


def test_a_backup_while_people_work_is_of_one_moment(path, tmp_path):
    context = multiprocessing.get_context("fork")
    started, stop = context.Event(), context.Event()
    writer = context.Process(target=write_notes, args=(path, started, stop))
    writer.start()
    try:
        assert started.wait(60)
        counts = []
        for number in range(5):
            copy = backup.back_up(path, tmp_path / f"{number}.sqlite")
            assert verify(copy).problems == []
            notes = [row[0] for row in rows_of(copy)["events"]]
            assert notes == list(range(1, len(notes) + 1))
            counts.append(len(notes))
        assert counts == sorted(counts)
    finally:
        stop.set()
        writer.join(60)
    assert writer.exitcode == 0


MAKING = {
    "backup": ["backup", "LEDGER", "OUT"],
    "export": ["export", "LEDGER", "OUT"],
    "export, a folder": ["export", "LEDGER", "OUT", "--format", "csv"],
    "import": ["import", "TEXT", "OUT"],
}


@pytest.mark.parametrize("name", MAKING)
def test_killed_on_the_way_nothing_half_written_has_the_name(path, tmp_path, name):
    text, before = tmp_path / "text.jsonl", rows_of(path)
    out = tmp_path / ("out.sqlite" if name == "import" else "out")
    dump.export_ledger(path, text)
    words = {"LEDGER": str(path), "TEXT": str(text), "OUT": str(out)}
    command = ["ledger", *(words.get(word, word) for word in MAKING[name])]
    renaming = "rename" if "csv" in command else "replace"
    for place in ("fsync", renaming):

        def work(place=place):
            setattr(os, place, die)
            main(command)

        assert killed(work) and not out.exists() and list(tmp_path.glob(".*.part"))
    others = [".out.elsewhere.1.0123abcd.part", f".out.{socket.gethostname()}.1.0123abcd.part"]
    for other in others:  # of another host, and of a process that lives
        (tmp_path / other).touch()
    assert main(command) == 0 and out.exists() and rows_of(path) == before
    assert sorted(p.name for p in tmp_path.iterdir() if p.name[0] == ".") == sorted(others)


def test_killed_while_old_backups_go_the_newest_are_there(path, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    for _ in range(3):
        assert main(["ledger", "backup", str(path), str(folder)]) == 0
    old, command = set(folder.iterdir()), ["ledger", "backup", str(path), str(folder)]

    def work():
        plain = os.unlink
        os.unlink = lambda file: die() if Path(file) in old else plain(file)
        main([*command, "--keep", "1"])

    assert killed(work)
    (new,) = set(folder.glob("ledger-*.sqlite")) - old
    assert old < set(folder.iterdir()) and rows_of(new) == rows_of(path)
    assert main([*command, "--keep", "1"]) == 0
    assert len(list(folder.glob("ledger-*.sqlite"))) == 1


@pytest.mark.parametrize("action", ["verify", "log", "backup", "export", "import"])
def test_where_there_is_no_ledger_it_is_said_and_none_is_made(tmp_path, capsys, action):
    out = [str(tmp_path / "out")] if action in ("backup", "export", "import") else []
    assert main(["ledger", action, str(tmp_path / "run"), *out]) == 1
    assert "there is no " in capsys.readouterr().err and not list(tmp_path.iterdir())


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


notes = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
acts = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.sampled_from(["answer", "skip", "ignore", "unsure", "undo", "note"]),
        st.lists(st.sampled_from([0, 1, 2, 255]), min_size=2, max_size=2),
        st.floats(0, 1e9) | st.none(),
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


def test_every_kind_of_event_is_in_the_test(path):
    with Ledger.read(path) as ledger:
        kinds = {event.answer.kind for event in ledger.events()}
    assert set(schema.EventKind) - kinds <= {"draft", "unsure", "reject"}
    assert Path(path).is_file()
