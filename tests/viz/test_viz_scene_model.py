"""What is drawn, as arrays: colours, pins, hidden points, and where the camera stands."""

from __future__ import annotations

import numpy as np
import pytest
from fake_frontend import PALETTE, open_viewer
from hypothesis import given
from hypothesis import strategies as st
from session_world import CELLS, SIZE, make_world, predict

from annotator3d.data.scan import rows_of_cell, rows_of_cells
from annotator3d.data.scan_source import Pose
from annotator3d.viz.boxes import box_edges
from annotator3d.viz.camera import VIEWS, Camera, perspective, preset_view
from annotator3d.viz.colours import (
    INK,
    MODES,
    NO_CLASS,
    NONE,
    OPEN_PIN,
    PART,
    PASSED_PIN,
    PointValues,
    colours,
    ramp,
)
from annotator3d.viz.dropdowns import dropdowns
from annotator3d.viz.scene_model import swatch
from annotator3d.viz.view_settings import ViewSettings


@pytest.fixture
def viewer(tmp_path):
    """A viewer on predictions 0, 1, 2 in turn; query n lies in cell n - 1 of ``00/0``."""
    stored = predict(lambda _, scan: (np.arange(len(scan)) % 3).astype(np.uint8))
    controller, _, _ = open_viewer(tmp_path / "ledger.sqlite", predictions=stored)
    controller.start()
    return controller


def rows(controller, query):
    cell = controller.session.query(query).cell
    return rows_of_cell(controller.session.view.scan.xyz, cell, SIZE)


def test_the_points_of_the_current_voxel_stand_out(viewer):
    scene_model, mine = viewer.scene_model, rows(viewer, viewer.session.current.id)
    found = scene_model.colours()
    assert found.shape == (len(scene_model.xyz), 3)
    assert np.allclose(found[mine], PART)  # the next class goes to all of them
    viewer.press("z")
    found = scene_model.colours()[mine]
    part = viewer.session.parts.mask
    assert 0 < part.sum() < len(part)
    assert np.allclose(found[part], PART) and np.allclose(found[~part], 1.0)
    viewer.press("3")  # a draft: its points have their class, the rest is the next part
    found = scene_model.colours()[mine]
    assert np.allclose(found[part], PALETTE[2]) and np.allclose(found[~part], PART)


def test_answers_are_seen_in_their_colours(viewer):
    first, second, third = viewer.session.matching()[:3]
    viewer.press("2")
    viewer.press("x")
    viewer.view.set_mode("answer")
    found = viewer.scene_model.colours()
    assert np.allclose(found[rows(viewer, first)], PALETTE[1])
    assert np.allclose(found[rows(viewer, second)], NO_CLASS)
    far = np.linalg.norm(viewer.scene_model.xyz, axis=1) > 40
    assert np.allclose(found[far], NONE)
    assert viewer.session.current.id == third


def test_answers_of_other_scans_are_drawn_where_they_are_in_the_world(tmp_path):
    path = tmp_path / "ledger.sqlite"
    source = make_world(path)
    for at, scan in enumerate(("00/0", "00/1")):
        matrix = np.eye(4)
        matrix[0, 3] = at
        source.poses[scan] = Pose("w", matrix)
    controller, frontend, _ = open_viewer(path, source=source)
    controller.start()
    assert all(len(part) == 0 for part in controller.scene_model.nearby())
    for key in "232":
        controller.press(key)
    assert controller.session.current.scan == "00/1"
    xyz, painted = controller.scene_model.nearby()
    there = source.scans["00/0"].xyz
    near = [near.query for near in controller.session.nearby()]
    cells = [controller.session.query(query).cell for query in near]
    expected = [there[rows_of_cell(there, cell, SIZE)] - [1, 0, 0] for cell in cells]
    assert len(near) > 1 and np.allclose(xyz, np.concatenate(expected), atol=1e-5)
    labels = np.concatenate([controller.session.labels_of(query) for query in near])
    assert np.allclose(painted, PALETTE[labels])
    (dropdown,) = [c for c in dropdowns(controller) if c.text == "nearby answers"]
    dropdown.choose("hidden")
    assert all(len(part) == 0 for part in controller.scene_model.nearby())
    controller.view.set_neighbours(1)  # the scan itself, with its answers
    controller.view.set_mode("answer")
    own = len(controller.session.view.scan)
    found = controller.scene_model.colours()[own:][rows_of_cell(there, cells[0], SIZE)]
    assert np.allclose(found, PALETTE[controller.session.labels_of(near[0])])


def test_pins_tell_open_answered_and_passed(viewer):
    for key in "3su":
        viewer.press(key)
    viewer.go_to("1")
    order = {query: at for at, query in enumerate(viewer.scene_model.queries)}
    pins = viewer.scene_model.pins()
    assert np.allclose(pins[order[1]], PALETTE[2])
    assert np.allclose(pins[[order[2], order[3]]], PASSED_PIN)
    viewer.press("ctrl+z")
    assert np.allclose(viewer.scene_model.pins()[order[3]], OPEN_PIN)


def test_hiding_and_isolating_never_hides_what_is_asked_about(viewer):
    scene_model, mine = viewer.scene_model, rows(viewer, viewer.session.current.id)
    assert scene_model.hidden() is None
    predicted = np.arange(len(scene_model.xyz)) % 3
    expected = predicted == 1
    expected[mine] = False
    viewer.view.hide_class(1, True)
    assert np.array_equal(scene_model.hidden(), expected)
    viewer.view.hide_class(1, False)
    assert scene_model.hidden() is None
    viewer.view.show_only(2)
    expected = predicted != 2
    expected[mine] = False
    assert np.array_equal(scene_model.hidden(), expected)


def test_isolating_takes_the_class_of_the_answer(viewer):
    viewer.press("2")
    viewer.press("left") if viewer.session.filter.states is None else viewer.go_to("1")
    viewer.view.isolate()
    assert viewer.scene_model.settings.only == 1
    viewer.view.isolate()
    assert viewer.scene_model.settings.only is None


def test_without_a_prediction_its_modes_are_grey(tmp_path):
    controller, _, _ = open_viewer(tmp_path / "ledger.sqlite")
    controller.start()
    away = np.linalg.norm(controller.scene_model.xyz, axis=1) > 40
    for mode in ("prediction", "confusion"):
        controller.view.set_mode(mode)
        assert np.allclose(controller.scene_model.colours()[away], NONE)


def test_colours_by_hand():
    ids = np.array([0, 2, 255, 254], np.uint8)
    values = PointValues(
        np.float32([0, 1, 2, 3]), np.float32([1, 1, 1, 1]), ids, ids, np.float32([0, 1, np.nan, 1])
    )
    for mode in ("prediction", "answer"):
        expected = [PALETTE[0], PALETTE[2], NO_CLASS, NONE]
        assert np.allclose(colours(values, mode, PALETTE), expected)
    assert np.allclose(colours(values, "confusion", PALETTE)[2], NONE)
    height = colours(values, "height", PALETTE)
    assert np.allclose(height[0], (0.267004, 0.004874, 0.329415), atol=0.01)  # viridis' ends
    assert np.allclose(height[3], (0.993248, 0.906157, 0.143936), atol=0.01)
    assert len({tuple(row) for row in height.tolist()}) == 4
    assert len(np.unique(colours(values, "intensity", PALETTE), axis=0)) == 1
    with pytest.raises(ValueError, match="mode: expected one of height"):
        colours(values, "hight", PALETTE)


def test_a_far_outlier_does_not_take_the_colours_of_all_others():
    values = np.linspace(0, 1, 1000, dtype=np.float32)
    values[-1] = 1e6
    assert np.allclose(ramp(values, "viridis")[500], ramp(values[:-1], "viridis")[500], atol=0.05)


def test_numbers_are_read_on_each_background():
    assert sum(INK["dark"]) == 3 and sum(INK["light"]) == 0


@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_rows_of_many_cells_are_those_of_each(seed, count):
    random = np.random.default_rng(seed)
    xyz = random.uniform(-2, 2, (200, 3)).astype(np.float32)
    cells = [tuple(map(int, c)) for c in random.integers(-9, 9, (count, 3))]
    found = rows_of_cells(xyz, cells, SIZE)
    for cell, at in zip(cells, found, strict=True):
        assert np.array_equal(at, rows_of_cell(xyz, cell, SIZE))


def test_centres_are_the_middles_of_the_voxels(viewer):
    order = {query: at for at, query in enumerate(viewer.scene_model.queries)}
    for query, cell in enumerate(CELLS, start=1):
        middle = (np.array(cell) + 0.5) * SIZE
        assert np.allclose(viewer.scene_model.centres[order[query]], middle)


def test_choices_go_round_and_sizes_have_limits():
    settings = ViewSettings()
    for name, values in (("mode", MODES), ("view", VIEWS), ("background", ("dark", "light"))):
        start, seen = getattr(settings, name), set()
        for _ in values:
            settings.cycle(name)
            seen.add(getattr(settings, name))
        assert seen == set(values) and getattr(settings, name) == start
    for by, end in ((-1, 1), (1, 12)):
        for _ in range(20):
            settings.resize(by)
        assert settings.point_size == end


def test_a_swatch_has_exactly_the_colour():
    assert (swatch(np.float32([100, 150, 245]) / 255) == [100, 150, 245]).all()


targets = st.tuples(*[st.floats(-60, 60)] * 2, st.floats(-3, 5)).map(np.array)


@given(st.sampled_from(VIEWS), targets)
def test_each_view_has_the_voxel_in_the_middle_and_the_sky_up(name, target):
    view = preset_view(name, target)
    camera = Camera(*perspective(view, 60.0, 1.5), 900, 600)
    (pixel,), (distance,) = camera.project(target[None])
    assert np.allclose(pixel, [450, 300], atol=0.01)
    assert 1.0 <= distance <= 12.5
    assert np.isclose(distance, np.linalg.norm(view.eye - target), rtol=1e-6)
    if name != "above":
        (above,), _ = camera.project(target[None] + [0, 0, 0.2])
        assert above[1] < 300 and np.isclose(above[0], 450, atol=0.01)


def test_views_by_hand():
    target = np.array([10.0, 0, -1])
    above, sensor, side = (preset_view(name, target) for name in ("above", "sensor", "side"))
    assert np.allclose(above.eye, [10, 0, 11])
    assert 0 < sensor.eye[0] < 10 and np.isclose(sensor.eye[1], 0)  # between sensor and voxel
    assert np.isclose(side.eye[0], 10) and np.isclose(abs(side.eye[1]), 6)
    with pytest.raises(ValueError, match="view: expected one of"):
        preset_view("top", target)


def test_perspective_shows_half_the_field_of_view_at_the_edge():
    view = preset_view("side", np.zeros(3))
    camera = Camera(*perspective(view, 60.0, 2.0), 800, 400)
    distance = np.linalg.norm(view.eye)
    back = view.eye / distance
    right = np.cross([0, 0, 1.0], back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    half = distance * np.tan(np.radians(30))
    pixels, _ = camera.project(np.array([half * up, -half * up, 2 * half * right]))
    assert np.allclose(pixels, [[400, 0], [400, 400], [800, 200]], atol=1e-6)


def test_the_edges_of_boxes_by_hand():
    found = box_edges([[1, 2, 3], [10, 0, 0]], 2.0)
    assert found.shape == (24, 2, 3)
    lengths = np.linalg.norm(found[:, 1] - found[:, 0], axis=1)
    assert np.allclose(lengths, 2)
    corners = {tuple(corner) for corner in found[:12].reshape(-1, 3)}
    assert corners == {(x, y, z) for x in (0, 2) for y in (1, 3) for z in (2, 4)}
    assert len({frozenset(map(tuple, edge)) for edge in found[:12]}) == 12
    assert found[12:].reshape(-1, 3).mean(0).tolist() == [10, 0, 0]
