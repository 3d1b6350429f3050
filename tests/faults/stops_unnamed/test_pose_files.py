"""Pose files as other tools write them are read, or the refusal says that poses may be left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from source_scans import points, run_import, write_ply, write_taxonomy

FRAMES = (1, 2, 3)


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    return write_taxonomy(tmp_path)


def turn(k: int) -> tuple[np.ndarray, list[float]]:
    """A pose: about z by k tenths of a turn, and moved; its quaternion x, y, z, w."""
    angle = 0.2 * np.pi * k
    c, s = np.cos(angle), np.sin(angle)
    pose = np.array([[c, -s, 0, 2.0 * k], [s, c, 0, -k], [0, 0, 1, 0.5], [0, 0, 0, 1]])
    return pose, [0.0, 0.0, np.sin(angle / 2), np.cos(angle / 2)]


POSES = {k: turn(k)[0] for k in range(12)}


def words(values: Sequence[float], between: str = " ") -> str:
    return between.join(repr(float(value)) for value in values)


def scans(folder: Path, names: Sequence[str] = ("0000000001", "0000000002", "0000000003")) -> Path:
    folder.mkdir(parents=True)
    for k, name in enumerate(names):
        write_ply(folder / f"{name}.ply", points(k, 12))
    return folder


def found(out: Path, sequence: str = "d") -> np.ndarray:
    """Rows of poses.txt: [N, 3, 4]."""
    return np.loadtxt(out / "sequences" / sequence / "poses.txt", ndmin=2).reshape(-1, 3, 4)


def check(out: Path, numbers: Sequence[int] = FRAMES, frames: Sequence[int] = FRAMES) -> None:
    rows = found(out)
    for frame, number in zip(frames, numbers, strict=True):
        np.testing.assert_allclose(rows[frame], POSES[number][:3], atol=1e-9)


def tum(k: int, between: str = " ", time: float | None = None) -> str:
    pose, q = turn(k)
    return words([100.5 + k if time is None else time, *pose[:3, 3], *q], between)


def euroc(k: int) -> str:
    """Nanoseconds, and the quaternion with w first."""
    pose, (x, y, z, w) = turn(k)
    return f"{1403636579763555584 + k * 10**9},{words([*pose[:3, 3], w, x, y, z], ',')}"


EUROC = (
    "#timestamp [ns], p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], "
    "q_RS_z []\n"
)
LAYOUTS = {
    "kitti360": "".join(f"{k} {words(POSES[k][:3].ravel())}\n" for k in FRAMES),
    "kitti360 4x4": "".join(f"{k} {words(POSES[k].ravel())} \n" for k in FRAMES),
    "more frames": "".join(f"{k} {words(POSES[k][:3].ravel())}\n" for k in (7, 3, 2, 1, 0)),
    "commas": "".join(words(POSES[k][:3].ravel(), ", ") + "\n" for k in FRAMES),
    "semicolons": "".join(words(POSES[k][:3].ravel(), ";") + "\n" for k in FRAMES),
    "tabs and BOM": "\ufeff" + "\r\n".join(words(POSES[k][:3].ravel(), "\t") for k in FRAMES),
    "brackets": "".join(f"[{words(POSES[k][:3].ravel(), ', ')}]\n" for k in FRAMES),
    "16 numbers": "".join(words(POSES[k].ravel()) + "\n" for k in FRAMES),
    "4 lines each": "\n".join("\n".join(map(words, POSES[k])) + "\n" for k in FRAMES),
    "3 lines each": "\n".join("\n".join(map(words, POSES[k][:3])) for k in FRAMES),
    "log": "\n".join(f"{k} {k} {k + 1}\n" + "\n".join(map(words, POSES[k])) for k in FRAMES),
    "tum": "# time x y z qx qy qz qw\n" + "\n".join(tum(k) for k in FRAMES),
    "tum csv": "timestamp,tx,ty,tz,qx,qy,qz,qw\n" + "\n".join(tum(k, ",") for k in FRAMES),
    "tum of frames": "\n".join(tum(k, time=k) for k in (0, *FRAMES, 4)),
    "euroc": EUROC + "\n".join(map(euroc, FRAMES)),
}


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts_of_other_tools_are_read(tmp_path, taxonomy, capsys, case, given):
    scans(tmp_path / "src" / "d")
    path = tmp_path / "truth.txt" if given else tmp_path / "src" / "d" / "poses.txt"
    path.write_text(LAYOUTS[case])
    options = ["--poses", str(path)] if given else []
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, *options) == 0
    check(tmp_path / "out")
    if case not in ("commas", "semicolons", "tabs and BOM", "brackets"):
        assert f"note: poses of sequence d: {path.name} was read as" in capsys.readouterr().out


NAMES = {
    "seconds": [f"{1311868164 + k}.250000" for k in FRAMES],
    "nanoseconds": [f"{1311868164 + k}250000000" for k in FRAMES],
    "microseconds": [f"cloud-{1311868164 + k}250000" for k in FRAMES],
    "two parts": [f"{1311868164 + k}_250000000" for k in FRAMES],
}


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("unit", [1, 10**9])
def test_times_in_names_choose_the_pose(tmp_path, taxonomy, capsys, case, unit):
    scans(tmp_path / "src" / "d", NAMES[case])
    rows = [f"{int((1311868164.26 + k) * 1000) * unit / 1000:.9f} " + tum(k).split(" ", 1)[1]
            for k in range(12)]  # fmt: skip
    (tmp_path / "src" / "d" / "poses.txt").write_text("\n".join(rows))
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    check(tmp_path / "out", frames=(0, 1, 2))
    assert "matched by time, up to 10 ms apart" in capsys.readouterr().out


BAD = {
    "7 numbers": "".join(tum(k).split(" ", 1)[1] + "\n" for k in FRAMES),
    "words": "".join(f"north {words(POSES[k][:3].ravel())}\n" for k in FRAMES),
    "12 and 13": words(POSES[1][:3].ravel()) + "\n" + LAYOUTS["kitti360"],
    "a frame twice": LAYOUTS["kitti360"] + LAYOUTS["kitti360"],
    "some frames": LAYOUTS["kitti360"].split("\n", 1)[1],
    "other frames": LAYOUTS["kitti360"].replace("1 ", "9 ", 1).replace("\n2 ", "\n8 ")
    .replace("\n3 ", "\n7 "),
    "column by column": "".join(words(POSES[k].T.ravel()) + "\n" for k in FRAMES),
    "mirrored": "".join(words((POSES[k] * [1, -1, 1, 1])[:3].ravel()) + "\n" for k in FRAMES),
    "no rotation": "".join(words(np.arange(12) + k) + "\n" for k in FRAMES),
    "no unit quaternion": "\n".join(words([k, 1, 2, 3, 1, 1, 1, 1]) for k in FRAMES),
    "euler angles": "time,x,y,z,roll,pitch,yaw,speed\n" + "\n".join(tum(k, ",") for k in FRAMES),
    "not finite": LAYOUTS["16 numbers"].replace(words([POSES[1][0, 3]]), "nan", 1),
    "too few times": "\n".join(tum(k) for k in (1, 2)),
    "too many times": "\n".join(tum(k) for k in range(7)),
    "empty": "# nothing\n",
    "binary": "\udcff\udcfe\udc80",
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_refused_with_the_option_that_leaves_it_out(
    tmp_path, taxonomy, capsys, case
):
    scans(tmp_path / "src" / "d")
    path = tmp_path / "src" / "d" / "poses.txt"
    path.write_text(BAD[case], errors="surrogateescape")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "--poses none" in error and "poses.txt" in error and len(error) <= 500
    assert not (tmp_path / "out").exists()
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, "--poses", "none") == 0


@pytest.mark.parametrize("shape", [(3, 12), (3, 3, 4), (3, 4, 4), (3, 16)])
def test_arrays_of_poses_are_read(tmp_path, taxonomy, shape):
    scans(tmp_path / "src" / "d")
    poses = np.array([POSES[k] for k in FRAMES])
    poses = poses if 16 in shape or shape[1:] == (4, 4) else poses[:, :3]
    np.save(tmp_path / "poses.npy", poses.reshape(shape))
    options = ["--poses", str(tmp_path / "poses.npy")]
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, *options) == 0
    check(tmp_path / "out")


@pytest.mark.parametrize("values", [np.zeros(3), np.array(["a"]), np.array(5), np.zeros((3, 7))])
def test_an_array_of_other_things_is_refused(tmp_path, taxonomy, capsys, values):
    scans(tmp_path / "src" / "d")
    np.save(tmp_path / "poses.npy", values)
    options = ["--poses", str(tmp_path / "poses.npy")]
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, *options) == 1
    error = capsys.readouterr().err
    assert "poses.npy" in error and "--poses none" in error


def test_counted_scans_do_not_take_the_first_rows_of_more(tmp_path, taxonomy, capsys):
    """Every fifth scan of a drive, by names that are no numbers, and the poses of the whole."""
    scans(tmp_path / "src" / "d", ["a5", "a10"])
    rows = "".join(words(POSES[k][:3].ravel()) + "\n" for k in range(12))
    (tmp_path / "src" / "d" / "poses.txt").write_text(rows)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err
    assert "12 poses for 2 scans" in error and "--poses none" in error


@pytest.mark.parametrize("text", [tum(1).split(" ", 1)[1], "1 2 3", words(np.arange(12)), "", "x"])
def test_a_pose_file_of_one_scan_that_cannot_be_read_is_named(tmp_path, taxonomy, capsys, text):
    scans(tmp_path / "src" / "d", ["a"])
    (tmp_path / "src" / "d" / "a.pose").write_text(text)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err
    assert "a.pose" in error and "--poses none" in error


def test_a_calibration_that_is_not_of_kittis_poses_is_not_used(tmp_path, taxonomy, capsys):
    scans(tmp_path / "src" / "d")
    (tmp_path / "src" / "d" / "poses.txt").write_text(LAYOUTS["tum"])
    (tmp_path / "src" / "d" / "calib.txt").write_text(f"Tr: {words(POSES[5][:3].ravel())}\n")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    assert "calib.txt was not used" in capsys.readouterr().out
    check(tmp_path / "out")


def test_a_calibration_without_the_lidar_is_told_before_any_work(tmp_path, taxonomy, capsys):
    scans(tmp_path / "src" / "d")
    (tmp_path / "src" / "d" / "poses.txt").write_text(LAYOUTS["commas"])
    (tmp_path / "src" / "d" / "calib.txt").write_text("P0: 1 0 0 0 0 1 0 0 0 0 1 0\n")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err
    assert "calib.txt" in error and "--poses none" in error
    assert not (tmp_path / "out").exists()


def w_first(k: int) -> str:
    """As `tum`, with the quaternion in the order of other tools."""
    pose, (x, y, z, w) = turn(k)
    return words([100.5 + k, *pose[:3, 3], w, x, y, z])


def test_a_quaternion_in_the_other_order_is_not_taken_for_one_of_tum(tmp_path, taxonomy, capsys):
    scans(tmp_path / "src" / "d")
    path = tmp_path / "src" / "d" / "poses.txt"
    rows = "\n".join(map(w_first, FRAMES))
    path.write_text(rows)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err
    assert str(path) in error and "upside down" in error and "--poses none" in error
    path.write_text(f"# time x y z qw qx qy qz\n{rows}")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    check(tmp_path / "out")


def test_a_named_order_is_believed(tmp_path, taxonomy):
    """Of a sensor that hangs upside down and never turns."""
    scans(tmp_path / "src" / "d")
    rows = "\n".join(f"{k} 0 0 0 1 0 0 0" for k in FRAMES)
    path = tmp_path / "src" / "d" / "poses.txt"
    path.write_text(f"# time x y z qx qy qz qw\n{rows}")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    np.testing.assert_allclose(found(tmp_path / "out")[1, :, :3], np.diag([1, -1, -1]), atol=1e-12)


@pytest.mark.parametrize("case", ["kitti360", "16 numbers", "tum"])
@pytest.mark.parametrize("far", ["1e300", "-3.4e38", "2e9"])
def test_a_pose_that_lies_nowhere_is_refused(tmp_path, taxonomy, capsys, case, far):
    scans(tmp_path / "src" / "d")
    path = tmp_path / "src" / "d" / "poses.txt"
    text, changed = re.subn(r" 0\.5(?=\s)", f" {far}", LAYOUTS[case], count=1)
    assert changed
    path.write_text(text)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err
    assert str(path) in error and "from the origin" in error and "--poses none" in error
