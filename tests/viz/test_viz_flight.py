"""The camera's flight: from the one view to the other, by the shorter way, and never in the way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator3d.viz.camera import (
    VIEWS,
    CameraView,
    axes,
    perspective,
    preset_view,
    view_from_matrix,
)
from annotator3d.viz.flight import FLIGHT_SECONDS, Pilot, between

targets = st.tuples(*[st.floats(-60, 60)] * 2, st.floats(-3, 5)).map(np.array)
views = st.builds(preset_view, st.sampled_from(VIEWS), targets)


def same(one, other):
    assert np.allclose(one.eye, other.eye, atol=1e-6)
    assert np.allclose(one.target, other.target, atol=1e-6)
    assert np.allclose(axes(one), axes(other), atol=1e-6)


@given(views, views)
def test_it_begins_and_ends_where_it_should(start, stop):
    same(between(start, stop, 0.0), start)
    same(between(start, stop, 1.0), stop)


@given(views, views, st.floats(0, 1))
def test_on_its_way_it_is_a_camera_between_the_two(start, stop, share):
    found = between(start, stop, share)
    assert np.allclose(axes(found) @ axes(found).T, np.eye(3))
    way = stop.eye - start.eye
    along = (found.eye - start.eye) @ way
    assert -1e-9 <= along <= way @ way + 1e-6
    assert np.allclose(np.cross(found.eye - start.eye, way), 0, atol=1e-5)
    turn = angle(axes(start), axes(stop))
    assert angle(axes(start), axes(found)) + angle(axes(found), axes(stop)) <= turn + 1e-3


def angle(one, other):
    """Radians between two rotations."""
    return np.arccos(np.clip((np.trace(one @ other.T) - 1) / 2, -1, 1))


def test_half_of_a_quarter_turn_is_an_eighth():
    ahead = CameraView(np.zeros(3), np.array([5.0, 0, 0]), np.array([0, 0, 1.0]))
    left = CameraView(np.array([2.0, 0, 0]), np.array([2.0, 5, 0]), np.array([0, 0, 1.0]))
    found = between(ahead, left, 0.5)
    assert np.allclose(found.eye, [1, 0, 0])
    assert np.allclose(found.target, [1 + 5 / np.sqrt(2), 5 / np.sqrt(2), 0])
    assert np.allclose(found.up, [0, 0, 1])


def test_it_turns_around_without_a_break():
    ahead, behind = (preset_view("sensor", np.array([x, 0, 0.0])) for x in (20, -20))
    steps = [axes(between(ahead, behind, share)) for share in np.linspace(0, 1, 50)]
    turns = [angle(*pair) for pair in zip(steps[:-1], steps[1:], strict=True)]
    assert max(turns) < 0.2 and np.isclose(sum(turns), np.pi, atol=0.05)


@given(views)
def test_a_view_is_found_again_in_its_matrix(view):
    matrix, _ = perspective(view, 60.0, 1.5)
    same(view_from_matrix(matrix, np.linalg.norm(view.eye - view.target)), view)


@pytest.fixture
def there():
    return preset_view("side", np.array([10.0, 5, 0]))


HERE = preset_view("sensor", np.array([20.0, 0, 0]))


def test_a_flight_is_over_when_its_time_is(there):
    placed = []
    pilot = Pilot(placed.append)
    pilot.go(HERE, there, 100.0)
    assert pilot.is_flying and not placed
    for share in (0.1, 0.6, 0.9):
        pilot.step(100.0 + share * FLIGHT_SECONDS)
    assert pilot.is_flying
    pilot.step(100.0 + FLIGHT_SECONDS)
    assert not pilot.is_flying and placed[-1] is there
    left = [np.linalg.norm(view.eye - there.eye) for view in placed]
    assert sorted(left, reverse=True) == left and left[-1] == 0
    pilot.step(101.0)
    assert len(placed) == 4


def test_it_can_be_ended_at_once(there):
    placed = []
    pilot = Pilot(placed.append)
    pilot.go(HERE, there, 0.0)
    pilot.end()
    assert placed == [there] and not pilot.is_flying
    pilot.end()
    assert placed == [there]


def test_where_it_shall_not_fly_the_camera_jumps(there):
    placed = []
    pilot = Pilot(placed.append, flies=False)
    pilot.go(HERE, there, 0.0)
    assert placed == [there] and not pilot.is_flying
