"""One flipped bit anywhere in a ledger is noticed by whoever reads it, and its place is named."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from answered_runs import make_answered
from flipping import break_text, flip_bit
from viewer_driver import need_web

from annotator3d.cli.main import main
from annotator3d.ledger import connection
from annotator3d.ledger.ledger import Ledger

HOLES = [  # table, column, which row, place of the byte
    ("events", "labels", "1", 0),
    ("events", "labels", "1", -1),
    ("events", "annotator", "1", 0),
    ("events", "seconds", "1", 0),
    ("events", "supersedes", "1", 0),
    ("events", "created_at", "1", 3),
    ("events", "uid", "1", 0),
    ("queries", "x", "1", 0),
    ("queries", "num_points", "id = 2", 0),
    ("queries", "score", "1", 0),
    ("scans", "fingerprint", "1", -1),
    ("rounds", "epoch", "1", 0),
    ("rounds", "strategy", "1", 0),
    ("rounds", "seed", "1", 0),
    ("taxonomies", "classes", "1", 2),
    ("taxonomies", "digest", "1", 0),
    ("meta", "value", "key = 'voxel_size'", 0),
    ("meta", "value", "key = 'ledger_id'", 0),
    ("meta", "key", "key = 'created_by'", 0),
    ("meta", "value", "key = 'round_1_closed'", 0),
]
COMMANDS = {
    "train --resume": ["train", "CONFIG", "--work-dir", "RUN", "--resume"],
    "label": ["label", "RUN", "--web"],
    "export": ["export", "RUN", "OUT", "--what", "answers", "--format", "semantickitti"],
    "report": ["report", "RUN", "--out", "OUT"],
    "cost": ["cost", "RUN"],
    "quality report": ["quality", "report", "RUN"],
    "round status": ["round", "status", "RUN"],
    "ledger export": ["ledger", "export", "RUN", "OUT"],
    "ledger log": ["ledger", "log", "RUN"],
    "ledger backup": ["ledger", "backup", "RUN", "OUT"],
    "package export": ["package", "export", "RUN", "OUT", "--to", "ann", "--queries", "all"],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A run that people have answered in part, and its config file."""
    return make_answered(tmp_path_factory.mktemp("flips"))


@pytest.fixture
def words(base, tmp_path):
    """What stands for the words in capitals; the run is a copy that a test may damage."""
    shutil.copytree(base / "run", tmp_path / "run")
    places = {"RUN": tmp_path / "run", "OUT": tmp_path / "out", "CONFIG": base / "tiny.yaml"}
    return {name: str(path) for name, path in places.items()}


def run(name, words):
    return main([words.get(word, word) for word in COMMANDS[name]])


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def ledger_of(words):
    return Path(words["RUN"]) / "ledger.sqlite"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_flipped_answer_stops_every_command_that_reads_answers(words, capsys, name):
    if name == "label":
        need_web()
    if name not in ("train --resume", "label"):  # the others end well on the whole one
        assert run(name, words) == 0
        remove(Path(words["OUT"]))
    capsys.readouterr()
    flip_bit(ledger_of(words), "events", "labels", "kind = 'answer' AND id = 2")
    assert run(name, words) == 1
    said = capsys.readouterr().err
    assert "event 2 of query 2 has changed since it was written" in said
    assert "ledger verify" in said and len(said) < 600


@pytest.mark.parametrize(("table", "column", "where", "place"), HOLES)
def test_every_column_of_every_table_is_sealed(words, capsys, table, column, where, place):
    flip_bit(ledger_of(words), table, column, where, place)
    for name in ("ledger export", "export"):
        assert run(name, words) == 1
        said = capsys.readouterr().err
        assert "is damaged: " in said and "has changed since it was written" in said
    assert main(["ledger", "verify", words["RUN"], "--no-scans"]) == 1
    assert "has changed since it was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "broken", "place"),
    [
        (b"answerann", b"answer\xffnn", "annotator"),
        (b'["car"', b'["c\xe4r"', "class list 1: classes"),
        (b"annotator3d ", b"annotator3\xe4 ", "setting created_by: value"),
    ],
)
def test_text_that_is_no_utf8_names_its_place(words, capsys, text, broken, place):
    path = ledger_of(words)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if text == b"answerann":
        content = path.read_bytes()
        at = next(i for i in range(len(content)) if content[i : i + 3] == b"ann" and
                  b"answer" in content[max(0, i - 60) : i])  # fmt: skip
        text, broken = content[at - 8 : at + 3], content[at - 8 : at] + b"\xffnn"
    break_text(path, text, broken)
    for command in (["ledger", "log", words["RUN"]], ["ledger", "verify", words["RUN"]]):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert place in said and "is no UTF-8 text" in said and "Could not decode" not in said


EXTRA = {
    "trigger": (
        "CREATE TRIGGER quiet BEFORE INSERT ON events BEGIN SELECT RAISE(IGNORE); END",
        "trigger quiet",
    ),
    "table": ("CREATE TABLE mine (a)", "table mine"),
    "view": ("CREATE VIEW answers AS SELECT * FROM events", "view answers"),
    "index": ("CREATE INDEX fast ON events(annotator)", "index fast"),
}


@pytest.mark.parametrize("kind", EXTRA)
def test_what_does_not_belong_into_a_ledger_is_an_error(words, capsys, kind):
    sql, name = EXTRA[kind]
    with closing(sqlite3.connect(ledger_of(words))) as db:
        db.execute(sql)
    assert main(["ledger", "verify", words["RUN"], "--no-scans"]) == 1
    assert f"{name} is not one that annotator3d makes" in capsys.readouterr().err
    with pytest.raises(ValueError, match=f"{name} is not one"):
        Ledger.open_existing(ledger_of(words))


def test_an_insert_that_kept_nothing_is_an_error(words):
    with Ledger.open_existing(ledger_of(words)) as ledger:
        ledger.file.db.execute(EXTRA["trigger"][0])  # while it is open
        query = ledger.open_queries()[0]
        count = len(ledger.events())
        with pytest.raises(ValueError, match="was not kept"):
            ledger.answer(query.id, [1] * query.num_points, annotator="ann")
        assert len(ledger.events()) == count


def test_a_flip_while_a_process_has_the_ledger_open_is_noticed_by_training(words, monkeypatch):
    monkeypatch.setattr(connection, "CHECKED_AGAIN", 0.0)
    with Ledger.open_existing(ledger_of(words)) as ledger:
        assert ledger.labels_by_scan()
        flip_bit(ledger_of(words), "events", "labels", "id = 2")
        with pytest.raises(ValueError, match="event 2 of query 2 has changed"):
            ledger.labels_by_scan()
