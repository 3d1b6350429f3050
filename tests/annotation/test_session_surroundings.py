"""What a session shows around a voxel: predictions, proposals, answers near by, other scans."""

import numpy as np
import pytest
from session_world import (
    CELLS,
    SIZE,
    make_scan,
    make_world,
    predict,
    seen,
    start,
)

from annotator3d.active.stored_predictions import StoredPredictions
from annotator3d.data.scan import rows_of_cell
from annotator3d.data.scan_source import Pose
from annotator3d.errors import ConfigError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def mixed(round, scan):
    """Class 0 in the lower half of each voxel, 1 above; the second scan is all class 2."""
    if scan.id == "00/1":
        return np.full(len(scan), 2, np.uint8)
    return (scan.xyz[:, 2] / SIZE % 1 > 0.5).astype(np.uint8)


def test_a_mixed_voxel_gets_no_proposal_unless_asked_for(path):
    source = make_world(path, points=9)
    session = start(path, source, predictions=predict(mixed))
    assert session.proposals == []
    with pytest.raises(ValueError, match="nothing is proposed"):
        session.accept()
    session.assign(1)
    assert seen(path, 1).proposal_accepted is None
    session.go_to(4)
    (proposal,) = session.proposals
    assert (proposal.labels.tolist(), proposal.source) == ([2] * 9, "prediction")
    session.accept()
    assert (seen(path, 4).labels.tolist(), seen(path, 4).proposal_accepted) == ([2] * 9, True)
    session.assign(0)  # typed over the proposal
    assert seen(path, 5).proposal_accepted is False
    session.paint([True] + [False] * 8)
    session.assign(0)
    assert session.current.id == 6 and session.proposals == []  # it has been begun
    session.assign(1)
    assert seen(path, 6).proposal_accepted is False
    session.close()

    session = start(path, source, "bob", predictions=predict(mixed), offer="all")
    assert session.current.id == 2
    assert session.proposals[0].labels.tolist() == session.view.predicted.tolist()
    session.close()
    session = start(path, source, "bob", predictions=predict(mixed), offer="off")
    session.go_to(4)
    assert session.proposals == []
    with pytest.raises(ConfigError, match="did you mean 'uniform'"):
        start(path, source, offer="uniforms")
    session.close()


def test_blind_hides_every_prediction(path):
    session = start(path, make_world(path), predictions=predict(mixed), blind=True, offer="all")
    assert session.view.prediction is None and session.view.predicted is None
    assert session.proposals == []
    with pytest.raises(ValueError, match="blind"):
        session.split("prediction")
    session.close()


def test_a_session_works_before_there_is_a_model(path):
    session = start(path, make_world(path))
    with pytest.raises(ValueError, match="none is stored"):
        session.split("prediction")
    session.assign(0)
    assert seen(path, 1).labels.tolist() == [0] * 4
    session.close()


def test_stored_predictions_are_read_and_damaged_ones_do_not_stop_anybody(path, tmp_path):
    source = make_world(path)
    folder = tmp_path / "rounds" / "1"
    folder.mkdir(parents=True)
    scan = source.scans["00/0"]
    classes = np.arange(len(scan), dtype=np.uint8) % 3
    keep = np.arange(1, len(scan))  # of the first point nothing was stored
    np.savez_compressed(
        folder / "00_0.npz",
        rows=scan.rows[keep].astype(np.int32),
        score=np.ones(len(keep), np.float32),
        prediction=classes[keep],
    )
    (folder / "00_1.npz").write_bytes(b"not a zip file")
    session = start(path, source, predictions=StoredPredictions(tmp_path / "rounds"))
    assert session.view.prediction.classes.tolist() == [255, *classes[1:].tolist()]
    assert np.isnan(session.view.prediction.score[0]) and session.warnings == {}
    session.go_to(4)
    assert session.view.prediction is None
    assert "00_1.npz is not a stored prediction" in session.warnings["00/1", 1]
    session.close()


@pytest.mark.parametrize("other", ["rows", "length"])
def test_a_prediction_of_another_scan_is_refused(tmp_path, other):
    scan = make_scan("00/0", CELLS)
    rows = scan.rows.astype(np.int32) + (1 if other == "rows" else 0)
    (tmp_path / "1").mkdir()
    score = np.ones(len(rows) - (other == "length"), np.float32)
    np.savez(tmp_path / "1" / "00_0.npz", rows=rows, score=score)
    with pytest.raises(ValueError, match="00_0.npz is of another scan"):
        StoredPredictions(tmp_path)(1, scan)


def turned(x, angle):
    """A pose that puts the sensor at (x, 0, 0), turned about the upright axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0, x], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def test_answers_of_the_same_place_are_offered_unless_it_can_move(path):
    source = make_world(path, scans=("00/0", "00/1", "00/2"), cells=[(4, 0, 0), (40, 0, 0)])
    source.poses = {
        "00/0": Pose("drive", turned(0, 0)),
        "00/1": Pose("drive", turned(0.05, 0)),
        "00/2": Pose("elsewhere", turned(0, 0)),
    }
    session = start(path, source)
    session.assign(0)  # road
    session.go_to(3)
    (proposal,) = session.proposals
    assert (proposal.labels.tolist(), proposal.source, proposal.queries) == ([0] * 4, "place", (1,))
    for label, offered in ((1, 0), (2, 1), (255, 0)):  # car, tree, no class
        session.go_to(1)
        session.assign(label)
        session.go_to(3)
        assert len(session.proposals) == offered
    session.go_to(1)
    session.assign(2)
    session.go_to(5)
    assert session.proposals == []  # another world
    session.go_to(4)
    assert session.proposals == []  # another place
    session.close()

    source.poses["00/1"] = Pose("drive", turned(0.3, 0))
    session = start(path, source)
    session.go_to(3)
    assert session.proposals == []  # the sensor has moved by more than a voxel
    session.close()
    source.poses["00/1"] = Pose("drive", turned(0.05, 0))
    session = start(path, source, movable=["tree"])
    session.go_to(3)
    assert session.proposals == []
    session.close()
    with pytest.raises(ConfigError, match="unknown class 'trees'.*'tree'"):
        start(path, source, movable=["trees"])


def test_answers_nearby_are_shown_in_the_frame_of_the_scan(path):
    source = make_world(path, cells=[(4, 0, 0), (8, 0, 0), (80, 0, 0)])
    source.poses = {"00/0": Pose("d", turned(0, 0)), "00/1": Pose("d", turned(1.0, np.pi / 2))}
    session = start(path, source)
    session.assign(0)
    session.assign(1)
    session.assign(2)
    session.go_to(4)
    # In 00/1 the sensor stands at x = 1 and looks along y: x ahead is y of the world.
    found = session.nearby(2.5)
    world = np.array([[1.125, 0.125, 0.125], [2.125, 0.125, 0.125]])
    expected = [(1, [0.125, -0.125, 0.125]), (2, [0.125, -1.125, 0.125])]
    here = np.array([1 - 0.125, 1.125, 0.125])
    for near, (query, centre), place in zip(found, expected, world, strict=True):
        assert near.query == query and np.allclose(near.centre, centre)
        assert near.distance == pytest.approx(np.linalg.norm(place - here))
    assert [near.query for near in session.nearby(1.0)] == []
    session.go_to(2)
    assert [near.query for near in session.nearby(1.0)] == [1]
    session.close()


def test_the_points_of_answers_nearby_are_seen_from_the_scan_on_the_screen(path):
    source = make_world(path, cells=[(4, 0, 0), (8, 0, 0), (80, 0, 0)])
    source.poses = {"00/0": Pose("d", turned(0, 0)), "00/1": Pose("d", turned(1.0, np.pi / 2))}
    session = start(path, source)
    assert session.nearby_points() == []
    for query, label in ((1, 2), (3, 1)):
        session.go_to(query)
        session.assign(label)
    session.go_to(4)
    ((xyz, labels),) = session.nearby_points()  # the other one is 20 m away
    x, y, z = source.scans["00/0"].xyz[rows_of_cell(source.scans["00/0"].xyz, (4, 0, 0), SIZE)].T
    assert np.allclose(xyz, np.stack([y, 1 - x, z], 1), atol=1e-5) and xyz.dtype == np.float32
    assert labels.tolist() == [2] * 4
    session.close()
    del source.scans["00/0"]  # what cannot be read is not drawn
    session = start(path, source)
    session.go_to(4)
    assert len(session.nearby()) == 1 and session.nearby_points() == []
    session.close()


def test_few_scans_are_read_for_one_query_and_each_once(path):
    scans = tuple(f"00/{i:02d}" for i in range(12))
    source = make_world(path, scans=scans, cells=[(4, 0, 0)])
    source.poses = {scan: Pose("d", turned(0.05 * i, 0)) for i, scan in enumerate(scans)}
    session = start(path, source)
    session.bulk("answer", range(1, 12), 0)
    session.close()
    session = start(path, source)
    session.go_to(12)
    assert len(session.nearby()) == 11 and len(session.nearby_points()) == 8
    source.reads.clear()
    assert len(session.nearby_points()) == 8 and source.reads == []
    session.close()


def test_neighbour_scans_are_seen_from_the_one_on_the_screen(path):
    source = make_world(path, scans=("00/0", "00/1", "00/2"))
    session = start(path, source)
    assert session.neighbours(1, 1) == []  # without poses
    session.close()
    source.poses = {s: Pose("d", turned(i, 0.1 * i)) for i, s in enumerate(source.scans)}
    del source.poses["00/2"]
    session = start(path, source)
    session.go_to(4)
    source.reads.clear()
    (before,) = session.neighbours(1, 1)
    assert set(source.reads) <= {"00/0", "00/2"} and session.neighbours(1, 0)[0].scan is before.scan
    assert before.scan.id == "00/0"
    x, y, z = before.scan.xyz.astype(np.float64).T
    c, s = np.cos(0.1), np.sin(0.1)
    expected = np.stack([c * (x - 1) + s * y, -s * (x - 1) + c * y, z], 1)
    assert np.allclose(before.xyz, expected, atol=1e-5) and before.xyz.dtype == np.float32
    session.close()
