"""A ledger of version 1 or 3 opens as if it had been made today, with every row that it held."""

import sqlite3
from pathlib import Path

import pytest
from asked import Asked

from annotator3d.cli.main import main
from annotator3d.ledger import creation
from annotator3d.ledger.actions import EventDraft
from annotator3d.ledger.ledger import Answer, Ledger, ScanRecord
from annotator3d.ledger.maintenance import transfer
from annotator3d.ledger.maintenance.verify import verify

NAMES, DIGEST = ["road", "car"], "d1g357"


@pytest.fixture
def old(tmp_path):
    """A ledger of version 1 with answers, an undo and a note, as that version wrote it."""
    return made_of("ledger_v1.sql", tmp_path)


@pytest.fixture
def sealed(tmp_path):
    """A ledger of version 3, whose rows have seals, but for one that other software has written."""
    return made_of("ledger_v3.sql", tmp_path)


def made_of(script, folder):
    path = folder / "ledger.sqlite"
    db = sqlite3.connect(path)
    db.executescript(Path(__file__).with_name(script).read_text())
    db.close()
    return path


def rows_of(path):
    db = sqlite3.connect(path)
    tables = ("meta", "taxonomies", "scans", "rounds", "queries", "events")
    found = {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    columns = {"meta": 2, "taxonomies": 5, "scans": 4, "rounds": 9, "queries": 11, "events": 12}
    found = {table: [row[: columns[table]] for row in rows] for table, rows in found.items()}
    found["meta"] = [row for row in found["meta"] if row[0] != "ledger_id"]
    db.close()
    return found


def test_every_row_is_kept_and_new_kinds_can_be_written(old):
    before = rows_of(old)
    with Ledger.open(old, NAMES, DIGEST) as ledger:
        assert rows_of(old) == before
        assert ledger.current(1).labels.tolist() == [1, 1] and ledger.current(2) is None
        assert [event.id for event in ledger.events()] == [1, 2, 3, 4, 5]
        ledger.act([EventDraft(3, Answer("draft", [254, 0]), None, None)], annotator="ann")
        assert [e.answer.kind for e in ledger.events(3)] == ["note", "draft"]
        made = ledger.act(
            [EventDraft(2, Answer("skip"), None, None), EventDraft(3, Answer("undo"), 6, 6)],
            annotator="ann",
        )
        assert [e.action for e in ledger.events()][-2:] == [None, made[0]]
    with Ledger.open(old, NAMES, DIGEST) as ledger:
        assert len(ledger.events()) == len({event.uid for event in ledger.events()}) == 8


def test_a_copy_of_the_file_as_it_was_stays_beside_it(old):
    before = rows_of(old)
    with Ledger.open(old, NAMES, DIGEST) as ledger:
        ledger.register_scans([ScanRecord("00/1", "g", 9)])
    copy = old.with_name("ledger.sqlite.version-1")
    assert rows_of(copy) == before and rows_of(old) != before
    with sqlite3.connect(copy) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    written = copy.read_bytes()
    Ledger.open(old, NAMES, DIGEST).close()
    assert copy.read_bytes() == written  # only an upgrade makes one
    assert not list(old.parent.glob(".*.part"))


@pytest.mark.parametrize("script", ["ledger_v1.sql", "ledger_v3.sql"])
def test_an_upgraded_ledger_has_the_rules_of_a_new_one(script, tmp_path):
    old = made_of(script, tmp_path)
    Ledger.open(old, NAMES, DIGEST).close()
    Ledger.open(tmp_path / "new.sqlite", NAMES, DIGEST).close()

    def rules(path):
        db = sqlite3.connect(path)
        found = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        db.close()
        # the name of a table that was renamed comes back in quotes
        return version, sorted((a, b, c, (d or "").replace('"', "")) for a, b, c, d in found)

    assert rules(old) == rules(tmp_path / "new.sqlite")


def test_the_rules_hold_after_the_upgrade(old):
    with Ledger.open(old, NAMES, DIGEST) as ledger:
        for sql in (
            "DELETE FROM events",
            "UPDATE events SET seconds = 0",
            "INSERT INTO events (query, kind, annotator) VALUES (99, 'skip', 'x')",
            "INSERT INTO events (query, kind, annotator, action) VALUES (1, 'skip', 'x', 1)",
            "INSERT INTO events (query, kind, annotator) VALUES (1, 'draft', 'x')",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                ledger.file.db.execute(sql)
        ledger.register_scan("00/1", "g", 9)
        with pytest.raises(ValueError, match="asked before"):
            ledger.add_round(2, "vcd", 0, 3, {"00/0": [Asked((0, 0, 0))]})


def test_reading_an_old_ledger_changes_nothing(old):
    before = old.read_bytes()
    with Ledger.read(old) as ledger:
        assert [event.action for event in ledger.events()] == [None] * 5
        assert ledger.summary().answered == 1 and len(ledger.responses()) == 3
    assert old.read_bytes() == before


def test_an_upgrade_that_is_interrupted_changes_nothing(old, monkeypatch):
    before = rows_of(old)
    whole = creation.upgrade_statements(1)
    for stop in range(len(whole)):
        with monkeypatch.context() as patch:
            broken = [*whole[:stop], "SELECT no_such_column"]
            patch.setattr(creation, "upgrade_statements", lambda version, broken=broken: broken)
            with pytest.raises(OSError, match="no_such_column"):
                Ledger.open(old, NAMES, DIGEST)
        assert rows_of(old) == before
    with Ledger.open(old, NAMES, DIGEST) as ledger:
        ledger.register_scans([ScanRecord("00/1", "g", 9)])
    assert rows_of(old)["events"] == before["events"]


def every_column(path):
    db = sqlite3.connect(path)
    db.row_factory = sqlite3.Row
    found = {t: [dict(row) for row in db.execute(f"SELECT * FROM {t}")] for t in transfer.TABLES}
    db.close()
    return found


def test_rows_of_version_3_keep_their_seals_and_ask_about_every_point(sealed):
    assert verify(sealed).problems == []
    before = every_column(sealed)
    with Ledger.open(sealed, NAMES, DIGEST) as ledger:
        assert [query.label_points for query in ledger.queries()] == [None] * 3
        after = every_column(sealed)
        for row in after["queries"]:
            assert row.pop("label_points") is None
        assert after == before
        assert after["events"][-1]["seal"] is None and after["events"][0]["seal"]
        ledger.answer(2, [0, 1, 1], annotator="ann")
        ledger.add_round(2, "vcd", 7, 1, {"00/0": [Asked((9, 0, 0), label_points=(1,))]})
        ledger.answer(4, [1], annotator="ann")
    assert verify(sealed).problems == []
    copy = sealed.with_name("ledger.sqlite.version-3")
    assert every_column(copy) == before and verify(copy).problems == []


def test_a_ledger_of_version_3_is_read_and_written_as_text_as_it_is(sealed, tmp_path):
    before = sealed.read_bytes()
    with Ledger.read(sealed) as ledger:
        assert ledger.summary().points == 6 and ledger.is_closed(1)
        canonical = ledger.export_canonical()
    text, back = tmp_path / "text.jsonl", tmp_path / "back.sqlite"
    assert main(["ledger", "export", str(sealed), str(text)]) == 0
    assert sealed.read_bytes() == before
    assert '"schema": 3' in text.read_text().splitlines()[0]
    assert "label_points" not in text.read_text()  # which software of that time would refuse
    assert main(["ledger", "import", str(text), str(back)]) == 0
    assert verify(back).problems == []
    with Ledger.read(back) as ledger:
        assert ledger.export_canonical() == canonical


def test_a_damaged_ledger_of_version_3_is_not_upgraded(sealed):
    db = sqlite3.connect(sealed)
    ((rule,),) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'queries_no_update'")
    db.execute("DROP TRIGGER queries_no_update")
    db.execute("UPDATE queries SET score = 0.75 WHERE id = 1")
    db.execute(rule)
    db.commit()
    db.close()
    with pytest.raises(ValueError, match="query 1 has changed since it was written"):
        Ledger.open(sealed, NAMES, DIGEST)
    assert not sealed.with_name("ledger.sqlite.version-3").exists()
