"""A full disk is told at once; a run on a read-only disk is read as on any other."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest
from answered_runs import make_answered
from asked import Asked
from killing import die, killed
from readonly_disk import mounts, run_on_readonly

from annotator3d.ledger import database
from annotator3d.ledger.ledger import Ledger, ScanRecord

ANSWERS = ["--what", "answers", "--format", "semantickitti"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_answered(tmp_path_factory.mktemp("disks"))


def leave_closed(run):
    """As the last process left it."""


def leave_wal(run):
    """The last answer is in the WAL alone: a process was killed, and the folder was copied."""

    def work():
        ledger = Ledger.open_existing(run / "ledger.sqlite")
        ledger.answer(8, [1] * ledger.query(8).num_points, annotator="eve")
        die()

    assert killed(work)
    assert (run / "ledger.sqlite-wal").stat().st_size
    (run / "ledger.sqlite-shm").unlink()


def leave_journal(run):
    """A process was killed while it wrote, with a rollback journal."""
    with closing(sqlite3.connect(run / "ledger.sqlite")) as db:
        db.execute("PRAGMA journal_mode = DELETE")

    def work():
        db = sqlite3.connect(run / "ledger.sqlite", isolation_level=None)
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN IMMEDIATE")
        sql = "INSERT INTO events (query, kind, annotator, note) VALUES (1, 'note', 'ann', ?)"
        db.executemany(sql, [("x" * 3000,)] * 100)
        die()

    assert killed(work)
    assert (run / "ledger.sqlite-journal").stat().st_size


LEFT = {"closed": leave_closed, "wal": leave_wal, "journal": leave_journal}


@pytest.mark.skipif(not mounts(), reason="this process may not mount")
def test_runs_on_a_readonly_disk_are_read_and_not_written(base, tmp_path):
    disk, commands, names = tmp_path / "disk", [], {}
    for name, leave in LEFT.items():
        run, out = disk / name, tmp_path / f"out-{name}"
        shutil.copytree(base / "run", run)
        out.mkdir()
        leave(run)
        names[run] = sorted(path.name for path in run.iterdir())
        where = str(run)
        commands += [
            ["ledger", "verify", where],
            ["ledger", "log", where],
            ["round", "status", where],
            ["cost", where],
            ["ledger", "export", where, str(out / "text.jsonl")],
            ["ledger", "backup", where, str(out / "copy.sqlite")],
            ["export", where, str(out / "labels"), *ANSWERS],
            ["report", where, "--out", str(out / "report.html")],
        ]
    refused = ["round", "close", str(disk / "closed"), "--release"]
    said = run_on_readonly(disk, [*commands, refused])
    assert said.count("exit 0") == len(commands), said
    assert said.count("exit 1") == 1 and "its folder may not be written to" in said, said
    assert said.count("; 0 problems") == 3 and said.count("8 of 8 voxels answered") == 1
    for name in LEFT:
        with Ledger.read(tmp_path / f"out-{name}/copy.sqlite") as copy:
            assert len(copy.open_queries()) == (0 if name == "wal" else 1)
    for run, found in names.items():
        assert sorted(path.name for path in run.iterdir()) == found


class Full(sqlite3.Connection):
    """A connection to a full disk: every transaction and every change of the journal fails."""

    def execute(self, sql, *values):
        if sql.startswith(("PRAGMA journal_mode", "COMMIT")):
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(sql, *values)


@pytest.mark.parametrize("what", ["open", "answer", "hold", "close"])
def test_a_full_disk_is_told_at_once_and_nothing_is_lost(tmp_path, monkeypatch, what):
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path, ["car", "road"], "d1") as ledger:
        ledger.register_scans([ScanRecord("00/0", "f", 9)])
        ledger.add_round(1, "vcd", 0, 3, {"00/0": [Asked((i, 0, 0)) for i in range(3)]})
    slept = []
    monkeypatch.setattr(database, "sleep", slept.append)
    plain = sqlite3.connect
    if what == "open":
        monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: plain(*a, **{**k, "factory": Full}))
        with pytest.raises(OSError, match="disk is full.*free some space"):
            Ledger.open_existing(path)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", lambda *a, **k: plain(*a, **{**k, "factory": Full}))
            patch.setattr(database, "set_journal", lambda db, mode: None)
            ledger = Ledger.open_existing(path)
        acts = {
            "answer": lambda: ledger.skip(1, annotator="ann"),
            "hold": lambda: ledger.leases.hold([1], annotator="ann", seconds=9),
            "close": lambda: ledger.close_rounds([1], annotator="ann", release=True),
        }
        with ledger, pytest.raises(OSError, match="disk is full.*free some space"):
            acts[what]()
    assert not slept
    monkeypatch.undo()
    with Ledger.read(path) as ledger:
        assert len(ledger.open_queries()) == 3 and ledger.events() == []


@pytest.mark.parametrize("words", ["disk I/O error", "unable to open database file", "is full"])
def test_only_a_lock_is_waited_for(words, monkeypatch):
    class Failing:
        def execute(self, sql):
            raise sqlite3.OperationalError(words)

    monkeypatch.setattr(database, "sleep", lambda seconds: pytest.fail("it waited"))
    with pytest.raises(sqlite3.OperationalError, match=words):
        database.set_journal(Failing(), "WAL")
