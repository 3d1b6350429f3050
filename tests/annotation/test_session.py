"""What a person can rely on in a labelling session: order, labels, parts, proposals, effort."""

import numpy as np
import pytest
from session_world import (
    CELLS,
    DIGEST,
    NAMES,
    SIZE,
    Asked,
    Clock,
    make_world,
    predict,
    seen,
    start,
)

from annotator3d.annotation.effort import IdleClock
from annotator3d.annotation.queue import Filter
from annotator3d.data.scan import rows_of_cell
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Answer, Ledger
from annotator3d.viz.keys import make_keys


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def visited(session):
    """Numbers of the queries in the order in which a person who skips all of them sees them."""
    found = []
    while session.current:
        found.append(session.current.id)
        session.skip()
    return found


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("scan", [3, 1, 2, 6, 4, 7, 5]),
        ("score", [3, 6, 1, 4, 7, 2, 5]),
        ("round", [3, 1, 2, 6, 4, 5, 7]),
        ("points", [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_queries_come_in_the_chosen_order(path, order, expected):
    # 1-3 are of scan 00/0, 4-6 of 00/1
    source = make_world(path, scores=[2.0, 1.0, 3.0], spare=[(9, 9, 9)])
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        (late,) = ledger.add_round(2, "vcd", 7, 1, {"00/1": [Asked((9, 9, 9), 4, 2.0)]})
    assert late.id == 7
    session = start(path, source, order=order)
    assert session.matching() == expected and visited(session) == expected
    session.close()


def test_a_random_order_is_the_same_for_everybody(path):
    source = make_world(path, scans=[f"00/{i}" for i in range(9)])
    ann, bob = start(path, source, order="random"), start(path, source, "bob", order="random")
    assert ann.matching() == bob.matching() != sorted(ann.matching())
    ann.close(), bob.close()


def test_an_answer_is_on_disk_when_the_call_returns(path):
    session = start(path, make_world(path))
    assert session.current.id == 1 and (session.labels == 254).all() and session.state == "open"
    session.assign(1)
    answer = seen(path, 1)
    assert (answer.kind, answer.labels.tolist(), answer.annotator) == ("answer", [1] * 4, "ann")
    assert session.current.id == 2
    session.skip()
    session.unsure()
    session.ignore()
    assert [seen(path, q).kind for q in (2, 3, 4)] == ["skip", "unsure", "ignore"]
    session.repeat()  # of `ignore`: it was given last
    assert seen(path, 5).kind == "ignore"
    session.assign(2)
    assert session.current is None and session.progress.open == 0
    with pytest.raises(ValueError, match="no voxel on the screen"):
        session.assign(1)
    session.close()


def test_the_view_holds_the_points_of_the_voxel_and_its_box(path):
    source = make_world(path)
    session = start(path, source)
    view = session.view
    expected = rows_of_cell(source.scans["00/0"].xyz, CELLS[0], SIZE)
    assert view.rows.tolist() == expected.tolist() and len(view.xyz) == 4
    assert view.low.tolist() == [1.0, 0, 0] and view.high.tolist() == [1.25, 0.25, 0.25]
    assert [query.id for query in session.in_scan()] == [1, 2, 3]
    session.close()


@pytest.mark.parametrize("label", [3, -1, 254, 256])
def test_a_label_that_is_no_class_is_refused(path, label):
    session = start(path, make_world(path))
    with pytest.raises(ValueError, match=r"neither a class \(0..2\) nor 255"):
        session.assign(label)
    assert seen(path, 1) is None and session.current.id == 1
    session.close()


def test_two_parts_take_two_classes_and_each_is_on_disk_at_once(path):
    source = make_world(path)
    session = start(path, source)
    z = session.view.xyz[:, 2]
    at = float(np.sort(z)[1:3].mean())
    session.split("height", at=at)
    assert session.parts.mask.tolist() == (z < at).tolist()
    session.assign(0)
    assert session.current.id == 1 and session.state == "open" and seen(path, 1) is None
    session.close()  # in the middle

    session = start(path, source)
    assert session.labels.tolist() == [0 if low else 254 for low in z < at]
    assert session.parts.mask.tolist() == (z >= at).tolist()  # what is left
    session.assign(2)
    assert seen(path, 1).labels.tolist() == [0 if low else 2 for low in z < at]
    assert session.current.id == 2
    session.undo()
    assert session.labels.tolist() == [0 if low else 254 for low in z < at]
    session.undo()
    assert (session.labels == 254).all() and not session.can_undo
    session.close()


def test_an_answer_is_corrected_part_by_part(path):
    session = start(path, make_world(path))
    session.assign(0)
    session.go_to(1)
    mask = np.array([True, False, True, False])
    session.paint(mask)
    session.assign(1)
    assert seen(path, 1).labels.tolist() == [1, 0, 1, 0] and session.current.id == 1
    session.next()  # the rest keeps its class
    assert session.current.id == 2
    session.close()


def test_painting_adds_and_erases_points(path):
    session = start(path, make_world(path))
    with pytest.raises(ValueError, match="no picked points to erase"):
        session.paint([True] * 4, erase=True)
    session.paint([True, False, False, False])
    session.paint([False, True, True, False])
    session.paint([False, True, False, False], erase=True)
    assert session.parts.mask.tolist() == [True, False, True, False]
    session.step_part(1)
    assert session.parts.mask.tolist() == [False, True, False, True]
    session.paint([True] * 4, erase=True)
    assert session.parts.mask.all() and session.parts.method == "whole"
    with pytest.raises(ValueError, match=r"mask \[4\]"):
        session.paint([True, False])
    session.close()


def test_clusters_become_more_when_asked_again(path):
    session = start(path, make_world(path, points=6))
    counts = []
    for _ in range(3):
        session.split("clusters")
        counts.append(session.parts.count)
    assert counts == [2, 3, 4]
    session.split("clusters", distance=1.0)
    assert session.parts.count == 1
    session.split("clusters", count=5)
    assert session.parts.count == 5
    with pytest.raises(ValueError, match="did you mean 'clusters'"):
        session.split("cluster")
    session.close()


def mixed(round, scan):
    """Class 0 in the lower half of each voxel, 1 above; the second scan is all class 2."""
    if scan.id == "00/1":
        return np.full(len(scan), 2, np.uint8)
    return (scan.xyz[:, 2] / SIZE % 1 > 0.5).astype(np.uint8)


def test_parts_by_prediction_take_one_key_each(path):
    session = start(path, make_world(path, points=9), predictions=predict(mixed))
    predicted = session.view.predicted
    session.split("prediction")
    largest = np.bincount(predicted).argmax()
    assert session.parts.mask.tolist() == (predicted == largest).tolist()
    session.assign(int(largest))
    session.assign(int(1 - largest))
    assert seen(path, 1).labels.tolist() == predicted.tolist()
    session.close()


def test_filters_choose_what_is_gone_through(path):
    session = start(path, make_world(path))
    session.assign(0)
    session.skip()
    session.unsure()
    session.paint([True, False, False, False])
    session.assign(1)
    session.ignore()  # the rest of query 4
    session.ignore()
    for passing, expected in [
        (Filter(), [6]),
        (Filter(states=None), [1, 2, 3, 4, 5, 6]),
        (Filter(states=("skipped", "unsure")), [2, 3]),
        (Filter(states=("answered",), scans={"00/0"}), [1]),
        (Filter(states=None, classes=[255]), [4, 5]),
        (Filter(states=None, classes=[1]), [4]),
        (Filter(states=None, classes=[0, 1]), [1, 4]),
        (Filter(states=None, rounds=[2]), []),
    ]:
        assert session.set_filter(passing) == bool(expected)
        assert session.matching() == expected
        assert expected == [] if session.current is None else session.current.id in expected
    with pytest.raises(ConfigError, match="did you mean 'skipped'"):
        Filter(states=("skiped",))
    session.set_filter(Filter(states=None))
    session.go_to(6)
    shown = []
    for _ in range(4):
        shown.append(session.current.id)
        session.previous()
    assert shown == [6, 5, 4, 3] and session.position == (2, 6)
    for _ in range(5):
        session.next()
    assert session.current.id == 1  # round the end
    session.set_order("points")
    assert session.current.id == 1 and session.filter == Filter(states=None)
    session.close()


def test_old_answers_are_seen_and_can_be_changed(path):
    source = make_world(path)
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        ledger.answer(1, [0, 1, 2, 255], annotator="tool")
    session = start(path, source)
    session.go_to(1)
    assert session.labels.tolist() == [0, 1, 2, 255] and session.response.answer.annotator == "tool"
    session.assign(2)
    assert seen(path, 1).labels.tolist() == [2] * 4
    session.undo()
    assert session.labels.tolist() == [0, 1, 2, 255] and not session.can_undo
    session.close()


def test_a_bulk_action_is_one_step_of_undo_also_after_a_restart(path):
    source = make_world(path)
    session = start(path, source)
    session.assign(1)
    assert session.bulk("answer", [2, 3, 4], 0).done == [2, 3, 4]
    assert session.bulk("skip", [5, 6]).done == [5, 6]
    session.close()
    session = start(path, source)
    assert session.undo().done == [5, 6] and session.undo().done == [2, 3, 4]
    session.close()
    session = start(path, source)
    assert session.redo().done == [2, 3, 4] and session.redo().done == [5, 6]
    session.undo()
    assert [session.state_of(q) for q in range(1, 7)] == ["answered"] * 4 + ["open"] * 2
    for kind, label in (("answer", None), ("skip", 1), ("draft", None)):
        with pytest.raises(ValueError, match="bulk"):
            session.bulk(kind, [5], label)
    with pytest.raises(ValueError, match="neither a class"):
        session.bulk("answer", [5, 6], 7)
    assert session.state_of(5) == "open"
    session.bulk("answer", [5], 255)
    assert seen(path, 5).kind == "ignore"
    session.close()


def test_undo_shows_the_query_whose_answer_was_taken_back_in_whatever_scan(path):
    session = start(path, make_world(path))
    for _ in range(4):
        session.assign(1)
    assert session.current.scan == "00/1"
    for expected in (4, 3, 2):
        session.undo()
        assert session.current.id == expected and session.state == "open"
    assert session.view.scan.id == "00/0"
    session.assign(2)  # a new action: nothing to redo any more
    with pytest.raises(ValueError, match="nothing to redo"):
        session.redo()
    session.close()


def test_seconds_without_idle_time_and_clicks_are_recorded(path):
    now = Clock()
    source = make_world(path)
    session = start(path, source, clock=IdleClock(30.0, now))
    now.now = 4.0
    session.touch()
    now.now = 1004.0  # away for coffee: 30 seconds count
    session.next()  # not answered
    now.now = 1007.0
    session.assign(0)
    assert (seen(path, 2).seconds, seen(path, 2).clicks) == (3.0, 1)
    session.go_to(1)
    now.now = 1009.0
    session.split("height")
    session.assign(0)
    now.now = 1010.0
    session.close()
    session = start(path, source, clock=IdleClock(30.0, now))
    now.now = 1015.0
    session.assign(1)
    # 34 on the first visit, 2 until the draft, 5 after the restart; the parting and two classes
    assert (seen(path, 1).seconds, seen(path, 1).clicks) == (41.0, 3)
    session.undo()
    now.now = 1016.0
    session.assign(2)
    assert (seen(path, 1).seconds, seen(path, 1).clicks) == (1.0, 2)  # since the last response
    session.close()


def test_progress_tells_the_pace_and_what_remains(path):
    now = Clock()
    session = start(path, make_world(path), clock=IdleClock(30.0, now))
    assert session.progress.seconds_left is None
    for label in (0, 0, 2, 255):
        now.now += 6.0
        session.assign(label)
    now.now += 4.0
    session.skip()
    progress = session.progress
    assert (progress.total, progress.settled, progress.open) == (6, 5, 1)
    assert (progress.answered, progress.skipped) == (4, 1)
    assert progress.seconds_per_answer == pytest.approx(28 / 5)
    assert progress.seconds_left == pytest.approx(28 / 5)
    assert session.class_voxels.tolist() == [2, 0, 1] and session.class_points.tolist() == [8, 0, 4]
    session.undo()
    session.undo()
    session.undo()
    assert session.class_voxels.tolist() == [2, 0, 0] and session.class_points.tolist() == [8, 0, 0]
    session.close()


def test_notes_stay_with_the_query(path):
    source = make_world(path)
    session = start(path, source)
    session.note("a kerb?")
    with pytest.raises(ValueError, match="some text"):
        session.note("  ")
    session.close()
    session = start(path, source, "bob")
    session.go_to(1)
    assert [(n.answer.note, n.answer.annotator) for n in session.notes] == [("a kerb?", "ann")]
    session.close()


def test_a_round_that_was_added_meanwhile_comes_into_the_queue(path):
    source = make_world(path, spare=[(9, 9, 9)])
    session = start(path, source)
    assert not session.sync()
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        ledger.add_round(2, "vcd", 7, 1, {"00/1": [Asked((9, 9, 9), 4, 9.0)]})
    assert session.sync() and session.matching() == [1, 2, 3, 7, 4, 5, 6]
    assert session.progress.total == 7 and session.current.id == 1
    session.close()


def test_every_key_that_is_not_the_windows_does_something(path):
    source = make_world(path, [f"00/{i}" for i in range(9)], points=9)
    session = start(path, source, predictions=predict(mixed), offer="all")
    session.do("class 1")
    assert seen(path, 1).labels.tolist() == [1] * 9
    session.do("split height")
    for action in make_keys(NAMES).actions[len(NAMES) :]:
        if action.window:
            with pytest.raises(ValueError, match="has no action"):
                session.do(action.name)
        elif action.name != "redo":
            session.do(action.name)
            if action.name == "undo":
                session.do("redo")
    kinds = {event.answer.kind for event in session.ledger.events()}
    assert kinds >= {"answer", "ignore", "skip", "unsure", "undo"}
    session.close()


def test_two_sessions_of_one_person_share_their_history(path):
    """All state is in the ledger: what one does the other can undo."""
    source = make_world(path)
    first, second = start(path, source), start(path, source)
    first.assign(1)
    second.sync()
    assert second.undo().done == [1]
    first.sync()
    assert first.state_of(1) == "open" and first.can_redo
    answers = [e.answer for e in first.ledger.events() if e.answer.kind != "lease"]
    assert [a.kind for a in answers] == ["answer", "undo"] and isinstance(answers[0], Answer)
    first.close(), second.close()
