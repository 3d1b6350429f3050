"""The ledger keeps what was asked and answered, and refuses what would falsify it."""

import sqlite3

import numpy as np
import pytest
from asked import Asked

from annotator3d.ledger import schema
from annotator3d.ledger.ledger import Answer, Ledger, ScanRecord

NAMES, DIGEST = ["car", "road", "tree"], "d1g357"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with Ledger.open(path, NAMES, DIGEST) as ledger:
        ledger.register_scans([ScanRecord("00/0", "f0", 10), ScanRecord("00/1", "f1", 10)])
        yield ledger


def ask(ledger, round=1, cells=((0, 0, 0), (-1, 2, 3)), scan="00/0", **more):
    picks = {scan: [Asked(cell, 3, 1.0) for cell in cells]}
    return ledger.add_round(round, "vcd", 7, more.pop("budget", 5), picks, **more)


def test_what_was_asked_and_answered_is_there_after_reopening(ledger, path):
    first, second = ask(ledger, epoch=3, source="abc", max_queries=4)
    ledger.answer(first.id, [0, 255, 2], annotator="ann", seconds=1.5, clicks=2, note="kerb")
    with Ledger.read(path) as read:
        (entry,) = read.rounds()
        assert (entry.strategy, entry.seed, entry.budget, entry.max_queries) == ("vcd", 7, 5, 4)
        assert (entry.epoch, entry.source, entry.num_queries) == (3, "abc", 2)
        assert read.queries() == [first, second] and read.open_queries() == [second]
        assert (second.scan, second.cell, second.rank) == ("00/0", (-1, 2, 3), 1)
        answer = read.current(first.id)
        assert answer == Answer("answer", None, "ann", 1.5, 2, None, "kerb")
        assert answer.labels.tolist() == [0, 255, 2] and answer.labels.dtype == np.uint8
        assert read.taxonomy_names == tuple(NAMES) and read.voxel_size == 0.25
        assert read.scan("00/1") == ScanRecord("00/1", "f1", 10) and read.scan("00/2") is None


def test_an_undo_brings_back_what_was_said_before(ledger):
    query, _ = ask(ledger)
    ledger.answer(query.id, [0, 0, 0], annotator="ann")
    ledger.answer(query.id, [1, 1, 1], annotator="bob")
    assert ledger.current(query.id).labels.tolist() == [1, 1, 1]
    ledger.undo(query.id, annotator="bob")
    assert ledger.current(query.id).labels.tolist() == [0, 0, 0]
    ledger.undo(query.id, annotator="ann")
    assert ledger.current(query.id) is None and query in ledger.open_queries()
    with pytest.raises(ValueError, match="no response"):
        ledger.undo(query.id, annotator="ann")
    ledger.skip(query.id, annotator="ann")
    events = ledger.events(query.id)
    assert [e.answer.kind for e in events] == ["answer", "answer", "undo", "undo", "skip"]
    ids = [e.id for e in events]
    assert [e.supersedes for e in events] == [None, ids[0], ids[1], ids[0], None]


def test_only_labels_reach_training(ledger):
    queries = ask(ledger, cells=[(i, 0, 0) for i in range(5)])
    ledger.answer(queries[0].id, [2, 2, 1], annotator="a")
    ledger.ignore(queries[1].id, annotator="a")
    ledger.skip(queries[2].id, annotator="a")
    ledger.unsure(queries[3].id, annotator="a")
    given = {cell: labels.tolist() for cell, labels, _ in ledger.labels_for_scan("00/0")}
    assert given == {(0, 0, 0): [2, 2, 1], (1, 0, 0): [255, 255, 255]}
    summary = ledger.summary()
    assert (summary.answered, summary.passed, summary.open) == (2, 2, 1)
    assert (summary.voxels, summary.points, summary.scans, summary.rounds) == (5, 15, 1, 1)


def test_labels_up_to_a_round_and_epochs_that_never_go_back(ledger):
    for number, epoch in ((1, 0), (2, 3), (3, 3)):
        for query in ask(ledger, number, [(number, 0, 0)], "00/1", epoch=epoch):
            ledger.answer(query.id, [0, 1, 2], annotator="a")
    assert [entry.round for entry in ledger.labels_for_scan("00/1", 1)] == [1]
    assert ledger.labels_by_scan(0) == {}
    assert len(ledger.labels_by_scan()["00/1"]) == 3
    assert ledger.digest(1) != ledger.digest(2) != ledger.digest()
    with pytest.raises(ValueError, match="earlier epoch"):
        ask(ledger, 4, [(9, 9, 9)], epoch=2)


def test_a_released_voxel_is_given_back_and_may_be_asked_again(ledger):
    first, second = ask(ledger)
    ledger.release(first.id, annotator="a")
    assert ledger.spent() == 1 and ledger.queries() == [second]
    assert ledger.queried_cells("00/0").tolist() == [list(second.cell)]
    with pytest.raises(ValueError, match="released"):
        ledger.answer(first.id, [0, 0, 0], annotator="a")
    ledger.skip(second.id, annotator="a")
    ledger.undo(second.id, annotator="a")
    with pytest.raises(ValueError, match="answered this query"):
        ledger.release(second.id, annotator="a")
    ask(ledger, 2, [first.cell])
    with pytest.raises(ValueError, match="asked before"):
        ask(ledger, 3, [first.cell])
    assert ledger.queried_cells("00/0", before_round=2).tolist() == [list(second.cell)]


@pytest.mark.parametrize(
    ("round", "cells", "more", "words"),
    [
        (1, [(9, 9, 9)], {}, "cannot add round 1"),
        (3, [(9, 9, 9)], {}, "cannot add round 3"),
        (2, [(9, 9, 9), (0, 0, 0)], {}, r"cell \[0, 0, 0\]: this voxel was asked before"),
        (2, [(8, 8, 8), (8, 8, 8)], {}, "asked before"),
        (2, [(8, 8, 8), (9, 9, 9)], {"budget": 1}, "budget"),
        (2, [(8, 8, 8), (9, 9, 9)], {"max_queries": 1}, "num_queries <= max_queries"),
        (2, [(9, 9, 9)], {"scan": "77/7"}, "77/7 is not registered"),
        (2, [(9, 9, 9)], {"budget": 0}, "budget >= 1"),
    ],
)
def test_a_round_that_breaks_a_rule_leaves_no_trace(ledger, round, cells, more, words):
    ask(ledger)
    before = ledger.export_canonical()
    with pytest.raises(ValueError, match=words):
        ask(ledger, round, cells, **more)
    assert ledger.export_canonical() == before and len(ledger.rounds()) == 1


@pytest.mark.parametrize("labels", [[0, 0], [0, 0, 3], [0, 0, -1], [0.0, 0.0, 0.0], [], [[0] * 3]])
def test_labels_that_do_not_fit_are_refused(ledger, labels):
    query, _ = ask(ledger)
    with pytest.raises(ValueError, match=f"query {query.id}"):
        ledger.answer(query.id, labels, annotator="a")
    assert ledger.events() == []


def test_numpy_numbers_are_numbers(ledger):
    picks = {"00/0": [Asked(tuple(np.int32([1, -2, 3])), np.int64(3), np.float32(0.5))]}
    (query,) = ledger.add_round(np.int64(1), "vcd", np.int64(7), np.int64(1), picks)
    ledger.answer(
        np.int64(query.id),
        np.array([0, 1, 2]),
        annotator="a",
        seconds=np.float32(2),
        clicks=np.int8(1),
    )
    assert ledger.current(np.int64(query.id)) == Answer("answer", None, "a", 2.0, 1)
    assert ledger.queried_cells("00/0", np.int64(2)).dtype == np.int32


def test_a_time_that_is_no_number_is_refused(ledger):
    first, _ = ask(ledger)
    with pytest.raises(ValueError, match="query 1: seconds must be 0 or more, got nan"):
        ledger.answer(first.id, [0] * first.num_points, annotator="a", seconds=float("nan"))
    assert ledger.events() == []


def test_a_changed_scan_file_is_noticed(ledger):
    ledger.register_scan("00/0", "f0", 10)
    for fingerprint, points in (("other", 10), ("f0", 11)):
        with pytest.raises(ValueError, match="00/0 has changed.*f0"):
            ledger.register_scan("00/0", fingerprint, points)


@pytest.mark.parametrize(
    ("names", "digest", "size", "words"),
    [
        (["car", "road", "bush"], DIGEST, 0.25, "class 2 is 'tree' there and 'bush' here"),
        (["car", "road"], DIGEST, 0.25, r"class 2 is 'tree' there and '\(none\)' here"),
        (NAMES, "other", 0.25, "digest d1g357.*other"),
        (NAMES, DIGEST, 0.5, "0.25 m.*0.5 m"),
    ],
)
def test_a_run_with_other_classes_or_voxels_is_refused(ledger, path, names, digest, size, words):
    with pytest.raises(ValueError, match=words):
        Ledger.open(path, names, digest, size)


def test_files_that_are_no_ledger_are_refused_and_left_alone(tmp_path):
    text = tmp_path / "notes.sqlite"
    text.write_text("not a database, " * 100)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (a)")
    db.close()
    for path in (text, other):
        before = path.read_bytes()
        for opening in (lambda p: Ledger.open(p, NAMES, DIGEST), Ledger.read, Ledger.open_existing):
            with pytest.raises(ValueError, match="is not a ledger"):
                opening(path)
        assert path.read_bytes() == before
    for opening in (Ledger.read, Ledger.open_existing):
        with pytest.raises(FileNotFoundError, match="no ledger"):
            opening(tmp_path / "absent.sqlite")
    with pytest.raises(FileNotFoundError, match="no folder"):
        Ledger.open(tmp_path / "absent" / "ledger.sqlite", NAMES, DIGEST)


def test_a_closed_ledger_is_not_called_foreign(path):
    ledger = Ledger.open(path, NAMES, DIGEST)
    ledger.close()
    with pytest.raises(ValueError, match="ledger.*: Cannot operate on a closed database"):
        ledger.queries()


def test_a_ledger_of_another_version_is_refused(path):
    Ledger.open(path, NAMES, DIGEST).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(ValueError, match=f"schema version {schema.SCHEMA_VERSION + 1}"):
        Ledger.open(path, NAMES, DIGEST)


def test_an_existing_ledger_is_opened_with_its_own_settings(path):
    with Ledger.open(path, NAMES, DIGEST, 0.5) as made:
        made.register_scan("00/0", "file", 9)
        ask(made)
    with Ledger.open_existing(path) as ledger:
        settings = (ledger.taxonomy_names, ledger.taxonomy_digest, ledger.voxel_size)
        assert settings == (tuple(NAMES), DIGEST, 0.5)
        ledger.skip(1, annotator="a")
        assert ledger.current(1).kind == "skip"


def test_an_empty_file_is_no_existing_ledger(tmp_path):
    (tmp_path / "empty.sqlite").touch()
    with pytest.raises(ValueError, match="is not a ledger"):
        Ledger.open_existing(tmp_path / "empty.sqlite")
    assert (tmp_path / "empty.sqlite").stat().st_size == 0


def test_reading_does_not_write(ledger, path):
    query, _ = ask(ledger)
    with Ledger.read(path) as read, pytest.raises(ValueError, match="reading only"):
        read.skip(query.id, annotator="a")


KEYS = {  # a row that clashes with an existing one
    "meta": "(key, value) VALUES ('voxel_size', '9')",
    "taxonomies": "(version, digest, classes) VALUES (1, 'x', '[]')",
    "scans": "(id, fingerprint, num_points) VALUES ('00/0', 'x', 1)",
    "rounds": "(round, strategy, seed, budget, num_queries, epoch, source)"
    " VALUES (1, 'x', 0, 9, 9, 0, '')",
    "queries": "(id, round, position, scan, x, y, z, rank, score, num_points)"
    " VALUES (1, 1, 0, '00/0', 5, 5, 5, 0, 0.5, 1)",
    "events": "(id, query, kind, annotator) VALUES (1, 1, 'skip', 'x')",
}


@pytest.mark.parametrize("table", KEYS)
@pytest.mark.parametrize("own", [True, False], ids=["our connection", "somebody's sqlite3"])
def test_no_row_is_ever_changed_or_removed(ledger, path, table, own):
    query, _ = ask(ledger)
    ledger.skip(query.id, annotator="a")
    db = ledger.file.db if own else sqlite3.connect(path, isolation_level=None)
    before = db.execute(f"SELECT * FROM {table}").fetchall()
    assert before
    column = KEYS[table][1:].split(",")[0]
    for sql in (
        f"DELETE FROM {table}",
        f"UPDATE {table} SET {column} = {column}",
        f"INSERT OR REPLACE INTO {table} {KEYS[table]}",
        f"REPLACE INTO {table} {KEYS[table]}",
        f"UPDATE OR REPLACE {table} SET {column} = 2",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(sql)
    assert db.execute(f"SELECT * FROM {table}").fetchall() == before


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("INSERT INTO events (query, kind, annotator) VALUES (1, 'guess', 'x')", "CHECK"),
        ("INSERT INTO events (query, kind, annotator) VALUES (1, 'answer', 'x')", "CHECK"),
        (
            "INSERT INTO events (query, kind, labels, annotator) VALUES (1, 'answer', x'00', 'x')",
            "one label per point",
        ),
        (
            "INSERT INTO events (query, kind, labels, annotator)"
            " VALUES (1, 'answer', x'00000000', 'x')",
            "one label per point",
        ),
        ("INSERT INTO events (query, kind, annotator) VALUES (99, 'skip', 'x')", "FOREIGN KEY"),
        ("INSERT INTO events (query, kind, annotator) VALUES (1, 'undo', 'x')", "undo"),
        (
            "INSERT INTO events (query, kind, annotator, supersedes) VALUES (2, 'skip', 'x', 1)",
            "same query",
        ),
        (
            "INSERT INTO queries (round, position, scan, x, y, z, rank, score, num_points)"
            " VALUES (1, 2, '00/0', 5, 5, 5, 2, 0.5, 1)",
            "complete",
        ),
        (
            "INSERT INTO rounds (round, strategy, seed, budget, num_queries, epoch, source)"
            " VALUES (5, 'x', 0, 9, 9, 0, '')",
            "without a gap",
        ),
    ],
)
def test_the_database_itself_refuses(ledger, sql, words):
    query, _ = ask(ledger)
    ledger.skip(query.id, annotator="a")
    with pytest.raises(sqlite3.IntegrityError, match=words):
        ledger.file.db.execute(sql)


def test_two_runs_that_went_the_same_way_export_the_same_text(tmp_path):
    texts, digests = [], []
    for order in (1, -1):
        with Ledger.open(tmp_path / f"{order}.sqlite", NAMES, DIGEST) as ledger:
            scans = [ScanRecord(f"00/{i}", f"f{i}", 10) for i in range(3)][::order]
            ledger.register_scans(scans)
            picks = {scan.id: [Asked((0, 1, 2), 3, 0.1)] for scan in scans}
            queries = ledger.add_round(1, "vcd", 0, 1, picks, source=f"file {order}")
            assert [query.id for query in queries] == [1, 2, 3]
            for query in queries[::order]:
                if order < 0:
                    ledger.skip(query.id, annotator="a")
                    ledger.undo(query.id, annotator="a")
                ledger.answer(query.id, [0, 1, 2], annotator="a", seconds=order + 2)
            texts.append(ledger.export_canonical())
            digests.append(ledger.digest())
            ledger.answer(queries[0].id, [0, 1, 1], annotator="a")
            assert ledger.digest() != digests[-1] and ledger.export_canonical() != texts[-1]
    assert texts[0] == texts[1] and digests[0] == digests[1]


@pytest.mark.parametrize("other", ["cell", "scan", "round", "labels"])
def test_processes_that_would_train_on_other_labels_have_other_digests(tmp_path, other):
    digests = set()
    for name in ("this", other):
        with Ledger.open(tmp_path / f"{name}.sqlite", NAMES, DIGEST) as ledger:
            for scan in ("00/0", "00/1"):
                ledger.register_scan(scan, "f", 10)
            number = 2 if name == "round" else 1
            for empty in range(1, number):
                ask(ledger, empty, [])
            scan, cell = "00/1" if name == "scan" else "00/0", (0, 0, int(name == "cell"))
            (query,) = ask(ledger, number, [cell], scan)
            ledger.answer(query.id, [0, 1, 1 + (name == "labels")], annotator=name)
            digests.add(ledger.digest())
    assert len(digests) == 2


def test_the_labels_of_a_large_pool_load_in_one_pass(ledger):
    """Two statements however many scans: the dataset loads them at every epoch."""
    scans = [ScanRecord(f"01/{i:04d}", "f", 5) for i in range(50)]
    ledger.register_scans(scans)
    queries = ledger.add_round(1, "vcd", 0, 2, {s.id: [Asked((1, 2, 3), 3, 1.0)] for s in scans})
    for query in queries:
        ledger.answer(query.id, [0, 1, 2], annotator="a")
    seen = []
    ledger.file.db.set_trace_callback(seen.append)
    found = ledger.labels_by_scan()
    ledger.file.db.set_trace_callback(None)
    assert len(seen) == 2 and list(found) == [scan.id for scan in scans]
