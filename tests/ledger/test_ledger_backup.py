"""Copies of a ledger while people work, and kills on the way."""

from __future__ import annotations

import multiprocessing
import os
import socket
from pathlib import Path

import pytest
from busy_ledgers import rows_of
from killing import die, killed

from annotator3d.cli.main import main
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.maintenance import backup
from annotator3d.ledger.maintenance import transfer as dump
from annotator3d.ledger.maintenance.verify import verify


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
