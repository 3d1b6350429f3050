"""Holds of a wrong clock end, closing is one transaction, and a ledger that is gone is missed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing

import pytest
from asked import Asked
from killing import killed_at

from annotator3d.cli.main import main
from annotator3d.ledger.ledger import Ledger, ScanRecord


@pytest.fixture
def home(tmp_path):
    """A work directory with two rounds of three queries each."""
    folder = tmp_path / "run"
    folder.mkdir()
    with Ledger.open(folder / "ledger.sqlite", ["car", "road"], "d1") as ledger:
        ledger.register_scans([ScanRecord("00/0", "f", 9)])
        for number in (1, 2):
            asked = [Asked((i, number, 0)) for i in range(3)]
            ledger.add_round(number, "vcd", 0, 3, {"00/0": asked})
    return folder


def hold(home, query, date, seconds=1_209_600.0):
    with closing(sqlite3.connect(home / "ledger.sqlite", isolation_level=None)) as db:
        db.execute(
            "INSERT INTO events (query, kind, annotator, seconds, created_at)"
            " VALUES (?, 'lease', 'ann', ?, ?)",
            (query, seconds, date),
        )


def open_in(home):
    with Ledger.read(home / "ledger.sqlite") as ledger:
        return [query.id for query in ledger.open_queries()]


@pytest.mark.parametrize("date", ["2099-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"])
def test_a_hold_that_begins_in_the_future_is_named_and_released(home, capsys, date):
    hold(home, 1, date)
    assert main(["round", "status", str(home)]) == 0
    said = capsys.readouterr().out
    assert f"held for ann since {date[:10]}, by a wrong clock" in said and "package recall" in said
    assert main(["round", "close", str(home), "--release"]) == 0
    assert "3 released, none stays open" in capsys.readouterr().out and open_in(home) == []


@pytest.mark.parametrize(
    ("date", "seconds"),
    [("2099-01-01T00:00:00.000Z", 9.0), ("yesterday", 9.0), ("2026-01-01T00:00:00.000Z", 1e308)],
)
def test_a_hold_of_an_absurd_time_can_be_recalled_or_is_none(home, capsys, date, seconds):
    hold(home, 1, date, seconds)
    main(["package", "recall", str(home), "--from", "ann"])
    with Ledger.open_existing(home / "ledger.sqlite") as ledger:
        assert ledger.leases.current() == {} and ledger.leases.holder(1) is None
    capsys.readouterr()
    assert main(["round", "close", str(home), "--release"]) == 0 and open_in(home) == []


def test_closing_with_release_is_whole_or_nothing_at_every_statement(home, tmp_path):
    count = 0
    for step in range(0, 400, 3):
        copy = tmp_path / f"copy{step}"
        shutil.copytree(home, copy)
        command = ["round", "close", str(copy), "--release", "--annotator", "lead"]
        died = killed_at(step, lambda command=command: main(command))
        with Ledger.read(copy / "ledger.sqlite") as ledger:
            closed = [ledger.is_closed(number) for number in (1, 2)]
        assert (len(open_in(copy)), closed) in [(6, [False, False]), (0, [True, True])], step
        count += died
        if not died:
            break
    assert not died and count > 5


GONE = {
    "deleted": lambda path: path.unlink(),
    "folder deleted": lambda path: shutil.rmtree(path.parent),
    "folder moved": lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
    "replaced": lambda path: (
        shutil.copy(path, path.with_name("x")),
        os.replace(path.with_name("x"), path),
    ),
}


@pytest.mark.parametrize("how", GONE)
def test_who_has_a_ledger_open_notices_that_it_is_gone(home, how):
    path = home / "ledger.sqlite"
    ledger = Ledger.open_existing(path)
    try:
        ledger.answer(1, [0] * ledger.query(1).num_points, annotator="ann")
        query = ledger.query(2)
        GONE[how](path)
        for act in (
            lambda: ledger.answer(2, [0] * query.num_points, annotator="ann"),
            lambda: ledger.close_rounds([1], annotator="ann"),
            lambda: ledger.summary(),
            lambda: ledger.leases.hold([2], annotator="ann", seconds=9),
        ):
            with pytest.raises(OSError, match="was deleted, moved or replaced while it was open"):
                act()
    finally:
        ledger.close()


def test_a_ledger_that_goes_within_a_transaction_gets_no_answer(home):
    path = home / "ledger.sqlite"
    with Ledger.open_existing(path) as ledger:
        with pytest.raises(OSError, match="was deleted"), ledger.transaction():
            ledger.file.db.execute("SELECT 1")
            path.unlink()
