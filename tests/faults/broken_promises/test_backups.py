"""A backup is verified before an older one goes, and the one just made never goes."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timezone

import pytest
from busy_ledgers import busy_ledger, rows_of
from flipping import flip_bit

from annotator3d.cli.main import main
from annotator3d.ledger.maintenance import backup
from annotator3d.ledger.maintenance.verify import verify


@pytest.fixture
def path(tmp_path):
    return busy_ledger(tmp_path / "ledger.sqlite")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


def back_up(path, folder, keep=1):
    return main(["ledger", "backup", str(path), str(folder), "--keep", str(keep)])


def drop_a_trigger(path):
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER events_undo")


def add_a_trigger(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TRIGGER q BEFORE INSERT ON events BEGIN SELECT RAISE(IGNORE); END")


DAMAGES = {
    "label": lambda path: flip_bit(path, "events", "labels", "id = 1"),
    "annotator": lambda path: flip_bit(path, "events", "annotator", "id = 1"),
    "seconds": lambda path: flip_bit(path, "events", "seconds", "id = 1"),
    "class list": lambda path: flip_bit(path, "taxonomies", "classes", "version = 1", 3),
    "epoch of a round": lambda path: flip_bit(path, "rounds", "epoch", "round = 2"),
    "cell of a query": lambda path: flip_bit(path, "queries", "x", "id = 1"),
    "rule that is gone": drop_a_trigger,
    "rule of others": add_a_trigger,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_backup_of_a_damaged_ledger_is_none_and_the_good_one_stays(path, folder, capsys, name):
    assert back_up(path, folder) == 0
    (good,) = folder.iterdir()
    DAMAGES[name](path)
    capsys.readouterr()
    assert back_up(path, folder) == 1
    said = capsys.readouterr()
    assert "complete" not in said.out and "is damaged" in said.err and "older ones stay" in said.err
    assert list(folder.iterdir()) == [good] and verify(good).problems == []


@pytest.mark.parametrize("keep", [1, 2, 3])
@pytest.mark.parametrize("year", [1970, 2001, 2026])
def test_the_one_just_made_stays_whatever_the_clock_says(
    path, folder, capsys, monkeypatch, keep, year
):
    """The clock goes back after three backups of 2030."""

    def clock(now):
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return now.replace(tzinfo=tz)

        monkeypatch.setattr(backup, "datetime", Clock)

    for day in (1, 2, 3):
        clock(datetime(2030, 1, day, tzinfo=timezone.utc))
        assert back_up(path, folder, 3) == 0
    rows = rows_of(path)
    clock(datetime(year, 5, 5, tzinfo=timezone.utc))
    capsys.readouterr()
    assert back_up(path, folder, keep) == 0
    names = sorted(copy.name for copy in folder.iterdir())
    assert len(names) == keep and names[0].startswith(f"ledger-{year}0505")
    rest = ["ledger-20300102-000000-000000.sqlite", "ledger-20300103-000000-000000.sqlite"]
    assert names[1:] == rest[3 - keep :]
    made = capsys.readouterr().out.split(": complete")[0]
    assert rows_of(made) == rows and verify(folder / names[0]).problems == []
