"""A work directory's scans as the viewer finds them: gone, changed, with and without poses."""

from __future__ import annotations

import numpy as np
import pytest
from viewer_driver import make_work_dir

from annotator3d.api.labelling import open_labelling
from annotator3d.engine.config.load import make_config
from annotator3d.engine.rounds.hook import WaitingForOracleError
from annotator3d.engine.run import train


@pytest.fixture
def root(make_kitti):
    return make_kitti(points=2000, labels=False)


@pytest.fixture
def opening(root, tmp_path):
    """Opens a session on three scans with three queries each, and closes it."""
    work_dir, opened = make_work_dir(root, tmp_path / "run"), []

    def start():
        opened.append(open_labelling(work_dir, data_root=str(root)))
        return opened[-1]

    yield start
    for each in opened:
        each.session.close()


def file(root, frame):
    return root / "sequences" / "00" / "velodyne" / f"{frame:06d}.bin"


def answer_all(session):
    scans = []
    while session.current is not None:
        scans.append(session.current.scan)
        session.assign(0)
    return scans


def test_a_file_that_has_gone_is_set_aside_and_the_others_go_on(root, opening):
    file(root, 1).unlink()
    session = opening().session
    assert answer_all(session) == ["00/000000"] * 3 + ["00/000002"] * 3
    assert session.set_aside.keys() == {"00/000001"}
    assert "no scan '00/000001'" in session.set_aside["00/000001"]
    assert session.progress.set_aside == 3


def test_a_file_that_has_changed_is_set_aside_even_with_as_many_points(root, opening):
    points = np.fromfile(file(root, 1), "<f4").reshape(-1, 4)
    points[0, 0] += 1
    points.tofile(file(root, 1))
    session = opening().session
    assert answer_all(session) == ["00/000000"] * 3 + ["00/000002"] * 3
    assert "changed since it was asked about" in session.set_aside["00/000001"]


def write_poses(root, tr=True):
    folder = root / "sequences" / "00"
    (folder / "poses.txt").write_text("".join(f"1 0 0 0 0 1 0 0 0 0 1 {i}\n" for i in range(3)))
    name = "Tr" if tr else "P2"
    (folder / "calib.txt").write_text(f"{name}: 0 -1 0 0 0 0 -1 0 1 0 0 0\n")


def test_neighbours_come_with_poses(root, opening):
    write_poses(root)
    opened = opening()
    assert opened.warnings == []
    (near,) = opened.session.neighbours(1, 1)
    moved = np.fromfile(file(root, 1), "<f4").reshape(-1, 4)[:, :3] + [1, 0, 0]
    assert np.allclose(near.xyz, moved, atol=1e-5)


def test_poses_that_cannot_be_used_are_told_and_do_not_stop_the_work(root, opening):
    write_poses(root, tr=False)
    opened = opening()
    (trouble,) = opened.warnings
    assert "neighbour scans cannot be shown" in trouble and "calib.txt" in trouble
    assert opened.session.neighbours(1, 1) == []
    assert len(answer_all(opened.session)) == 9


def test_a_run_on_scans_that_make_themselves_is_labelled(tmp_path, monkeypatch):
    monkeypatch.setenv("ANNOTATOR3D_CACHE", str(tmp_path / "cache"))
    streets = {"type": "SimulatedStreets", "domain": "ideal", "sequences": 1, "scans": 2}
    config = make_config(
        {
            "setting": "al",
            "data": {"train": {**streets, "beams": 16, "azimuths": 90}},
            "model": {
                "voxel_size": 1.0,
                "backbone": {"type": "MinkUNet", "planes": [4, 4, 4], "blocks": 1},
            },
            "schedule": {"epochs": 1, "batch_size": 1},
            "active": {"oracle": "person", "rounds_at": [0], "voxel_size": 1.0},
        }
    )
    with pytest.raises(WaitingForOracleError):
        train(config, tmp_path / "run")
    opened = open_labelling(tmp_path / "run")
    try:
        assert len(answer_all(opened.session)) == 2
    finally:
        opened.session.close()
