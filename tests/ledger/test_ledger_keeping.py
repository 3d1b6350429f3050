"""Checking a ledger: every broken rule is named, scans are compared, damage is told."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from busy_ledgers import corrupt
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.data.datasets.moved import find_moved
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.files import fingerprint
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.rounds.select_only import select_only
from annotator3d.ledger import schema
from annotator3d.ledger.ledger import Ledger, ScanRecord
from annotator3d.ledger.maintenance import backup
from annotator3d.ledger.maintenance.verify import verify


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
    assert "4 scans, 3 scan files; 1 problem" in said.out and "00/000001" in said.err


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


def test_every_kind_of_event_is_in_the_test(path):
    with Ledger.read(path) as ledger:
        kinds = {event.answer.kind for event in ledger.events()}
    assert set(schema.EventKind) - kinds <= {"draft", "unsure", "reject"}
    assert Path(path).is_file()
