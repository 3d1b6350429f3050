"""Voxels near another one: compared with a loop over all of them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator3d.annotation.nearby import VoxelIndex
from annotator3d.data.scan_source import Pose
from annotator3d.ledger.records import Query

SIZE = 0.25
cells = st.tuples(*[st.integers(-25, 25)] * 3)
SCANS = ("00/0", "00/1", "01/0", "02/0")
TURN = np.array([[0, -1, 0, 2.5], [1, 0, 0, -1.25], [0, 0, 1, 0.5], [0, 0, 0, 1]])
POSES = {
    "00/0": Pose("00", np.eye(4)),
    "00/1": Pose("00", TURN),
    "01/0": Pose("01", np.eye(4)),  # another world
}


def centre_of(query, scan):
    """Centre of a query's voxel in the frame of a scan, which shares its world or is its scan."""
    centre = np.append((np.array(query.cell) + 0.5) * SIZE, 1.0)
    if query.scan == scan:
        return centre[:3]
    return (np.linalg.inv(POSES[scan].matrix) @ POSES[query.scan].matrix @ centre)[:3]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(SCANS), cells), min_size=1, max_size=40),
    st.sampled_from([0.2175, 1.0, 2.5, 5.0]),
)
def test_near_voxels_are_those_that_a_loop_finds(placed, radius):
    queries = {
        number: Query(number, 1, scan, cell, number, 1.0, 4)
        for number, (scan, cell) in enumerate(placed, 1)
    }
    index, here = VoxelIndex(queries, POSES.get, SIZE), queries[1]
    world = POSES[here.scan].world if here.scan in POSES else None
    expected = {}
    for other in list(queries.values())[1:]:
        pose = POSES.get(other.scan)
        if other.scan == here.scan or (world and pose is not None and pose.world == world):
            centre = centre_of(other, here.scan)
            distance = np.linalg.norm(centre - centre_of(here, here.scan))
            if distance <= radius:
                expected[other.id] = (distance, centre)
    found = index.near(here, radius)
    assert {near.query for near in found} == set(expected)
    assert [near.distance for near in found] == sorted(near.distance for near in found)
    for near in found:
        distance, centre = expected[near.query]
        assert abs(near.distance - distance) < 1e-9 and np.allclose(near.centre, centre)
        assert near.scan == queries[near.query].scan
