"""Keys and buttons without a toolkit: what reaches the ledger, and when the picture changes."""

from __future__ import annotations

import numpy as np
import pytest
from fake_frontend import open_viewer
from session_world import (
    CELLS,
    SIZE,
    Asked,
    Source,
    make_scan,
    make_world,
    predict,
    start,
)

from annotator3d.data.scan_source import Pose
from annotator3d.ledger.ledger import Ledger
from annotator3d.viz.dropdowns import dropdowns


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def by_class(*labels):
    """A stored prediction: `labels` in turn over the points."""
    return predict(lambda _, scan: np.resize(np.array(labels, np.uint8), len(scan)))


def test_an_answer_is_on_disk_before_the_picture_changes(path):
    controller, frontend, _ = open_viewer(path)
    controller.start()
    first = controller.session.current.id
    for presses, kinds in (("1", ["answer"]), ("s", ["answer", "skip"])):
        frontend.on_disk.clear()
        controller.press(presses)
        assert frontend.on_disk[0] == kinds
    frontend.on_disk.clear()
    controller.press("ctrl+z")
    controller.press("ctrl+z")
    assert frontend.on_disk[-1] == ["answer", "skip", "undo", "undo"]
    assert controller.session.current.id == first


def test_one_key_answers_and_the_camera_goes_to_the_next(path):
    controller, frontend, _ = open_viewer(path)
    controller.start()
    assert frontend.calls == ["load", "look", "repaint"]
    frontend.calls.clear()
    before = controller.session.current
    controller.press("2")
    assert frontend.calls == ["look", "repaint"]  # the same scan: nothing is loaded again
    assert controller.session.current.id != before.id
    assert frontend.said[-1][0].startswith("car")
    assert (controller.session.labels_of(before.id) == 1).all()


def test_another_scan_is_loaded_once(path):
    controller, frontend, _ = open_viewer(path)
    controller.start()
    for key in "111":
        frontend.calls.clear()
        controller.press(key)
    assert frontend.calls == ["load", "look", "repaint"]
    for key in "111":
        controller.press(key)
    assert controller.session.current is None
    assert frontend.said[-1] == ("Nothing is left to answer here.", False)


def test_a_refusal_is_shown_and_writes_nothing(path):
    controller, frontend, errors = open_viewer(path)
    controller.start()
    controller.guard(lambda: controller.press("enter"))
    assert frontend.said[-1] == ("nothing is proposed for this voxel", True)
    assert frontend.on_disk[-1] == []
    assert errors == []


def test_another_exception_ends_the_skin_and_is_logged(path, caplog):
    controller, frontend, errors = open_viewer(path)
    controller.start()
    controller.press("1")

    def broken():
        raise RuntimeError("driver")

    frontend.repaint = broken
    controller.guard(lambda: controller.press("2"))
    assert [str(error) for error in errors] == ["driver"]
    assert "driver" in caplog.text
    with Ledger.read(path) as ledger:  # the answer before the broken picture is kept
        assert [e.answer.kind for e in ledger.events() if e.answer.kind != "lease"] == [
            "answer"
        ] * 2


def test_an_exception_while_a_refusal_is_drawn_does_not_leave_the_guard(path):
    controller, frontend, errors = open_viewer(path)
    controller.start()

    def broken():
        raise ValueError("no texture")

    frontend.repaint = broken
    controller.guard(lambda: controller.press("enter"))  # nothing is proposed: a refusal
    assert [str(error) for error in errors] == ["no texture"]


def test_a_damaged_photo_is_told_once_and_does_not_stop_the_work(path):
    source = make_world(path)

    def image(*_):
        raise OSError("000000.png is damaged")

    source.image = image
    controller, frontend, errors = open_viewer(path, source=source)
    controller.start()
    assert controller.photo() is None and controller.photo() is None
    said = [text for text, wrong in frontend.said if wrong]
    assert said == ["no camera image is shown: 000000.png is damaged"] and not errors


def test_every_action_of_the_table_is_handled(path):
    controller, frontend, errors = open_viewer(path, predictions=by_class(0, 1))
    controller.start()
    for action in controller.keys.actions:
        refused = []
        try:
            controller.act(action.name)
        except ValueError as refusal:
            refused.append(str(refusal))
        assert not errors, action.name
        assert not any("has no action" in text for text in refused), action.name
    assert {"ask note", "ask go to", "help", "brush True"} <= set(frontend.calls)


def test_an_unknown_key_does_nothing_but_counts_as_a_sign_of_life(path):
    controller, frontend, _ = open_viewer(path)
    controller.start()
    touched = []
    controller.session.touch = lambda: touched.append(True)
    assert not controller.press("ctrl+enter")
    assert touched
    assert frontend.on_disk[-1] == []


def test_blind_shows_no_prediction_by_any_way(path):
    controller, frontend, _ = open_viewer(path, predictions=by_class(1), blind=True)
    controller.start()
    seen = set()
    for _ in range(6):
        controller.press("m")
        seen.add(controller.scene_model.settings.mode)
    assert seen == {"height", "intensity", "answer"}
    for mode in ("prediction", "confusion"):
        with pytest.raises(ValueError, match="--blind"):
            controller.view.set_mode(mode)
    with pytest.raises(ValueError, match="blind"):
        controller.press("p")
    with pytest.raises(ValueError, match="nothing is proposed"):
        controller.press("enter")
    assert controller.scene_model.values.prediction is None


def test_a_prediction_is_accepted_with_one_key(path):
    controller, _, _ = open_viewer(path, predictions=by_class(2))
    controller.start()
    query = controller.session.current.id
    controller.press("enter")
    assert (controller.session.labels_of(query) == 2).all()
    with Ledger.read(path) as ledger:
        assert ledger.current(query).proposal_accepted


def test_the_brush_parts_the_voxel_and_is_put_away_with_it(path):
    controller, frontend, _ = open_viewer(path)
    controller.start()
    query, count = controller.session.current.id, len(controller.session.labels)
    controller.press("b")
    assert controller.brushing
    controller.paint(np.arange(count) == 0)
    controller.press("1")
    assert controller.session.current.id == query
    controller.press("2")
    assert not controller.brushing and frontend.calls[-3:] == ["brush False", "look", "repaint"]
    assert sorted(controller.session.labels_of(query)) == [0] + [1] * (count - 1)


def test_a_scan_that_vanished_is_named_and_its_queries_wait(path):
    source = make_world(path, scans=("00/0", "00/1"))
    del source.scans["00/1"]
    source.neighbours = lambda *_: []
    controller, frontend, errors = open_viewer(path, source=source)
    controller.start()
    for _ in range(3):
        controller.press("1")
    assert controller.session.current is None and not errors
    text, wrong = frontend.said[-1]
    assert wrong and "00/1" in text and "set aside" in text and "gone" in text
    assert controller.session.progress.set_aside == 3


def test_notes_and_numbers_that_are_typed(path):
    controller, frontend, _ = open_viewer(path)
    controller.start()
    controller.write_note("a wheel?")
    assert frontend.on_disk[-1] == ["note"]
    last = controller.session.matching()[-1]
    controller.go_to(str(last))
    assert controller.session.current.id == last
    with pytest.raises(ValueError, match="number"):
        controller.go_to("3rd")


def test_answers_of_other_people_come_in_by_themselves(path):
    controller, frontend, _ = open_viewer(path)
    controller.start()
    other = start(
        path, Source({scan: make_scan(scan, CELLS) for scan in ("00/0", "00/1")}), annotator="eva"
    )
    assert controller.tick(now=1e9)  # what the other one holds
    assert not controller.tick(now=1e9 + 10)  # nothing new
    query = other.current.id
    other.assign(1)
    other.close()
    assert not controller.tick(now=1e9 + 11)  # too early to look again
    assert controller.tick(now=1e9 + 20)
    assert controller.session.state_of(query) == "answered"


def test_a_key_on_a_picture_that_somebody_has_overtaken_is_refused(path):
    controller, frontend, _ = open_viewer(path)
    controller.start()
    other = start(
        path, Source({scan: make_scan(scan, CELLS) for scan in ("00/0", "00/1")}), annotator="eva"
    )
    query = other.current.id
    controller.go_to(str(query))
    other.assign(1)
    other.close()
    controller.guard(lambda: controller.press("1"))
    words, wrong = frontend.said[-1]
    assert wrong and "was changed by eva since it was shown; nothing was written" in words
    assert set(controller.session.labels_of(query).tolist()) == {1}


def test_neighbours_need_poses_and_say_so(path):
    controller, _, _ = open_viewer(path)
    controller.start()
    own = len(controller.scene_model.xyz)
    with pytest.raises(ValueError, match="no poses"):
        controller.view.set_neighbours(2)
    assert (
        not controller.scene_model.settings.accumulated and len(controller.scene_model.xyz) == own
    )


def test_neighbours_are_drawn_where_they_are_in_the_world(path):
    source = make_world(path)
    for at, scan in enumerate(("00/0", "00/1")):
        matrix = np.eye(4)
        matrix[0, 3] = 10 * at
        source.poses[scan] = Pose("w", matrix)
    controller, frontend, _ = open_viewer(path, source=source)
    controller.start()
    shown, other = source.scans["00/0"].xyz, source.scans["00/1"].xyz
    assert controller.session.current.scan == "00/0"
    controller.press("l")
    assert frontend.calls[-2:] == ["load", "repaint"]
    assert np.allclose(controller.scene_model.xyz, np.concatenate([shown, other + [10, 0, 0]]))
    controller.press("l")
    assert np.array_equal(controller.scene_model.xyz, shown)


def test_each_list_shows_what_is_chosen_and_every_value_of_it_works(path):
    controller, _, errors = open_viewer(path, predictions=by_class(0, 2))
    controller.start()
    lists = {dropdown.text: dropdown for dropdown in dropdowns(controller)}
    for dropdown in lists.values():
        assert dropdown.chosen() in dropdown.options
        for option in dropdown.options:
            try:
                dropdown.choose(option)
            except ValueError as refusal:
                assert "poses" in str(refusal) or "screen" in str(refusal)
            else:
                assert dropdown.chosen() == option, dropdown.text
        dropdown.choose(dropdown.options[0])
    assert not errors


def test_going_through_answers_of_one_class_in_one_scan(path):
    controller, _, _ = open_viewer(path)
    controller.start()
    lists = {dropdown.text: dropdown for dropdown in dropdowns(controller)}
    cars = []
    for key in "122112":
        query = controller.session.current
        cars += [query] if key == "2" else []
        controller.press(key)
    lists["with class"].choose("car")
    assert controller.session.matching() == [query.id for query in cars]
    lists["from"].choose("this scan")
    here = controller.session.current.scan
    assert controller.session.matching() == [q.id for q in cars if q.scan == here]
    lists["with class"].choose("any class")
    lists["queries"].choose("all")
    assert len(controller.session.matching()) == 3
    lists["from"].choose("all scans")
    assert len(controller.session.matching()) == 6


def test_queries_that_come_in_meanwhile_get_pins(path):
    source = make_world(path, spare=[(9, 9, 1)])
    controller, frontend, _ = open_viewer(path, source=source)
    controller.start()
    assert len(controller.scene_model.centres) == 3
    with Ledger.open(path, *identity(controller)) as ledger:
        ledger.add_round(2, "vcd", 7, 1, {"00/0": [Asked((9, 9, 1), 4)]})
    assert controller.tick(now=1e9)
    assert len(controller.scene_model.centres) == 4
    assert np.allclose(controller.scene_model.centres[-1], (np.array([9, 9, 1]) + 0.5) * SIZE)


def identity(controller):
    ledger = controller.session.ledger
    return ledger.taxonomy_names, ledger.taxonomy_digest, ledger.voxel_size
