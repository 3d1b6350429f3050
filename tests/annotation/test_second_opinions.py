"""Asking twice: which queries, once only, the same on every machine; by the command line too."""

import random
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from killing import killed_at
from session_world import DIGEST, NAMES, SIZE, make_world, start

from annotator3d.annotation import second_opinions
from annotator3d.annotation.second_opinions import (
    DISTANCE,
    OverlapOptions,
    is_sampled,
    request_overlap,
    request_repeats,
    share_of,
)
from annotator3d.cli.main import main
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Answer, Ledger, Query


@pytest.fixture
def path(tmp_path):
    make_world(tmp_path / "ledger.sqlite", cells=[(i, 0, 0) for i in range(100)], points=1)
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        yield ledger


def asked(path, ask="overlap"):
    with Ledger.read(path) as ledger:
        return [event.query for event in ledger.events() if event.ask == ask]


def query(scan, cell, round=1):
    return Query(1, round, scan, cell, 0, 0.0, 1)


cells = st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 3)


@given(cells, st.integers(0, 9), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_every_smaller_one(cell, seed, one, other):
    low, high = sorted((one, other))
    voxel = query("00/0", cell)
    assert not is_sampled(voxel, seed, low, "overlap") or is_sampled(voxel, seed, high, "overlap")
    assert is_sampled(voxel, seed, 1.0, "overlap") and not is_sampled(voxel, seed, 0.0, "overlap")


def test_the_share_is_that_of_many_queries_and_another_one_for_each_reason():
    voxels = [query(f"{scan:02}/0", (cell, 0, 0)) for scan in range(20) for cell in range(500)]
    chosen = {
        why: {(v.scan, v.cell) for v in voxels if is_sampled(v, 0, 0.05, why)}
        for why in ("overlap", "repeat ann", "repeat bob")
    }
    for found in chosen.values():  # 500 expected; 5 sigma are 109
        assert 390 < len(found) < 610
    one, other = chosen["repeat ann"], chosen["repeat bob"]
    assert len(one & other) < 60  # 25 expected


def test_a_choice_depends_on_scan_and_cell_only():
    a = is_sampled(query("00/0", (1, 2, 3)), 5, 0.5, "overlap")
    others = [Query(7, 1, "00/0", (1, 2, 3), 9, 3.5, 40), query("00/0", (1, 2, 3), 2)]
    assert {is_sampled(other, 5, 0.5, "overlap") for other in others} == {a}


def test_second_opinions_are_asked_for_once(ledger, path):
    first = request_overlap(ledger, 0.2, annotator="lead")
    assert 20 < len(first) < 60 and asked(path) == first == sorted(first)
    assert request_overlap(ledger, 0.2, annotator="boss") == []
    assert request_overlap(ledger, 0.1, annotator="boss") == []
    more = request_overlap(ledger, 0.4, annotator="boss")
    assert more and not set(more) & set(first)


def test_a_request_that_was_taken_back_is_not_made_again(ledger):
    first = request_overlap(ledger, 1.0, annotator="lead")
    event = next(e for e in ledger.events(first[0]))
    with ledger.transaction():
        ledger.append(first[0], Answer("undo", None, "lead"), event.id)
    assert request_overlap(ledger, 1.0, annotator="lead") == []


def test_two_ledgers_of_the_same_queries_make_the_same_requests(tmp_path):
    found = []
    for order in (1, -1):
        path = tmp_path / f"{order}.sqlite"
        make_world(path, scans=("00/0", "00/1")[::order], cells=[(i, 0, 0) for i in range(50)])
        with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
            voxels = {q.id: (q.scan, q.cell) for q in ledger.queries()}
            asked = request_overlap(ledger, 0.3, annotator=f"machine {order}")
            uids = {event.query: event.uid for event in ledger.events()}
            found.append({(voxels[query], uids[query]) for query in asked})
    assert found[0] == found[1]


def test_a_repeat_is_due_after_enough_other_answers_and_asked_for_once(ledger):
    for number in range(1, DISTANCE + 1):
        ledger.answer(number, [0], annotator="ann")
        ledger.answer(100 + number, [0], annotator="bob")
    assert request_repeats(ledger, 1.0) == {}
    ledger.answer(21, [0], annotator="ann")
    assert request_repeats(ledger, 1.0) == {"ann": [1]}
    assert request_repeats(ledger, 1.0) == {}
    ledger.answer(1, [1], annotator="ann")  # counts as an answer, and is not repeated again
    assert request_repeats(ledger, 1.0) == {"ann": [2]}


def test_only_an_opinion_of_ones_own_that_stands_is_repeated(ledger):
    ledger.answer(1, [0], annotator="bob")
    ledger.answer(1, [1], annotator="ann")  # corrects bob
    ledger.answer(2, [0], annotator="ann")
    ledger.undo(2, annotator="ann")
    ledger.skip(3, annotator="ann")
    for number in range(4, 4 + DISTANCE):
        ledger.answer(number, [0], annotator="ann")
    assert request_repeats(ledger, 1.0) == {}
    ledger.answer(50, [0], annotator="ann")
    assert request_repeats(ledger, 1.0) == {"ann": [4]}


def test_when_nothing_else_waits_the_rest_is_due_but_the_last_answer(ledger):
    order = list(range(1, 201))
    random.Random(0).shuffle(order)
    for number in order:
        ledger.answer(number, [0], annotator="ann")
    assert set(request_repeats(ledger, 1.0)["ann"]) == set(order[:-1])


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("100%", 1), ("0", 0)])
def test_shares_are_given_in_percent_or_as_a_number(text, share):
    assert share_of(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["5", "101%", "-1%", "x", "%", "nan", "5 %%"])
def test_other_shares_are_refused(text):
    with pytest.raises(ConfigError, match="expected a share such as 5% or 0.05"):
        share_of(text)


def test_a_share_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="repeat: expected a share of 0 to 1, got 2"):
        OverlapOptions(repeat=2)


def test_the_command_asks_and_says_how_much(path, capsys):
    work_dir = str(path.parent)
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        for number in range(1, 30):
            ledger.answer(number, [0], annotator="ann")
    command = ["quality", "request", work_dir, "--overlap", "20%", "--repeat", "100%"]
    assert main(command) == 0
    said, count = capsys.readouterr().out, len(asked(path))
    assert f"{count} more voxels wait for the opinion of a second person" in said and count
    assert "ann is asked again about 9 voxels" in said and len(asked(path, "repeat")) == 9
    assert main(command) == 0
    assert "0 more voxels" in capsys.readouterr().out and len(asked(path)) == count


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        ([], "expected --overlap SHARE or --repeat SHARE", 2),
        (["--overlap", "5"], "expected a share such as 5% or 0.05, got '5'", 2),
    ],
)
def test_wrong_use_is_said_and_nothing_is_written(path, capsys, arguments, words, code):
    assert main(["quality", "request", str(path.parent), *arguments]) == code
    assert words in capsys.readouterr().err and asked(path) == []


def test_a_work_directory_without_a_ledger_is_said(tmp_path, capsys):
    for action in ("request", "report"):
        shares = ["--overlap", "5%"] if action == "request" else []
        assert main(["quality", action, str(tmp_path / "none"), *shares]) == 1
        assert "there is no ledger" in capsys.readouterr().err


def requests(path):
    """What is asked of whom, from the file alone."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT query, ask, annotator FROM events WHERE ask IS NOT NULL ORDER BY 1, 2, 3"
        ).fetchall()


@pytest.fixture
def answered(tmp_path, monkeypatch):
    """A ledger in which everybody's answers but the last are due, and its scans."""
    monkeypatch.setattr(second_opinions, "DISTANCE", 1)
    source = make_world(tmp_path / "before.sqlite")
    with Ledger.open(tmp_path / "before.sqlite", NAMES, DIGEST, SIZE) as ledger:
        for number, person in enumerate(("ann", "ann", "ann", "bob", "bob"), start=1):
            ledger.answer(number, [1] * 4, annotator=person)
    return tmp_path / "before.sqlite", source


def test_killed_at_any_statement_all_requests_are_there_or_none(answered):
    options = ["--overlap", "50%", "--repeat", "100%", "--annotator", "lead"]
    seen, going = set(), True
    for statement in count(step=3):
        path = answered[0].parent / str(statement) / "ledger.sqlite"
        path.parent.mkdir()
        shutil.copy(answered[0], path)
        command = ["quality", "request", str(path.parent), *options]
        going = killed_at(statement, partial(main, command))
        seen.add(tuple(requests(path)))
        assert main(command) == 0
        whole = requests(path)
        if not going:
            break
    people = {("overlap", "lead"), ("repeat", "ann"), ("repeat", "bob")}
    assert {(ask, who) for _, ask, who in whole} == people
    assert seen == {(), tuple(whole)}


def test_a_session_killed_at_any_statement_asks_for_the_rest_later(answered):
    """What `label --overlap --repeat` does: second opinions first, then one's own."""
    before, source = answered

    def label(path):
        start(path, source, "ann", overlap=0.5, repeat=1.0).close()

    seen, going = [], True
    for statement in count(step=3):
        path = before.with_name(f"{statement}.sqlite")
        shutil.copy(before, path)
        going = killed_at(statement, partial(label, path))
        if requests(path) not in seen:
            seen.append(requests(path))
        label(path)
        whole = requests(path)
        if not going:
            break
    overlaps = [request for request in whole if request[1] == "overlap"]
    assert whole == sorted([*overlaps, (1, "repeat", "ann"), (2, "repeat", "ann")])
    assert overlaps and seen == [[], overlaps, whole]
