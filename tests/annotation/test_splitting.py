"""Ways to part a voxel: compared with slow loops that say what each one means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from annotator3d.annotation import splitting
from annotator3d.annotation.parts import VoxelParts, todo_points

# On a coarse grid there are equal points, equal distances and equal heights.
grid = arrays(np.int64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.integers(-3, 3))
points = grid.map(lambda cells: (cells * 0.0625).astype(np.float32))


def groups(parts):
    """The parts as sets of points, after checking that they are numbered without gaps."""
    assert parts.dtype == np.int16 and sorted(set(parts.tolist())) == list(range(parts.max() + 1))
    return [set(np.flatnonzero(parts == part).tolist()) for part in range(parts.max() + 1)]


def components(xyz, distance):
    """Clusters by flooding, the largest first, then by their first points."""
    left, found = list(range(len(xyz))), []
    while left:
        cluster, border = set(), [left[0]]
        while border:
            point = border.pop()
            if point not in cluster:
                cluster.add(point)
                border += [q for q in left if np.linalg.norm(xyz[point] - xyz[q]) <= distance]
        left = [point for point in left if point not in cluster]
        found.append(cluster)
    return sorted(found, key=lambda cluster: (-len(cluster), min(cluster)))


@settings(max_examples=150, deadline=None)
@given(points, st.sampled_from([0.03, 0.0625, 0.08, 0.0884, 0.13, 0.3]))
def test_clusters_are_further_apart_than_the_distance(xyz, distance):
    expected = components(xyz.astype(np.float64), distance)
    assert groups(splitting.by_distance(xyz, distance)) == expected


@settings(max_examples=150, deadline=None)
@given(points, st.integers(1, 14))
def test_a_number_of_clusters_is_what_joining_the_nearest_leaves(xyz, count):
    """Joining the two nearest again and again; equal distances may be joined either way."""
    found = groups(splitting.by_count(xyz, count))
    assert len(found) == min(count, len(xyz))
    assert sorted(map(len, found), reverse=True) == list(map(len, found))
    wide = xyz.astype(np.float64)
    between = [
        min(np.linalg.norm(wide[a] - wide[b]) for a in one for b in two)
        for i, one in enumerate(found)
        for two in found[:i]
    ]
    for cluster in found:  # no step inside a cluster is longer than any between two
        assert not between or len(components(wide[sorted(cluster)], min(between))) == 1


@settings(max_examples=150, deadline=None)
@given(arrays(np.float64, st.integers(1, 12), elements=st.integers(-9, 9).map(lambda n: n / 8)))
def test_the_best_height_has_the_largest_variance_between_below_and_above(z):
    def score(at):
        low, high = z[z < at], z[z >= at]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2 if len(low) else 0.0

    at = splitting.best_height(z)
    if len(set(z)) > 1:
        assert score(at) == pytest.approx(max(score(level) for level in z))
        below, above = z[z < at].max(), z[z >= at].min()
        assert at == pytest.approx((below + above) / 2)
    else:
        assert at == z[0]


def test_the_best_height_does_not_lose_digits_far_below():
    z = np.array([0.0, 0.01, 0.02, 0.2, 0.21]) - 1e6
    assert splitting.best_height(z) == pytest.approx(0.11 - 1e6, abs=1e-4)
    with pytest.raises(ValueError, match="no points"):
        splitting.best_height([])


def test_a_plane_parts_below_from_at_or_above():
    z = np.array([0.1, 0.3, 0.2, 0.0])
    assert splitting.by_height(z, 0.2).tolist() == [0, 1, 1, 0]
    assert splitting.by_height(z, 5.0).tolist() == splitting.by_height(z, -5.0).tolist() == [0] * 4
    with pytest.raises(ValueError, match="height of the plane"):
        splitting.by_height(z, float("nan"))


@settings(max_examples=100, deadline=None)
@given(arrays(np.uint8, st.integers(1, 20), elements=st.sampled_from([0, 1, 5, 18, 255])))
def test_predicted_classes_are_parts_the_largest_first(classes):
    found = groups(splitting.by_class(classes))
    order = sorted(set(classes.tolist()), key=lambda c: (-(classes == c).sum(), c))
    assert found == [set(np.flatnonzero(classes == c).tolist()) for c in order]


def test_picked_points_come_first():
    assert splitting.by_mask([True, False, True]).tolist() == [0, 1, 0]
    assert splitting.by_mask([True, True]).tolist() == [0, 0]
    assert splitting.by_mask([False, False]).tolist() == [0, 0]


@pytest.mark.parametrize("bad", [0, -1])
def test_clusters_need_a_distance_and_a_number(bad):
    with pytest.raises(ValueError, match="distance between clusters"):
        splitting.by_distance(np.zeros((2, 3)), bad)
    with pytest.raises(ValueError, match="number of clusters"):
        splitting.by_count(np.zeros((2, 3)), bad)


def test_a_crowded_voxel_is_parted_in_a_moment():
    """Near the sensor a voxel may hold thousands of points."""
    xyz = np.random.default_rng(0).uniform(0, 0.25, (3000, 3))
    xyz[1500:, 0] += 0.5
    assert splitting.by_count(xyz, 2).tolist() == [0] * 1500 + [1] * 1500


def test_parts_are_labelled_one_after_the_other():
    labels = np.array([254, 1, 254, 254, 254], np.uint8)
    parts = VoxelParts(labels, np.array([2, 0, 0, 1, 1], np.int16))
    assert parts.numbers.tolist() == [2, -1, 0, 1, 1] and parts.count == 3
    assert parts.mask.tolist() == [False, False, True, False, False] and not parts.is_last
    parts.step(-1)
    assert parts.current == 2
    parts.labelled()
    assert parts.current == 0 and not parts.is_last  # round the end to the first that is left
    parts.labelled()
    assert parts.current == 1 and parts.is_last and not parts.untouched
    parts.step(1)
    assert parts.current == 2 and not parts.is_last  # done before; part 1 still waits
    parts = VoxelParts(labels, np.array([2, 0, 0, 1, 1], np.int16))
    parts.step(1)
    parts.labelled()
    assert parts.current == 2  # onwards, before back to 0


def test_without_unlabelled_points_all_can_be_labelled_anew():
    labels = np.array([0, 255, 1], np.uint8)
    assert todo_points(labels).all() and VoxelParts(labels).mask.all()
    labels[1] = 254
    assert VoxelParts(labels).mask.tolist() == [False, True, False]
