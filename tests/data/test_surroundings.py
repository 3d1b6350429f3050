"""Poses and camera images beside a scan, by numbers worked out by hand."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from annotator3d.data.surroundings import camera_crop, sensor_pose

# KITTI's camera looks along the scanner's x: right = -y, down = -z, ahead = x.
TR = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]], float)
P2 = np.array([[100, 0, 150, 0], [0, 100, 50, 0], [0, 0, 1, 0]], float)


def row(matrix):
    return " ".join(map(str, np.asarray(matrix, float)[:3, :4].ravel()))


@pytest.fixture
def sequence(tmp_path):
    """The folder of a sequence with a calibration; writes poses, and gives a scan's file."""
    folder = tmp_path / "sequences" / "00"
    (folder / "velodyne").mkdir(parents=True)
    (folder / "calib.txt").write_text(f"P2: {row(P2)}\nTr: {row(TR)}\n")

    def scan(frame="000000", poses=None):
        if poses is not None:
            (folder / "poses.txt").write_text("\n".join(map(row, poses)))
        return folder / "velodyne" / f"{frame}.bin"

    return scan


def moved(ahead):
    """Camera pose [4, 4] that lies `ahead` metres along the camera's line of sight."""
    pose = np.eye(4)
    pose[2, 3] = ahead
    return pose


def test_driving_ahead_is_along_the_scanners_x(sequence):
    scan = sequence("000001", [moved(0), moved(5)])
    pose = sensor_pose(scan)
    assert np.allclose(pose @ [1, 2, 3, 1], [6, 2, 3, 1])


def test_turning_to_the_left_is_around_the_scanners_z(sequence):
    turn = np.eye(4)  # the camera's y is down: 90 degrees to the left are -90 around it
    turn[:3, :3] = [[0, 0, -1], [0, 1, 0], [1, 0, 0]]
    pose = sensor_pose(sequence("000001", [np.eye(4), turn]))
    assert np.allclose(pose @ [1, 0, 0, 1], [0, 1, 0, 1])
    assert np.allclose(pose @ [0, 1, 0, 1], [-1, 0, 0, 1])


def test_the_first_scan_is_the_world(sequence):
    assert np.allclose(sensor_pose(sequence("000000", [np.eye(4)])), np.eye(4))


def test_without_poses_or_beyond_them_there_is_none(sequence):
    assert sensor_pose(sequence("000003", [np.eye(4)])) is None
    assert sensor_pose(sequence("night", [np.eye(4)])) is None


def test_no_file_of_poses_is_no_error(sequence):
    assert sensor_pose(sequence()) is None


def photo(scan, width=300, height=100):
    """A photo whose red is the column and whose green is the row."""
    folder = scan.parents[1] / "image_2"
    folder.mkdir()
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(width) % 256, np.arange(height)[:, None]
    Image.fromarray(pixels).save(folder / f"{scan.stem}.png")


def test_the_crop_has_the_point_in_its_middle(sequence):
    scan = sequence()
    photo(scan)
    # 10 m ahead, 2 m left, 0.5 m up: u = 150 + 100 * -2 / 10, v = 50 - 100 * 0.5 / 10
    crop = camera_crop(scan, np.array([10, 2, 0.5]))
    assert crop.shape == (64, 64, 3)  # 3 m are 30 pixels there: the smallest crop
    assert crop[32, 32].tolist() == [130, 45, 0]


def test_a_near_point_shows_three_metres_around_it(sequence):
    scan = sequence()
    photo(scan)
    crop = camera_crop(scan, np.array([2.0, 0, 0]))
    assert crop.shape == (150, 150, 3)
    assert crop[75, 75].tolist() == [150, 50, 0]
    assert crop[0, 0].tolist() == [0, 0, 0]  # above the photo: black


@pytest.mark.parametrize(
    "point", [(-10, 0, 0), (0.1, 0, 0), (10, 30, 0), (10, -30, 0), (10, 0, 9), (10, 0, -9)]
)
def test_points_that_the_camera_does_not_see_have_no_crop(sequence, point):
    scan = sequence()
    photo(scan)
    assert camera_crop(scan, np.array(point, float)) is None


def test_without_photo_or_calibration_there_is_no_crop(sequence):
    scan = sequence()
    assert camera_crop(scan, np.array([10.0, 0, 0])) is None
    photo(scan)
    (scan.parents[1] / "calib.txt").unlink()
    assert camera_crop(scan, np.array([10.0, 0, 0])) is None


def test_a_calibration_without_the_camera_has_no_crop(sequence):
    scan = sequence()
    photo(scan)
    (scan.parents[1] / "calib.txt").write_text(f"Tr: {row(TR)}\n")
    assert camera_crop(scan, np.array([10.0, 0, 0])) is None


def test_a_damaged_calibration_is_named(sequence):
    scan = sequence()
    photo(scan)
    (scan.parents[1] / "calib.txt").write_text(f"P2: {row(P2)}\n")
    with pytest.raises(ValueError, match="calib.txt has no entry 'Tr'"):
        camera_crop(scan, np.array([10.0, 0, 0]))


def test_poses_without_the_scanners_calibration_are_not_guessed(sequence):
    scan = sequence("000000", [moved(0)])
    (scan.parents[1] / "calib.txt").write_text(f"P2: {row(P2)}\n")
    with pytest.raises(ValueError, match="calib.txt has no entry 'Tr'"):
        sensor_pose(scan)


def test_poses_that_are_written_again_are_read_again(sequence):
    for metres in (1.0, 2.0):
        there = np.eye(4)
        there[2, 3] = metres  # ahead of the camera
        path = sequence(poses=[there])
        os.utime(path.parents[1] / "poses.txt", ns=(int(metres * 1e9),) * 2)
        np.testing.assert_allclose(sensor_pose(path)[:3, 3], [metres, 0, 0], atol=1e-12)
