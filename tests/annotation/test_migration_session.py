"""Labelling before, during and after a change of the class list."""

import numpy as np
import pytest
from session_world import DIGEST, NAMES, SIZE, make_world, start

from annotator3d.annotation.opening import open_session
from annotator3d.ledger.connection import ClassListChangedError
from annotator3d.ledger.effort import round_cost
from annotator3d.ledger.history import describe_history
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.maintenance.migrate import migrate, plan

NEW = ("lane", "kerb", "car", "tree")  # road is split


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def split_road(path):
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        migrate(ledger, plan(ledger, NEW, "new", split={"road": ["lane", "kerb"]}))


def reopened(path, source):
    return open_session(path, source, "ann", NEW, "new")


def labels(path):
    with Ledger.read(path) as ledger:
        return {q.id: a.labels.tolist() for q, a in ledger.responses() if a is not None}


def test_a_session_that_is_open_is_told_and_closes_in_peace(path):
    source = make_world(path)
    session = start(path, source)
    session.assign(0)
    split_road(path)
    for act in (lambda: session.assign(1), session.sync, session.undo):
        with pytest.raises(ClassListChangedError, match="close it and open it again"):
            act()
    session.close()
    assert labels(path) == {1: [254] * 4}


def test_the_points_of_a_split_class_are_shown_as_a_draft(path):
    source = make_world(path)
    session = start(path, source)
    session.paint(np.array([True, True, False, False]))
    session.assign(0)
    session.assign(1)
    session.assign(0)
    session.close()
    split_road(path)
    now = reopened(path, source)
    assert now.progress.open == 6 and now.class_points.tolist() == [0, 0, 2, 0]
    assert now.current.id == 1 and now.labels.tolist() == [254, 254, 2, 2]
    now.assign(1)
    assert labels(path)[1] == [1, 1, 2, 2] and now.class_points.tolist() == [0, 2, 2, 0]
    now.close()
    with Ledger.read(path) as ledger:
        meter = round_cost(ledger, 1)
    # the second answer has no label left, so that it is none
    assert (meter.answered, meter.labelled_points, meter.void_voxels) == (1, 4, 0)


def test_undo_and_redo_of_a_session_go_across(path):
    source = make_world(path)
    session = start(path, source)
    session.paint(np.array([True, True, False, False]))
    session.assign(0)
    session.assign(1)
    session.close()
    split_road(path)
    now = reopened(path, source)
    now.undo()
    assert 1 not in labels(path) and now.labels.tolist() == [254] * 4
    for _ in range(2):
        now.redo()  # the draft that it is by now
        assert now.labels.tolist() == [254, 254, 2, 2] and now.state == "open"
        now.undo()
    now.redo()
    now.assign(0)
    assert labels(path)[1] == [0, 0, 2, 2]
    now.close()


def test_the_history_names_classes_as_of_then_and_now(path):
    make_world(path)
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        ledger.answer(1, [0, 0, 0, 1], annotator="ann")
        ledger.answer(2, [2, 2, 2, 2], annotator="ann")
    split_road(path)
    with Ledger.read(path) as ledger:
        said = [row[4] for row in describe_history(ledger)[1]]
    assert said == ["to be labelled 3, car 1 (then: road 3, car 1)", "tree 4"]
