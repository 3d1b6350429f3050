"""The window for real: on a virtual display, with keys and clicks; what counts is the ledger."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from viewer_driver import (
    SHOTS,
    Viewer,
    dispute,
    drawing_is_known,
    kinds,
    make_work_dir,
    need_window,
    skipping_fails,
    virtual_display,
)

from annotator3d.ledger.ledger import Ledger

pytestmark = [pytest.mark.gui, pytest.mark.timeout(400)]
ORANGE = (255, 140, 0)  # parts to be labelled
CAR, BICYCLE = (100, 150, 245), (100, 230, 245)  # of SemanticKITTI


@pytest.fixture(scope="module")
def display():
    need_window()
    with virtual_display() as name:
        yield name


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory):
    """Three scans of one sequence with poses, eight queries each."""
    folder = tmp_path_factory.mktemp("window")
    return make_work_dir(make_scans(folder / "kitti"), folder / "run", budget=8)


def make_scans(root: Path) -> Path:
    random = np.random.default_rng(0)
    velodyne = root / "sequences" / "00" / "velodyne"
    velodyne.mkdir(parents=True)
    for frame in range(3):
        xyz = random.uniform([-20, -20, -2], [20, 20, 3], (4000, 3))
        np.column_stack([xyz, random.random(4000)]).astype("<f4").tofile(
            velodyne / f"{frame:06d}.bin"
        )
    poses = "".join(f"1 0 0 0 0 1 0 0 0 0 1 {frame}\n" for frame in range(3))
    (velodyne.parent / "poses.txt").write_text(poses)
    return root


@pytest.fixture(scope="module")
def shared(display, work_dir):
    """One window for most tests, which each begin at an open query and leave no part of it."""
    viewer = Viewer(display, work_dir.parent, [str(work_dir)], drawing_is_known)
    try:
        viewer.started()
        yield viewer
    finally:
        viewer.end()


def test_one_key_answers_and_undo_goes_back(shared, work_dir):
    before, first = len(kinds(work_dir)), shared.state()["query"]
    second = shared.press("1", lambda s: s["query"] != first)["query"]
    shared.press("s", lambda s: s["query"] != second)
    assert shared.press("ctrl+z", lambda s: s["query"] == second)["state"] == "open"
    assert shared.press("ctrl+y", lambda s: s["state"] == "skipped")["query"] == second
    shared.press("KP_1", lambda s: s["query"] != second)
    assert kinds(work_dir)[before:] == ["answer", "skip", "undo", "skip", "answer"]
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        assert (ledger.current(first).labels == 0).all()
        assert ledger.current(first).clicks >= 1


def test_a_key_before_the_next_voxel_is_seen_labels_nothing(shared, work_dir):
    before, first = len(kinds(work_dir)), shared.wait(lambda s: s["seen"])["query"]
    shared.do("key", "--delay", "0", "1", "2")  # faster than any picture
    state = shared.wait(lambda s: "not on the screen yet" in s["message"])
    assert state["query"] != first and kinds(work_dir)[before:] == ["answer"]
    shared.press("s", lambda s: s["query"] != state["query"])
    assert kinds(work_dir)[before:] == ["answer", "skip"]


def test_buttons_do_what_keys_do(shared, work_dir):
    query = shared.state()["query"]
    second = shared.click(shared.state()["buttons"]["unsure"], lambda s: s["query"] != query)
    shared.click(shared.state()["buttons"]["class 1"], lambda s: s["query"] != second["query"])
    assert kinds(work_dir)[-2:] == ["unsure", "answer"]
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        assert (ledger.current(second["query"]).labels == 1).all()


def test_the_brush_parts_a_voxel_and_two_classes_answer_it(shared, work_dir):
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        query = max(ledger.open_queries(), key=lambda each: each.num_points).id
    shared.press("g", lambda s: s["typing"])
    shared.type(str(query))
    shared.press("Return", lambda s: s["query"] == query and not s["typing"])
    pixels = np.array(shared.at_rest()["voxel"])
    far = pixels[np.argmax(np.linalg.norm(pixels - pixels[0], axis=1))]
    assert np.linalg.norm(far - pixels[0]) > 30  # so that the brush meets one only
    shared.press("b", lambda s: s["brushing"])
    shared.drag(tuple(pixels[0] - 3), tuple(pixels[0] + 2))
    shared.wait(lambda s: s["parts"] == 2)
    shared.press("3", lambda s: s["presses"][-1][0] == "3")
    shared.press("4", lambda s: s["query"] != query)
    assert kinds(work_dir)[-2:] == ["draft", "answer"]
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        assert ledger.current(query).labels[0] == 2
        assert set(ledger.current(query).labels.tolist()) == {2, 3}


def test_what_is_typed_is_a_note_and_no_label(shared, work_dir):
    before = len(kinds(work_dir))
    shared.press("n", lambda s: s["typing"])
    shared.type("wheel 12")
    shared.press("BackSpace", lambda s: s["typed"] == "wheel 1")
    shared.press("Return", lambda s: not s["typing"])
    assert kinds(work_dir)[before:] == ["note"]
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        (note,) = [e.answer.note for e in ledger.events() if e.answer.kind == "note"]
    assert note == "wheel 1"


def test_the_voxel_is_drawn_where_it_is_and_in_its_class_colour(shared):
    query = shared.state()["query"]
    shared.sees(shared.at_rest()["voxel"][0], ORANGE, SHOTS / "window.png")
    shared.press("1", lambda s: s["query"] != query)
    shared.press("g", lambda s: s["typing"])
    shared.type(str(query))
    shared.press("Return", lambda s: s["query"] == query and s["state"] == "answered")
    shared.sees(shared.at_rest()["voxel"][0], CAR, SHOTS / "answered.png")
    shared.press("Right", lambda s: s["state"] == "open")


def test_looking_changes_the_picture_and_no_label(shared, work_dir):
    before = len(kinds(work_dir))
    for key, name, values in (
        ("m", "mode", ["intensity", "prediction", "answer", "confusion", "height"]),
        ("v", "view", ["above", "side", "sensor"]),
        ("k", "background", ["light", "dark"]),
        ("ctrl+Up", "point_size", [4]),
        ("ctrl+Down", "point_size", [3]),
    ):
        for value in values:
            shared.press(key, lambda s, n=name, v=value: s[n] == v)
    own = shared.state()["points"]
    assert own == 4000
    shared.press("l", lambda s: s["accumulated"] and s["points"] > own)  # there are poses
    shared.press("l", lambda s: s["points"] == own)
    shared.press("i", lambda s: "no class yet" in s["message"])
    shared.press("h", lambda s: s["help"])
    shared.screenshot(SHOTS / "help.png")
    shared.press("h", lambda s: not s["help"])
    assert kinds(work_dir)[before:] == []


def test_escape_only_asks_and_keys_wait_meanwhile(shared, work_dir):
    before, query = len(kinds(work_dir)), shared.state()["query"]
    shared.press("Escape", lambda s: s["dialog"] and s["dialog"]["stay"][2] > 0)
    shared.do("key", "Escape", "1", "Return")
    shared.click(shared.state()["dialog"]["stay"], lambda s: not s["dialog"])
    assert shared.alive() and shared.state()["query"] == query
    assert kinds(work_dir)[before:] == []


def test_the_work_goes_on_after_a_kill_and_ends_with_the_button(display, tmp_path):
    work_dir = make_work_dir(make_scans(tmp_path / "kitti"), tmp_path / "run")
    window = Viewer(display, tmp_path, [str(work_dir)])
    try:
        first = window.started()["query"]
        window.press("2", lambda s: s["query"] != first)
        window.process.send_signal(signal.SIGKILL)
        window.process.wait()
    finally:
        window.end()
    again = Viewer(display, tmp_path, [str(work_dir)], drawing_is_known)
    try:
        assert again.started()["query"] != first
        assert again.press("ctrl+z", lambda s: s["query"] == first)["state"] == "open"
        assert kinds(work_dir) == ["answer", "undo"]
        assert again.close() == 0
        assert "9 of 9 voxels still wait" in again.output
    finally:
        again.end()


def test_a_dispute_is_decided_with_a_key_and_with_a_button(display, tmp_path):
    work_dir = make_work_dir(make_scans(tmp_path / "kitti"), tmp_path / "run", budget=2)
    first, second = dispute(work_dir)
    options = ["--review", "--annotator", "lead"]
    viewer = Viewer(display, tmp_path, [str(work_dir), *options], drawing_is_known)
    try:
        state = viewer.started()
        assert (state["query"], state["state"]) == (first, "disputed")
        viewer.sees(viewer.at_rest()["voxel"][0], CAR, SHOTS / "review.png")  # what anna said
        viewer.press("space", lambda s: s["message"] == "Next opinion")
        viewer.sees(viewer.at_rest()["voxel"][0], BICYCLE, SHOTS / "review.png")
        viewer.press("Return", lambda s: s["query"] == second)
        viewer.press("ctrl+z", lambda s: (s["query"], s["state"]) == (first, "disputed"))
        viewer.press("ctrl+y", lambda s: (s["query"], s["state"]) == (first, "answered"))
        viewer.press("Right", lambda s: s["query"] == second)
        viewer.click(viewer.state()["buttons"]["reject"], lambda s: s["state"] == "answered")
        viewer.click(viewer.state()["buttons"]["approve"], lambda s: s["query"] is None)
    finally:
        viewer.end()
    verdicts = ["approve", "undo", "approve", "reject", "approve"]
    assert kinds(work_dir)[-5:] == verdicts
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        assert [ledger.current(query).annotator for query in (first, second)] == ["ben"] * 2


def test_an_error_in_a_callback_is_logged_and_ends_the_window_cleanly(display, tmp_path):
    work_dir = make_work_dir(make_scans(tmp_path / "kitti"), tmp_path / "run")
    window = Viewer(display, tmp_path, [str(work_dir)], skipping_fails)
    try:
        first = window.started()["query"]
        window.press("1", lambda s: s["query"] != first)
        window.at_rest()
        window.do("key", "s")
        assert window.process.wait(timeout=60) == 1
    finally:
        window.end()
    assert "the disk is gone" in window.output
    assert "the disk is gone" in (work_dir / "viewer.log").read_text()
    assert kinds(work_dir) == ["answer"]
