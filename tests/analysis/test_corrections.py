"""What the report says of answers that were changed, before and after another class list."""

import json

import pytest
from session_world import DIGEST, NAMES, SIZE, make_world, start

from annotator3d.annotation.opening import open_session
from annotator3d.annotation.review import Criteria
from annotator3d.annotation.review_session import ReviewSession
from annotator3d.cli.main import main
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.maintenance.migrate import migrate, plan

ROAD, CAR, TREE = range(3)
SPLIT = ("lane", "kerb", "car", "tree")
MERGED = ("ground", "car")  # of road and tree


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def source(path):
    """Road at 1 by ann; 2 and 4 corrected by bob; 3 decided against bob; 5 half car."""
    source = make_world(path)
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        for query, label in ((1, ROAD), (2, CAR), (3, ROAD), (4, ROAD)):
            ledger.answer(query, [label] * 4, annotator="ann")
        ledger.answer(5, [ROAD, ROAD, CAR, CAR], annotator="ann")
        ledger.answer(2, [ROAD] * 4, annotator="bob")
        ledger.answer(4, [TREE] * 4, annotator="bob")
        ledger.request(3, "overlap", annotator="lead")
        ledger.answer(3, [CAR] * 4, annotator="bob")
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        session = ReviewSession(ledger, source, "lead", criteria=Criteria(disputed=True))
        assert session.current.id == 3 and session.labels.tolist() == [ROAD] * 4
        session.assign(ROAD)  # as ann
        session.undo()
        session.redo()
        session.close()
    return source


def changed(path, capsys):
    """person -> (answers, changed, by), as the command says it."""
    capsys.readouterr()
    assert main(["quality", "report", str(path.parent), "--json"]) == 0
    people = json.loads(capsys.readouterr().out)["people"]
    return {p["person"]: tuple(p["typed"].values()) for p in people}


BEFORE = {"ann": (5, 2, {"bob": 2}), "bob": (3, 1, {"lead": 1}), "lead": (1, 0, {})}


def carry_over(path, names, **options):
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        migrate(ledger, plan(ledger, names, "new", **options))


def test_a_split_and_labelling_its_points_anew_correct_nobody(path, source, capsys):
    assert changed(path, capsys) == BEFORE
    carry_over(path, SPLIT, split={"road": ["lane", "kerb"]})
    assert changed(path, capsys) == BEFORE
    session = open_session(path, source, "zoe", SPLIT, "new")
    done = 0
    while session.current is not None:
        session.assign(done % 2)
        done += 1
    session.close()
    assert done == 5  # 1, 2, 3 and 5, and 6, which nobody had answered
    found = changed(path, capsys)
    assert found.pop("zoe") == (5, 0, {}) and found == BEFORE


def test_a_decision_holds_when_the_points_of_its_split_class_are_labelled(path, source):
    carry_over(path, SPLIT, split={"road": ["lane", "kerb"]})
    with Ledger.open(path, SPLIT, "new", SIZE) as ledger:
        ledger.answer(3, [0, 0, 1, 1], annotator="zoe")
        assert not ledger.disputed_queries() and ledger.outcome(3).approved
        assert ledger.current(3).labels.tolist() == [0, 0, 1, 1]
        ledger.answer(3, [0, 0, 1, 0], annotator="zoe")  # another one than was decided
        assert [query.id for query in ledger.disputed_queries()] == [3]


def test_who_skips_the_points_of_a_split_class_has_decided_nothing(path, source):
    carry_over(path, SPLIT, split={"road": ["lane", "kerb"]})
    with Ledger.open(path, SPLIT, "new", SIZE) as ledger:
        ledger.skip(3, annotator="zoe")
        assert not ledger.outcome(3).approved


def test_another_class_for_a_point_beside_the_split_ones_is_a_correction(path, source, capsys):
    carry_over(path, SPLIT, split={"road": ["lane", "kerb"]})
    with Ledger.open(path, SPLIT, "new", SIZE) as ledger:
        ledger.answer(5, [0, 0, 2, 3], annotator="zoe")  # the last point was a car
    assert changed(path, capsys)["ann"] == (5, 3, {"bob": 2, "zoe": 1})


def test_classes_that_are_merged_later_take_no_correction_back(path, source, capsys):
    carry_over(path, MERGED, become={"road": "ground", "tree": "ground"})
    assert changed(path, capsys) == BEFORE  # bob's tree for a road included


def test_correcting_what_was_approved_keeps_the_decision_on_the_record(path, source, capsys):
    session = start(path, source, "ann")
    session.go_to(3)
    session.assign(TREE)
    session.close()
    found = changed(path, capsys)
    assert found == {**BEFORE, "ann": (6, 2, {"bob": 2}), "lead": (1, 1, {"ann": 1})}
