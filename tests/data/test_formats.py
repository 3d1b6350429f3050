"""Files are read as they were written, broken ones are named, a crash leaves no half file."""

from __future__ import annotations

import hashlib
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from annotator3d.data.files import atomic_write, fingerprint
from annotator3d.data.formats.kitti import (
    read_bin,
    read_calib,
    read_label,
    read_poses,
    split_label,
    write_bin,
    write_calib,
    write_label,
    write_poses,
)
from annotator3d.data.scan import Scan

UINT16 = st.integers(0, 0xFFFF)
FLOATS = st.floats(width=32, allow_nan=False)


@settings(max_examples=30)
@given(pairs=st.lists(st.tuples(UINT16, UINT16), max_size=20))
def test_class_and_instance_survive_a_round_trip(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("labels") / "000000.label"
    classes, instances = [c for c, _ in pairs], [i for _, i in pairs]
    write_label(path, np.array(classes, np.int64), np.array(instances, np.int64))
    packed = [c | i << 16 for c, i in pairs]
    assert path.read_bytes() == struct.pack(f"<{len(pairs)}I", *packed)
    raw = read_label(path, len(pairs))
    assert raw.tolist() == packed
    got_classes, got_instances = split_label(raw)
    assert (got_classes.tolist(), got_instances.tolist()) == (classes, instances)
    assert got_classes.dtype == got_instances.dtype == np.uint16


@settings(max_examples=30)
@given(data=arrays(np.float32, st.tuples(st.integers(0, 20), st.just(4)), elements=FLOATS))
def test_points_survive_a_round_trip(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("scans") / "000000.bin"
    write_bin(path, data[:, :3], data[:, 3])
    assert path.read_bytes() == struct.pack(f"<{data.size}f", *data.ravel().tolist())
    xyz, intensity = read_bin(path)
    np.testing.assert_array_equal(xyz, data[:, :3])
    np.testing.assert_array_equal(intensity, data[:, 3])


def test_labels_without_instances_have_instance_zero(tmp_path):
    write_label(tmp_path / "a.label", [10, 252])
    assert read_label(tmp_path / "a.label").tolist() == [10, 252]


@pytest.mark.parametrize("classes", [[-1], [65536], [1.5], [[1], [2]]])
def test_labels_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, classes):
    with pytest.raises(ValueError, match="classes"):
        write_label(tmp_path / "a.label", classes)
    assert not list(tmp_path.iterdir())


def test_truncated_scan_is_named_with_its_size(tmp_path):
    path = tmp_path / "000007.bin"
    path.write_bytes(bytes(37))
    with pytest.raises(ValueError) as error:
        read_bin(path)
    for part in (str(path), "37 bytes", "16 bytes", "5 bytes are left over"):
        assert part in str(error.value)


def test_truncated_labels_are_named(tmp_path):
    path = tmp_path / "000007.label"
    path.write_bytes(bytes(6))
    with pytest.raises(ValueError, match=r"000007\.label is truncated.* 2 bytes are left over"):
        read_label(path)


def test_mismatch_of_points_and_labels_names_both_files_and_both_counts(tmp_path):
    path = tmp_path / "000001.label"
    write_label(path, [10, 10, 40])
    with pytest.raises(ValueError) as error:
        read_label(path, 4, scan_path="velodyne/000001.bin")
    for part in (str(path), "velodyne/000001.bin", "3 labels", "4 points"):
        assert part in str(error.value)


def test_points_of_wrong_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\(5, 3\) and \(4,\)"):
        write_bin(tmp_path / "a.bin", np.zeros((5, 3)), np.zeros(4))


def test_poses_and_calibration_survive_a_round_trip(tmp_path):
    matrices = np.tile(np.eye(4), (5, 1, 1))
    matrices[:, :3] = np.random.default_rng(0).normal(size=(5, 3, 4))
    write_poses(tmp_path / "poses.txt", matrices)
    np.testing.assert_array_equal(read_poses(tmp_path / "poses.txt"), matrices)
    write_calib(tmp_path / "calib.txt", {"P0": matrices[1], "Tr": matrices[0, :3]})
    calib = read_calib(tmp_path / "calib.txt")
    np.testing.assert_array_equal(calib["Tr"], matrices[0])
    np.testing.assert_array_equal(calib["P0"], matrices[1])


def test_pose_rows_are_read_in_kitti_order(tmp_path):
    (tmp_path / "poses.txt").write_text("1 2 3 4 5 6 7 8 9 10 11 12\n\n")
    pose = read_poses(tmp_path / "poses.txt")[0]
    assert pose.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [0, 0, 0, 1]]


@pytest.mark.parametrize("row, words", [("1 2 3", "line 2: expected the 12"), ("x", "line 2: ")])
def test_broken_pose_line_is_named(tmp_path, row, words):
    path = tmp_path / "poses.txt"
    path.write_text(f"1 0 0 0 0 1 0 0 0 0 1 0\n{row}\n")
    with pytest.raises(ValueError, match=f"poses.txt, {words}"):
        read_poses(path)


def test_calibration_without_lidar_transform_is_refused(tmp_path):
    (tmp_path / "calib.txt").write_text("P0: 1 0 0 0 0 1 0 0 0 0 1 0\n")
    with pytest.raises(ValueError, match=r"no entry 'Tr'.*P0"):
        read_calib(tmp_path / "calib.txt")


def test_fingerprint_is_blake2b_of_the_bytes_and_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    content = bytes(range(256)) * 9000  # more than one block
    path.write_bytes(content)
    expected = hashlib.blake2b(content, digest_size=16).hexdigest()
    assert fingerprint(path) == f"blake2b:{expected}"
    os.utime(path, (1, 1))
    assert fingerprint(path) == f"blake2b:{expected}"
    path.write_bytes(content[:-1] + b"\0")
    assert fingerprint(path) != f"blake2b:{expected}"


def test_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a.label"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="disk"), atomic_write(path) as file:
        file.write(b"half")
        assert path.read_bytes() == b"old"
        raise RuntimeError("disk")
    assert [p.name for p in tmp_path.iterdir()] == ["a.label"]
    assert path.read_bytes() == b"old"


def test_write_keeps_links_and_permissions(tmp_path):
    real, link = tmp_path / "real.label", tmp_path / "link.label"
    real.write_bytes(b"old")
    real.chmod(0o664)
    link.symlink_to(real)
    with atomic_write(link) as file:
        file.write(b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o777 == 0o664


def test_new_file_can_be_read_by_whom_the_umask_allows(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with atomic_write(tmp_path / "ours"):
        pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_missing_folder_is_named(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="there is no folder .*absent"),
        atomic_write(tmp_path / "absent" / "a.label"),
    ):
        pass


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_kill_between_write_and_rename_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "000000.label"
    write_label(path, [10, 40, 50])
    before = path.read_bytes()
    child = f"""
import os, sys
from annotator3d.data.formats.kitti import write_label
def replace(source, target):
    print("written", os.path.getsize(source), flush=True)
    sys.stdin.read()
os.replace = replace
write_label({str(path)!r}, [1] * 1000)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", child],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout.readline() == "written 4000\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    write_label(path, [1] * 1000)  # what the killed process left behind is in nobody's way
    assert path.stat().st_size == 4000


def test_non_finite_points_are_dropped_counted_and_lead_back_to_their_rows():
    xyz = np.arange(18, dtype=np.float32).reshape(6, 3)
    intensity = np.linspace(0, 1, 6, dtype=np.float32)
    xyz[1, 2], xyz[3, 0], intensity[5] = np.nan, np.inf, -np.inf
    scan = Scan.from_raw("00/000000", xyz, intensity, np.arange(6, dtype=np.uint8))
    assert scan.rows.tolist() == [0, 2, 4, 5] and scan.rows.dtype == np.int64
    assert (len(scan), scan.num_raw, scan.num_dropped) == (4, 6, 2)
    np.testing.assert_array_equal(scan.xyz, xyz[[0, 2, 4, 5]])
    np.testing.assert_array_equal(scan.intensity, [*intensity[[0, 2, 4]], 0])
    assert scan.no_intensity.tolist() == [5]
    assert scan.labels.tolist() == [0, 2, 4, 5]
    assert scan.raw_labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_scan_without_points_is_a_scan():
    scan = Scan.from_raw("00/000000", np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    assert len(scan) == 0 and scan.labels is None


def test_scan_refuses_labels_of_another_length():
    with pytest.raises(ValueError, match=r"scan 00/000003: .*\(2,\)"):
        Scan.from_raw(
            "00/000003",
            np.zeros((3, 3), np.float32),
            np.zeros(3, np.float32),
            np.zeros(2, np.uint8),
        )
