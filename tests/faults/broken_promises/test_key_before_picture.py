"""A key counts for the voxel that was on the screen when it was pressed, or is refused."""

from __future__ import annotations

import pytest
from fake_frontend import open_review, open_viewer
from session_world import DIGEST, NAMES, SIZE, make_world

from annotator3d.ledger.ledger import Ledger


def kinds(path):
    with Ledger.read(path) as ledger:
        return [e.answer.kind for e in ledger.events() if e.answer.kind != "lease"]


@pytest.fixture
def slow(tmp_path):
    """A session at its first voxel, in a frontend that draws when it is told to."""
    controller, frontend, errors = open_viewer(tmp_path / "ledger.sqlite")
    controller.start()
    frontend.is_slow = True
    yield controller, frontend, tmp_path / "ledger.sqlite"
    assert not errors
    controller.session.close()


@pytest.mark.parametrize("key", ["1", "2", "x", "s", "u", "n", "space", "enter"])
def test_what_is_pressed_before_the_next_voxel_is_seen_is_refused(slow, key):
    controller, frontend, path = slow
    assert controller.press("1")
    first, there = kinds(path), controller.session.current.id
    controller.press(key)
    assert kinds(path) == first
    assert controller.session.current.id == there
    assert f"ignored, because voxel {there} was not on the screen yet" in frontend.said[-1][0]
    assert frontend.said[-1][1], "shown as a refusal"


def test_once_it_is_drawn_the_key_counts(slow):
    controller, frontend, path = slow
    controller.press("1")
    frontend.draw()
    controller.press("2")
    assert kinds(path) == ["answer", "answer"]


@pytest.mark.parametrize("there", [["right"], ["right", "right"], ["right", "left"]])
def test_after_going_elsewhere_too(slow, there):
    controller, frontend, path = slow
    for key in there:
        controller.press(key)
    controller.press("1")
    assert kinds(path) == []
    frontend.draw()
    controller.press("1")
    assert kinds(path) == ["answer"]


def test_a_picture_of_an_earlier_turn_proves_nothing(slow):
    """Away, back and away again: the first picture arrives when another voxel is asked."""
    controller, frontend, path = slow
    controller.press("right")
    (early,) = frontend.undrawn
    controller.press("left")
    controller.press("right")
    early()
    controller.press("1")
    assert kinds(path) == []


def test_a_split_that_is_not_seen_takes_no_class(slow):
    controller, frontend, path = slow
    controller.press("c")
    assert controller.session.parts.count > 1
    controller.press("1")
    assert kinds(path) == []
    frontend.draw()
    controller.press("1")
    assert controller.session.parts.current == 1
    controller.press("2")  # both parts were seen
    assert "answer" in kinds(path)


def test_a_stroke_over_the_old_picture_paints_nothing(slow):
    controller, frontend, _ = slow
    controller.press("right")
    points = len(controller.scene_model.current())
    controller.paint([True] + [False] * (points - 1))
    assert controller.session.parts.count == 1
    assert "not on the screen yet" in frontend.said[-1][0]


def test_moving_undoing_and_looking_wait_for_nothing(slow):
    controller, frontend, path = slow
    controller.press("1")
    for key in ("ctrl+z", "right", "left", "v", "m", "h"):
        said = len(frontend.said)
        controller.press(key)
        assert not any("not on the screen" in text for text, _ in frontend.said[said:])
    assert kinds(path) == ["answer", "undo"]


def test_an_opinion_that_is_not_shown_yet_is_not_approved(tmp_path):
    path = tmp_path / "ledger.sqlite"
    source = make_world(path)
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        ledger.request(1, "overlap", annotator="lead")
        for person, label in (("ann", 0), ("bob", 1)):
            ledger.answer(1, [label] * 4, annotator=person)
    controller, frontend, errors = open_review(path, source)
    controller.start()
    frontend.is_slow = True
    before = kinds(path)
    for key in ("space", "enter"):  # the next opinion; approve
        controller.press(key)
    assert kinds(path) == before
    frontend.draw()
    controller.press("enter")
    assert kinds(path)[len(before) :] == ["approve"]
    with Ledger.read(path) as ledger:
        assert ledger.current(1).annotator == "bob"
    assert not errors
    controller.session.close()
