"""Picking: the projection against a camera written out by hand, the picks against slow loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator3d.viz import picking
from annotator3d.viz.camera import Camera

WIDTH, HEIGHT, FIELD = 640, 400, 60.0


def look(eye, target, up=(0, 0, 1)):
    """The view matrix of a camera at `eye` (the textbook's look-at)."""
    eye, target = np.array(eye, float), np.array(target, float)
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(back, right), back])
    view = np.eye(4)
    view[:3, :3], view[:3, 3] = rotation, -rotation @ eye
    return view


def perspective(near=0.1, far=200.0):
    """OpenGL's perspective matrix with a vertical field of view."""
    f = 1 / math.tan(math.radians(FIELD) / 2)
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[1, 1] = f * HEIGHT / WIDTH, f
    matrix[2, 2], matrix[2, 3] = (far + near) / (near - far), 2 * far * near / (near - far)
    matrix[3, 2] = -1
    return matrix


def orthographic(size=5.0, near=0.1, far=200.0):
    """OpenGL's orthographic matrix, `size` metres from the middle to the upper edge."""
    matrix = np.diag([HEIGHT / WIDTH / size, 1 / size, -2 / (far - near), 1])
    matrix[2, 3] = -(far + near) / (far - near)
    return matrix


EYE, TARGET = np.array([-4.0, -3.0, 2.5]), np.array([1.0, 0.5, 0.0])
CAMERA = Camera(look(EYE, TARGET), perspective(), WIDTH, HEIGHT)
ABOVE = Camera(look((0, 0, 20), (0, 0, 0), up=(0, 1, 0)), orthographic(), WIDTH, HEIGHT)
BOX = np.random.default_rng(0).uniform([-6, -6, -1], [6, 6, 3], (400, 3))


def by_hand(xyz):
    """Pixel and distance of one point for CAMERA, by angles; None if it is behind the eye."""
    ahead = (TARGET - EYE) / np.linalg.norm(TARGET - EYE)
    right = np.cross(ahead, (0, 0, 1))
    right /= np.linalg.norm(right)
    up = np.cross(right, ahead)
    offset = np.asarray(xyz) - EYE
    depth = offset @ ahead
    if not 0.1 <= depth <= 200:
        return None
    scale = HEIGHT / 2 / math.tan(math.radians(FIELD) / 2)  # pixels for a slope of 1
    x = WIDTH / 2 + scale * (offset @ right) / depth
    return x, HEIGHT / 2 - scale * (offset @ up) / depth, depth


def test_projection_is_that_of_a_pinhole_camera():
    pixels, depth = CAMERA.project(BOX)
    behind = 0
    for point, pixel, distance in zip(BOX, pixels, depth, strict=True):
        expected = by_hand(point)
        if expected is None:
            behind += 1
            assert np.isnan(pixel).all() and np.isnan(distance)
        else:
            assert (*pixel, distance) == pytest.approx(expected)
    assert 10 < behind < 200


def test_points_behind_the_eye_are_not_seen_whatever_the_depth_convention():
    """A far plane at infinity and depth from 1 to 0, as newer graphics interfaces have it."""
    reversed_depth = perspective()
    reversed_depth[2] = [0, 0, 0, 0.1]
    pixels, depth = Camera(CAMERA.view, reversed_depth, WIDTH, HEIGHT).project(BOX)
    expected, expected_depth = CAMERA.project(BOX)
    assert np.allclose(pixels, expected, equal_nan=True)
    assert np.allclose(depth, expected_depth, equal_nan=True)


def test_an_orthographic_view_from_above_shows_a_map():
    pixels, depth = ABOVE.project([[0, 0, 0], [1, 0, 0], [0, 1, 3]])
    assert np.allclose(pixels, [[320, 200], [360, 200], [320, 160]])
    assert np.allclose(depth, [20, 20, 17])


def test_the_ray_through_a_pixel_meets_what_is_seen_there():
    pixels, depth = CAMERA.project(BOX)
    for point, pixel in zip(BOX[~np.isnan(depth)], pixels[~np.isnan(depth)], strict=True):
        origin, direction = CAMERA.ray(pixel)
        assert np.linalg.norm(direction) == pytest.approx(1)
        away = np.linalg.norm(np.cross(point - origin, direction))
        assert away < 1e-6 * max(np.linalg.norm(point - origin), 1)


def nearest_by_loop(pixel, radius):
    best = None
    for index, point in enumerate(BOX):
        seen = by_hand(point)
        if seen and math.dist(seen[:2], pixel) <= radius:
            key = (seen[2], math.dist(seen[:2], pixel), index)
            best = key if best is None or key < best else best
    return None if best is None else best[2]


pixel = st.tuples(st.floats(-20, WIDTH + 20), st.floats(-20, HEIGHT + 20))


@settings(max_examples=40, deadline=None)
@given(pixel, st.sampled_from([2.0, 8.0, 40.0]))
def test_a_click_takes_the_nearest_point_in_depth(clicked, radius):
    assert picking.pick_point(CAMERA, BOX, clicked, radius) == nearest_by_loop(clicked, radius)


def test_a_click_on_a_point_takes_it_unless_another_is_in_front():
    near, behind = TARGET, TARGET + (TARGET - EYE)
    (clicked,), _ = CAMERA.project(near[None])
    assert picking.pick_point(CAMERA, [behind, near], clicked) == 1
    assert picking.pick_point(CAMERA, [behind], clicked) == 0
    assert picking.pick_point(CAMERA, np.zeros((0, 3)), clicked) is None


@settings(max_examples=60, deadline=None)
@given(pixel, st.sampled_from([0.005, 0.02, 0.1]))
def test_a_ray_takes_the_nearest_point_within_its_angle(clicked, angle):
    origin, direction = CAMERA.ray(clicked)
    best = None
    for index, point in enumerate(BOX):
        along = (point - origin) @ direction
        away = np.linalg.norm(np.cross(point - origin, direction))
        if along > 0 and math.atan2(away, along) <= angle:
            best = min(best or (math.inf, 0), (along, index))
    found = picking.pick_on_ray(origin, 3 * direction, BOX, angle)
    assert found == (None if best is None else best[1])


def test_a_ray_needs_a_direction():
    with pytest.raises(ValueError, match="direction"):
        picking.pick_on_ray([0, 0, 0], [0, 0, 0], BOX)


def distance_to_path(point, path):
    """By trying many places on each segment."""
    steps = np.linspace(0, 1, 300)[:, None]
    places = [a + (b - a) * steps for a, b in zip(path[:-1], path[1:], strict=True)]
    return np.linalg.norm(np.concatenate([path[:1], *places]) - point, axis=1).min()


@settings(max_examples=20, deadline=None)
@given(st.lists(pixel, min_size=1, max_size=5), st.sampled_from([5.0, 25.0]))
def test_a_stroke_paints_what_is_near_its_path(stroke, radius):
    path = np.array(stroke)
    mask = picking.brush(CAMERA, BOX, path, radius)
    for point, painted in zip(BOX, mask, strict=True):
        seen = by_hand(point)
        away = math.inf if seen is None else distance_to_path(np.array(seen[:2]), path)
        if abs(away - radius) > 0.1:  # the places that were tried are up to 2 pixels apart
            assert painted == (away < radius)


def test_a_rectangle_takes_what_is_inside_from_any_corner():
    pixels, _ = CAMERA.project(BOX)
    expected = [bool(200 <= x <= 400 and 100 <= y <= 250) for x, y in pixels]
    assert picking.rectangle(CAMERA, BOX, (400, 100), (200, 250)).tolist() == expected
    assert 5 < sum(expected) < 395


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"view": np.eye(3)}, "view matrix"),
        ({"projection": np.full((4, 4), np.nan)}, "projection matrix"),
        ({"width": 0}, "no pixels"),
    ],
)
def test_a_camera_that_is_none_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Camera(**{"view": np.eye(4), "projection": np.eye(4), "width": 9, "height": 9, **change})
