"""The browser for real: a headless Chromium with keys and clicks; what counts is the ledger."""

from __future__ import annotations

import signal
from urllib.error import HTTPError
from urllib.request import urlopen

import browser_driver
import numpy as np
import pytest
from browser_driver import opened, started_browser
from viewer_driver import SHOTS, dispute, kinds, make_work_dir

from annotator3d.data.formats.kitti import read_bin
from annotator3d.data.scan import rows_of_cell
from annotator3d.ledger.ledger import Ledger
from annotator3d.viz.camera import FIELD_OF_VIEW, Camera, perspective, preset_view

pytestmark = [pytest.mark.gui, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def browser():
    with started_browser() as started:
        yield started


def serving(work_dir, *options):
    """`browser_driver.serving` where no window could open."""
    return browser_driver.serving(work_dir, "--debug", *options, env={"DISPLAY": ""})


def shows(page, text):
    page.get_by_text(text, exact=False).first.wait_for()


def press(page, *keys):
    """Press keys, the first once the voxel is on the screen and the others at once."""
    page.locator('[data-seen="true"]').wait_for(state="attached")
    for key in keys:
        page.keyboard.press(key)


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


@pytest.fixture
def work_dir(make_kitti, tmp_path):
    return make_work_dir(make_kitti(scans=1, points=4000), tmp_path / "run", budget=6)


def test_keys_and_buttons_label_undo_and_close(browser, work_dir):
    with serving(work_dir) as (process, link), opened(browser, link) as page:
        shows(page, "(number 1,")
        for key, number in (("1", 2), ("s", 3), ("Control+z", 2), ("Control+y", 2)):
            press(page, key)
            shows(page, f"(number {number},")
            if key == "Control+y":
                shows(page, "state: skipped")
        press(page, "ArrowRight")
        shows(page, "(number 3,")
        press(page)
        button(page, "bicycle [2]").click()
        shows(page, "(number 4,")
        assert kinds(work_dir) == ["answer", "skip", "undo", "skip", "answer"]
        press(page, "n")
        page.get_by_role("dialog").get_by_role("textbox").fill("wheel 1")
        page.get_by_role("dialog").get_by_role("button", name="Done").click()
        shows(page, "note: wheel 1")
        page.screenshot(path=SHOTS / "web.png")
        with opened(browser, link) as second:
            shows(second, "Somebody is labelling here already")
            second.keyboard.press("1")
        assert kinds(work_dir)[-2:] == ["answer", "note"]
        button(page, "Close").click()
        assert process.wait(timeout=60) == 0
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        assert (ledger.current(1).labels == 0).all() and (ledger.current(3).labels == 1).all()


def test_a_box_that_is_dragged_parts_the_voxel(browser, work_dir, tmp_path):
    with (
        serving(work_dir) as (_, link),
        Ledger.read(work_dir / "ledger.sqlite") as ledger,
        opened(browser, link, 1440, 900) as page,  # room for a box beside the panel
    ):
        shows(page, "(number 1,")
        press(page, "b")
        shows(page, "drag a box over points")
        frame = page.locator("canvas").first.bounding_box()
        query, size = ledger.query(1), ledger.voxel_size
        xyz, _ = read_bin(tmp_path / "kitti/sequences/00/velodyne/000000.bin")
        view = preset_view("sensor", (np.array(query.cell) + 0.5) * size)
        seen = perspective(view, FIELD_OF_VIEW, frame["width"] / frame["height"])
        pixels, _ = Camera(*seen, 1, 1).project(xyz[rows_of_cell(xyz, query.cell, size)])
        middle = pixels[:, 0].mean()
        page.wait_for_timeout(500)  # the browser hears of the brush after the words
        drag(page, frame, (middle, 0.1), (0.9, 0.9))
        shows(page, "part 1 of 2 (brush)")
        page.screenshot(path=SHOTS / "web_brush.png")
        press(page, "1")
        shows(page, "part 2 of 2")
        press(page, "2")
        shows(page, "(number 2,")
        assert ledger.current(1).labels.tolist() == np.where(pixels[:, 0] > middle, 0, 1).tolist()


def drag(page, frame, low, high):
    """A box between two corners, from 0 to 1 of a frame."""
    (x, y), (right, bottom) = [
        (frame["x"] + u * frame["width"], frame["y"] + v * frame["height"]) for u, v in (low, high)
    ]
    page.mouse.move(x, y)
    page.mouse.down()
    for share in (0.3, 0.6, 1.0):
        page.mouse.move(x + share * (right - x), y + share * (bottom - y))
    page.mouse.up()


def test_elsewhere_only_the_whole_link_is_let_in(browser, work_dir):
    with serving(work_dir, "--host", "0.0.0.0") as (process, link):
        link = link.replace("0.0.0.0", "127.0.0.1")
        address, token = link.split("?token=")
        for wrong in (address, f"{address}?token={token[::-1]}"):
            with pytest.raises(HTTPError, match="403"):
                urlopen(wrong, timeout=60)
        with opened(browser, link) as page:
            shows(page, "(number 1,")
            assert "token" not in page.url  # not left in the history or on the screen
            press(page, "u")
            shows(page, "(number 2,")
            assert kinds(work_dir) == ["unsure"]
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
            assert "all answers are saved" in process.output


def test_a_dispute_is_decided_in_the_browser(browser, work_dir):
    first, second = dispute(work_dir)
    with (
        serving(work_dir, "--review", "--annotator", "lead") as (_, link),
        opened(browser, link) as page,
    ):
        shows(page, f"(number {first},")
        shows(page, "they differ in")
        press(page, "Space")
        shows(page, "> 2. ben")
        page.screenshot(path=SHOTS / "web_review.png")
        press(page, "Enter")
        shows(page, f"(number {second},")
        press(page)
        button(page, "Reject [s]").click()
        shows(page, "state: answered")
        press(page)
        button(page, "Approve [enter]").click()
        shows(page, "no voxel on the screen")
    assert kinds(work_dir)[-3:] == ["approve", "reject", "approve"]
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        assert [ledger.current(query).annotator for query in (first, second)] == ["ben"] * 2


def test_who_comes_back_goes_on_where_he_was(browser, work_dir):
    with serving(work_dir) as (_, link), opened(browser, link) as page:
        shows(page, "(number 1,")
        press(page, "1")
        shows(page, "(number 2,")
        page.reload()
        shows(page, "(number 2,")
        press(page, "Control+z")
        shows(page, "(number 1,")
    assert kinds(work_dir) == ["answer", "undo"]


BOTH = """keys => keys.forEach(key => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", {key, code: "Digit" + key, bubbles: true})))"""


def test_a_key_before_the_next_voxel_is_seen_labels_nothing(browser, work_dir):
    with serving(work_dir) as (_, link), opened(browser, link) as page:
        shows(page, "(number 1,")
        press(page)
        page.evaluate(BOTH, ["1", "1"])  # faster than any picture
        shows(page, "not on the screen yet")
        shows(page, "(number 2,")
        assert kinds(work_dir) == ["answer"]
        press(page, "2")
        shows(page, "(number 3,")
        assert kinds(work_dir) == ["answer", "answer"]
