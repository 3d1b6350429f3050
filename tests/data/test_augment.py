"""Augmentation is the published one and depends on (seed, epoch, index) only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator3d.data.augment import augment

POINTS = np.random.default_rng(7).uniform(-40, 40, (60, 3)).astype(np.float32)
ONE_OF_EACH = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)


def affine(seed: int, epoch: int, index: int, **settings) -> tuple[np.ndarray, np.ndarray]:
    """The map that augment applied, read off the images of origin and unit vectors."""
    moved = augment(ONE_OF_EACH, seed, epoch, index, **settings).astype(np.float64)
    return (moved[1:] - moved[0]).T, moved[0]


@settings(max_examples=40)
@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(0, 30000))
def test_distances_are_kept_up_to_one_scale_and_z_stays_up(seed, epoch, index):
    moved = augment(POINTS, seed, epoch, index).astype(np.float64)
    before = np.linalg.norm(POINTS[1:] - POINTS[:-1], axis=1)
    ratio = np.linalg.norm(moved[1:] - moved[:-1], axis=1) / before
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-5)
    assert 0.9 <= ratio.mean() + 1e-5 and ratio.mean() <= 1.1 + 1e-5
    rise = POINTS[1:, 2] - POINTS[:-1, 2]
    np.testing.assert_allclose(moved[1:, 2] - moved[:-1, 2], rise * ratio.mean(), atol=1e-4)


def test_same_arguments_same_sample_and_any_other_argument_another():
    samples = [augment(POINTS, *key) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]]
    np.testing.assert_array_equal(samples[0], augment(POINTS, 0, 0, 0))
    for a in range(4):
        for b in range(a):
            assert not np.allclose(samples[a], samples[b])


def test_global_random_state_is_neither_used_nor_moved():
    np.random.seed(1)
    first, state = augment(POINTS, 0, 0, 0), np.random.get_state()[1].copy()
    np.random.seed(2)
    np.testing.assert_array_equal(first, augment(POINTS, 0, 0, 0))
    np.random.seed(1)
    np.testing.assert_array_equal(state, np.random.get_state()[1])


def test_input_is_left_alone_and_the_result_is_new():
    before = POINTS.copy()
    before.setflags(write=False)
    moved = augment(before, 3, 1, 4)
    np.testing.assert_array_equal(before, POINTS)
    assert moved.dtype == np.float32 and moved.flags.writeable


def test_everything_switched_off_gives_the_points_themselves():
    same = augment(POINTS, 5, 5, 5, rotate=False, scale=(1.0, 1.0), flip=False, translate=0.0)
    np.testing.assert_array_equal(same, POINTS)
    assert not np.shares_memory(same, POINTS)


def test_switching_one_part_off_leaves_the_others_as_they_were():
    matrix, shift = affine(0, 0, 9)
    turned_off, same_shift = affine(0, 0, 9, rotate=False)
    np.testing.assert_array_equal(shift, same_shift)
    np.testing.assert_allclose(
        abs(np.linalg.det(matrix)), abs(np.linalg.det(turned_off)), rtol=1e-5
    )


def test_each_of_the_four_flips_comes_in_a_quarter_of_the_samples():
    only = {"rotate": False, "scale": (1.0, 1.0), "translate": 0.0}
    signs = [tuple(np.diag(affine(0, 0, i, **only)[0]).tolist()) for i in range(800)]
    expected = {(1, 1, 1), (-1, 1, 1), (1, -1, 1), (-1, -1, 1)}
    assert set(signs) == expected
    for sign in expected:
        assert 150 <= signs.count(sign) <= 250


def test_angle_scale_and_shift_have_the_published_distributions():
    maps = [affine(0, 0, i, flip=False) for i in range(800)]
    angles = np.array([np.arctan2(m[1, 0], m[0, 0]) for m, _ in maps])
    scales = np.array([np.linalg.norm(m[:, 0]) for m, _ in maps])
    shifts = np.array([shift for _, shift in maps])
    quadrants = np.bincount(np.floor(angles / (np.pi / 2)).astype(int) + 2, minlength=4)
    assert quadrants.min() > 150
    assert 0.9 <= scales.min() < 0.905 and 1.095 < scales.max() <= 1.1 + 1e-6
    assert abs(scales.mean() - 1.0) < 0.01
    np.testing.assert_allclose(shifts.std(axis=0), 0.1, rtol=0.1)
    np.testing.assert_allclose(shifts.mean(axis=0), 0.0, atol=0.015)
    assert abs(np.corrcoef(shifts.T) - np.eye(3)).max() < 0.15


def test_scan_without_points_stays_without_points():
    assert augment(np.zeros((0, 3), np.float32), 0, 0, 0).shape == (0, 3)


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"\[N, 3\], got \(5, 4\)"):
        augment(np.zeros((5, 4), np.float32), 0, 0, 0)
