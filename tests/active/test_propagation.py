"""What answers teach other scans, against a slow reference that goes point by point."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posed import STATIC, pose, scan_of

from annotator3d.active.propagation.lesson import lesson
from annotator3d.active.propagation.places import inverse_of, to_world
from annotator3d.active.propagation.sight import Sight
from annotator3d.active.propagation.surface import SurfaceRule, spread
from annotator3d.active.propagation.teaching import TeachingRule, Witness, distance, teach


def reference(xyz, answers, answered, target, others, cell):
    """Row -> (label, nearest voting scan) without any look at what is seen through; conflicts."""
    votes = defaultdict(list)
    for k, other in [*enumerate(others), (None, target)]:
        for place, label in zip(to_world(other.xyz, other.pose), other.labels, strict=True):
            votes[tuple(math.floor(v / cell) for v in place)].append((k, int(label)))
    taught, conflicts = {}, 0
    for row, place in enumerate(to_world(xyz, target.pose)):
        here = votes.get(tuple(math.floor(v / cell) for v in place), [])
        scans, classes = {k for k, _ in here if k is not None}, {label for _, label in here}
        if not scans or answered[row]:
            continue
        if len(classes) > 1:
            conflicts += 1
        elif STATIC[next(iter(classes))]:
            near = min(scans, key=lambda k: (distance(target.pose, others[k].pose), k))
            taught[row] = next(iter(classes)), near
    return taught, conflicts


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 4), st.sampled_from([0.3, 1.0, 3.0]))
def test_points_get_the_label_on_which_all_answers_at_their_place_agree(seed, others, cell):
    random = np.random.default_rng(seed)

    def witness():
        n = int(random.integers(0, 40))
        xyz = random.uniform(-3, 3, (n, 3)).astype(np.float32)
        matrix = pose(*random.uniform(-2, 2, 3), turn=random.uniform(0, 6))
        return Witness(
            matrix, xyz, random.choice([0, 1, 2, 3], n, p=[0.7, 0.1, 0.1, 0.1]).astype(np.uint8)
        )

    xyz = random.uniform(-3, 3, (60, 3)).astype(np.float32)
    answered = random.random(60) < 0.3
    answers = np.where(answered & (random.random(60) < 0.8), random.integers(0, 4, 60), 255)
    answers = answers.astype(np.uint8)
    has = answers != 255
    target = Witness(pose(0.5, turn=1.0), xyz[has], answers[has])
    teachers = [witness() for _ in range(others)]
    rule = TeachingRule(cell, None, STATIC)
    found = teach(xyz, answers, answered, target, teachers, rule)
    taught, conflicts = reference(xyz, answers, answered, target, teachers, cell)
    rows = dict(
        zip(
            found.rows.tolist(),
            zip(found.labels.tolist(), found.source.tolist(), strict=True),
            strict=True,
        )
    )
    assert rows == taught and found.conflicts == conflicts
    # An independent check: what a scan without its own answers would be taught.
    silent = Witness(target.pose, xyz[:0], answers[:0])
    nothing = np.full(60, 255, np.uint8)
    alone, _ = reference(xyz, nothing, np.zeros(60, bool), silent, teachers, cell)
    checked = dict(zip(found.checked_rows.tolist(), found.checked_labels.tolist(), strict=True))
    assert checked == {row: label for row, (label, _) in alone.items() if has[row]}
    # The order of the scans does not matter.
    again = teach(xyz, answers, answered, target, teachers[::-1], rule)
    assert np.array_equal(again.rows, found.rows) and np.array_equal(again.labels, found.labels)


WALL = [[10.0, y, z] for y in np.arange(-3, 3, 0.05) for z in np.arange(-1, 2, 0.05)]


def test_a_scan_sees_through_what_stands_before_its_wall_and_not_what_is_behind():
    sight = Sight(np.array(WALL, np.float32))
    places = np.array([[5, 0, 0.5], [9.9, 0, 0.5], [10, 1, 0], [12, 0, 0.5], [-5, 0, 0], [5, 0, 5]])
    assert sight.sees_through(places, 0.5).tolist() == [True, False, False, False, False, False]
    assert math.isnan(sight.share_seen_through(places, 0.5))  # too few to say anything


def test_what_drives_by_on_one_side_is_not_taken_for_a_pose_that_is_wrong():
    turn = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    around = np.column_stack([np.cos(turn), np.sin(turn), np.zeros(3000)])
    sight = Sight(20 * around)
    assert sight.share_seen_through(10 * around, 0.5) == 1
    assert sight.share_seen_through(20 * around, 0.5) == 0
    driving = np.where(turn[:, None] < 2, 10 * around, 20 * around)  # a third of the view
    assert sight.share_seen_through(driving, 0.5) == 0
    shifted = np.where((np.arange(3000) % 10 == 0)[:, None], 10 * around, 20 * around)
    assert sight.share_seen_through(shifted, 0.5) == pytest.approx(0.1, abs=0.01)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_a_place_is_seen_through_only_if_all_returns_around_it_are_behind(seed):
    """By angles, point by point: nothing nearer than a quarter degree may be before or at it."""
    random = np.random.default_rng(seed)
    xyz = random.normal(size=(400, 3)) * [10, 10, 1] + [0, 0, 0.1]
    places = random.normal(size=(50, 3)) * [10, 10, 1]
    ranges, here = np.linalg.norm(xyz, axis=1), np.linalg.norm(places, axis=1)
    cosine = (xyz / ranges[:, None]) @ (places / here[:, None]).T
    near = cosine > np.cos(np.radians(0.25))
    blocked = (near & (ranges[:, None] <= here + 0.5 - 1e-3)).any(0)
    far = cosine > np.cos(np.radians(2.5))  # the image's pixels and their neighbours reach less far
    seen = Sight(xyz).sees_through(places, 0.5)
    assert not (seen & blocked).any()
    level = np.abs(places[:, 2]) < np.hypot(places[:, 0], places[:, 1])  # pixels shrink above
    assert not (seen & level & ~(far & (ranges[:, None] > here + 0.5 - 1e-3)).any(0)).any()


def test_what_was_not_there_then_is_not_taught():
    """A foot at the cell of an answered piece of ground: the other scan saw a wall through it."""
    ground = np.array([[5.0, 0.0, 0.02]], np.float32)
    other = Witness(pose(0, 0, 0), ground, np.zeros(1, np.uint8), Sight(np.array(WALL, np.float32)))
    foot = np.array([[5.01, 0.01, 0.05]], np.float32)
    target = Witness(pose(), foot[:0], np.zeros(0, np.uint8))
    none = np.full(1, 255, np.uint8)
    for metres, rows in ((None, [0]), (0.5, [])):
        found = teach(foot, none, none == 0, target, [other], TeachingRule(0.1, metres, STATIC))
        assert found.rows.tolist() == rows
    assert found.unseen == 1


def test_a_vote_that_the_scan_now_sees_through_is_not_counted():
    gone = np.array([[5.0, 0.0, 0.5]], np.float32)
    other = Witness(pose(), gone, np.zeros(1, np.uint8))
    now = np.array([[5.02, 0.02, 0.52], *WALL], np.float32)
    sight = Sight(now[1:])
    target = Witness(pose(), now[:0], np.zeros(0, np.uint8), sight)
    none = np.full(len(now), 255, np.uint8)
    found = teach(now, none, none == 0, target, [other], TeachingRule(0.1, 0.5, STATIC))
    assert found.freed == 1 and not len(found.rows)


def test_a_pose_and_its_inverse_lead_back():
    matrix = pose(3, -2, 1, 0.7)
    xyz = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_allclose(to_world(to_world(xyz, matrix), inverse_of(matrix)), xyz, atol=1e-12)
    np.testing.assert_allclose(to_world(xyz, matrix), xyz @ matrix[:3, :3].T + matrix[:3, 3])


def plane(z=0.0, n=30, step=0.05):
    return np.array([[i * step, j * step, z] for i in range(n) for j in range(n)], np.float32)


def test_a_surface_is_taught_and_what_stands_on_it_is_not():
    floor = plane()
    wall = floor[:, [2, 0, 1]] + np.float32([0.7, 0, 0])  # x = 0.7, upright
    xyz = np.concatenate([floor, wall[wall[:, 2] > 0.1]])
    answers = np.full(len(xyz), 255, np.uint8)
    near = np.flatnonzero((np.abs(floor[:, :2] - [0.55, 0.7]) < 0.06).all(1))
    answers[near] = 1
    rows, labels, conflicts = spread(xyz, answers, answers != 255, None, SurfaceRule(0.3, 15.0))
    assert (labels == 1).all() and conflicts == 0 and len(rows) > 50
    assert (rows < len(floor)).all()
    apart = np.linalg.norm(xyz[rows][:, None] - xyz[near][None], axis=2).min(1)
    assert apart.max() <= 0.3 and not np.isin(rows, near).any()


def test_answers_that_differ_and_predictions_that_differ_teach_nothing():
    xyz = plane()
    answers = np.full(len(xyz), 255, np.uint8)
    left, right = (
        np.flatnonzero((np.abs(xyz[:, :2] - [x, 0.7]) < 0.06).all(1)) for x in (0.6, 0.8)
    )
    answers[left], answers[right] = 1, 2
    rule = SurfaceRule(0.31, 15.0)
    rows, labels, conflicts = spread(xyz, answers, answers != 255, None, rule)
    given = dict(zip(rows.tolist(), labels.tolist(), strict=True))
    for row in range(len(xyz)):
        reach = {
            label
            for label, seeds in ((1, left), (2, right))
            if (np.linalg.norm(xyz[row] - xyz[seeds], axis=1) <= 0.31).any()
        }
        if len(reach) != 1 or answers[row] != 255:
            assert row not in given
        elif row in given:
            assert {given[row]} == reach
    assert conflicts > 0 and set(labels) == {1, 2}
    predicted = np.where(xyz[:, 1] > 0.8, 5, 7).astype(np.uint8)
    some, _, _ = spread(xyz, answers, answers != 255, predicted, rule)
    assert 0 < len(some) < len(rows)


def test_points_on_a_line_are_no_surface():
    xyz = np.array([[i * 0.02, 0, 0] for i in range(100)], np.float32)
    answers = np.full(100, 255, np.uint8)
    answers[50:55] = 1
    assert not len(spread(xyz, answers, answers != 255, None, SurfaceRule(0.3, 90.0))[0])


def test_the_audit_counts_what_is_right_by_class_and_distance():
    xyz = np.array([[5.0, 0, 0], [5.02, 0, 0], [8.0, 0, 0], [9.0, 0, 0]], np.float32)
    truth = np.array([0, 1, 255, 2], np.uint8)
    near = Witness(
        pose(1.0), np.array([[4.0, 0, 0], [7.0, 0, 0]], np.float32), np.array([0, 0], np.uint8)
    )
    far = Witness(pose(-6.0), np.array([[15.0, 0, 0]], np.float32), np.array([2], np.uint8))
    target = Witness(pose(), xyz[:0], np.zeros(0, np.uint8))
    none = np.full(4, 255, np.uint8)
    found = lesson(
        scan_of(xyz, truth),
        none,
        none == 0,
        target,
        [near, far],
        4,
        TeachingRule(0.1, None, STATIC),
    )
    assert found.taught.rows.tolist() == [0, 1, 2, 3]
    assert found.audit.taught[0].tolist() == [3, 0, 0, 0, 0, 0]  # over 1 m
    assert found.audit.judged[0, 0] == 2 and found.audit.right[0, 0] == 1
    assert found.audit.right[2].tolist() == [0, 0, 1, 0, 0, 0]  # over 6 m
    assert found.pairs.tolist() == [[0, 2, 1], [1, 1, 1]]


def test_a_point_of_which_place_and_surface_say_different_things_is_left_out():
    xyz = plane()
    answers = np.full(len(xyz), 255, np.uint8)
    answers[(np.abs(xyz[:, :2] - [0.7, 0.7]) < 0.06).all(1)] = 1
    other_row = int(np.argmin(np.linalg.norm(xyz - [0.85, 0.7, 0], axis=1)))
    same_row = int(np.argmin(np.linalg.norm(xyz - [0.7, 0.85, 0], axis=1)))
    other = Witness(pose(), xyz[[other_row, same_row]], np.array([2, 1], np.uint8))
    has = answers != 255
    target = Witness(pose(), xyz[has], answers[has])
    found = lesson(
        scan_of(xyz), answers, has, target, [other], 4,
        TeachingRule(0.02, None, STATIC), SurfaceRule(0.3, 15.0),
    )  # fmt: skip
    kinds = dict(zip(found.taught.rows.tolist(), found.taught.kinds.tolist(), strict=True))
    assert other_row not in kinds and kinds[same_row] == 0 and 1 in kinds.values()
    assert found.audit.conflicts[0] == 1
    assert found.audit.taught.sum() + found.audit.surface.sum() == len(kinds)


def test_places_on_which_answers_differ_are_counted_once():
    xyz = plane()
    nobody = np.full(len(xyz), 255, np.uint8)
    target = Witness(pose(), xyz[:0], nobody[:0])
    others = [Witness(pose(), xyz[[40]], np.array([label], np.uint8)) for label in (1, 2)]
    rule = TeachingRule(0.02, None, STATIC)
    found = lesson(scan_of(xyz), nobody, nobody != 255, target, others, 4, rule, None)
    direct = teach(xyz, nobody, nobody != 255, target, others, rule)
    assert found.audit.conflicts[0] == direct.conflicts > 0
