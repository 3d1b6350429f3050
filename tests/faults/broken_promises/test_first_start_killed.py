"""Killed at any moment of its very first start, a folder is one in which work goes on."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing

import pytest
from killed_commands import killed_at, killed_in
from killing import die, killed
from tiny_runs import tiny_config
from viewer_driver import need_web

from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config
from annotator3d.ledger import seals
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.maintenance.verify import verify

STEPS = 400  # more SQL statements than a first start has


@pytest.fixture
def config(make_kitti, tmp_path):
    """A config file of a run without a network: what is asked first does not need one."""
    root = make_kitti(sequences=("00", "01", "02"), scans=1, points=60)
    values = tiny_config(root, active={"strategy": "random", "oracle": "person"})
    path = tmp_path / "tiny.yaml"
    path.write_text(dump_config(values))
    return path


def select_command(config, run):
    return ["select", str(config), "--work-dir", str(run)]


def select(config, run):
    return main(select_command(config, run))


def train(config, run, *options):
    return main(["train", str(config), "--work-dir", str(run), *options])


def rounds_of(run):
    with Ledger.read(run / "ledger.sqlite") as ledger:
        return len(ledger.rounds())


def left_in(run):
    """What a kill has left in a folder: names, and rows of the ledger."""
    names = sorted(path.name.split(".sqlite.")[0] for path in run.rglob("*"))
    path, rows = run / "ledger.sqlite", ()
    if path.is_file():
        with closing(sqlite3.connect(path)) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master")]
            made = [table for table in seals.COLUMNS if table in tables]
            rows = [db.execute(f"SELECT COUNT(*) FROM {table}").fetchone() for table in made]
    return str((names, rows))


def test_select_goes_on_after_a_kill_at_any_statement_of_its_first_start(config, tmp_path):
    seen = set()
    for step in range(STEPS):
        run = tmp_path / f"run{step}"
        died = killed_at(step, select_command(config, run), tmp_path / "log")
        if (left := left_in(run)) not in seen:  # one of each is taken up again
            seen.add(left)
            assert select(config, run) == 0, step
            assert rounds_of(run) in (1, 2) and not list(run.glob(".ledger*"))
            assert verify(run / "ledger.sqlite").problems == []
        if not died:
            assert len(seen) >= 3 and step > 50
            return
    pytest.fail(f"more than {STEPS} statements")


@pytest.mark.parametrize("place", ["fsync", "link", "unlink"])
def test_select_goes_on_after_a_kill_at_a_file_operation(config, tmp_path, place):
    run = tmp_path / "run"

    killed_in(place, select_command(config, run), tmp_path / "log")
    assert select(config, run) == 0 and rounds_of(run) == 1
    assert not list(run.glob(".ledger*"))


def test_train_goes_on_after_a_kill_at_statements_of_its_first_start(config, tmp_path):
    """At some, since each start loads a network; the statements are those of `select`."""
    for step in (2, 40, 55, 70):
        run = tmp_path / f"run{step}"
        command = ["train", str(config), "--work-dir", str(run)]
        assert killed_at(step, command, tmp_path / "log")
        assert train(config, run, "--resume") == 0, step
        assert rounds_of(run) == 1
        assert verify(run / "ledger.sqlite").problems == []


def leave_empty(path):
    path.touch()


def leave_a_header(path):
    """What an earlier version left when it was killed before its first transaction."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    assert path.stat().st_size


def leave_a_journal(path):
    def work():
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN")
        for number in range(30):
            db.execute(f"CREATE TABLE t{number} (a)")
        die()

    assert killed(work)


@pytest.mark.parametrize("left", [leave_empty, leave_a_header, leave_a_journal])
@pytest.mark.parametrize("command", ["select", "train", "train --resume", "label", "report"])
def test_an_empty_ledger_counts_as_none(config, tmp_path, capsys, left, command):
    run = tmp_path / "run"
    run.mkdir()
    left(run / "ledger.sqlite")
    if command == "label":
        need_web()
        assert main(["label", str(run), "--web"]) == 1
        assert "there is no ledger" in capsys.readouterr().err
    elif command == "report":
        assert main(["report", str(run)]) == 1
        assert "not a ledger" not in capsys.readouterr().err
    elif command == "select":
        assert select(config, run) == 0 and rounds_of(run) == 1
    else:
        assert train(config, run, *command.split()[1:]) == 0 and rounds_of(run) == 1


@pytest.mark.parametrize("mode", ["fsync", "sqlite"])
def test_a_disk_that_is_full_when_the_ledger_is_made_leaves_nothing(
    config, tmp_path, capsys, monkeypatch, mode
):
    run = tmp_path / "run"

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full(sqlite3.Connection):
        def execute(self, sql, *values):
            if sql.startswith("CREATE TABLE queries"):
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(sql, *values)

    with monkeypatch.context() as patch:
        if mode == "fsync":
            patch.setattr(os, "link", full)
        else:
            plain = sqlite3.connect
            patch.setattr(sqlite3, "connect", lambda *a, **k: plain(*a, **{**k, "factory": Full}))
        select(config, run)
    capsys.readouterr()
    assert not list(run.glob(".ledger*"))
    assert select(config, run) == 0 and rounds_of(run) >= 1
