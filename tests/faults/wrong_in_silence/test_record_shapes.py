"""Binary points of another shape than four float32 are never read as such."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from source_scans import run_import, stored, write_taxonomy

from annotator3d.cli.main import main
from annotator3d.data.formats.kitti import read_bin
from annotator3d.data.importing.convert import output_paths

N = 1200  # so that every shape below also divides into points of four float32


def street(count: int = N, seed: int = 0) -> np.ndarray:
    """[count, 8]: x, y, z, intensity, ring, seconds, reflectivity, ambient light."""
    random = np.random.default_rng(seed)
    xy, z = random.uniform(-50, 50, (count, 2)), random.uniform(-3, 5, count)
    intensity, ring = random.integers(0, 256, count), np.arange(count) % 32
    seconds, rest = np.linspace(0, 0.1, count), random.random((count, 2))
    return np.column_stack([xy, z, intensity, ring, seconds, rest])


def normals(count: int = N) -> np.ndarray:
    """[count, 6]: x, y, z and a unit vector."""
    vectors = np.random.default_rng(1).normal(size=(count, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.column_stack([street(count)[:, :3], vectors])


def padded(count: int = N) -> np.ndarray:
    """[count, 8]: x, y, z, 1, intensity and padding, as PCL has it in memory."""
    full = street(count)
    return np.column_stack([full[:, :3], np.ones(count), full[:, 3], np.zeros((count, 3))])


def radar(count: int = N) -> np.ndarray:
    """[count, 18]: x, y, z and whatever else a radar measures."""
    rest = np.random.default_rng(2).normal(size=(count, 15))
    return np.column_stack([street(count)[:, :3], rest])


# Name -> the points as they are written, and the --columns that the refusal names.
SHAPES = {
    "three": (street()[:, :3].astype("<f4"), "x,y,z"),
    "five": (street()[:, :5].astype("<f4"), "x,y,z,intensity,_"),
    "six": (street()[:, :6].astype("<f4"), "x,y,z,intensity,_,_"),
    "colors": (street()[:, [0, 1, 2, 3, 3, 3]].astype("<f4"), "x,y,z,intensity,_,_"),
    "normals": (normals().astype("<f4"), "x,y,z,_,_,_"),
    "seven": (street()[:, :7].astype("<f4"), "x,y,z,intensity,_,_,_"),
    "eight": (street().astype("<f4"), "x,y,z,intensity,_,_,_,_"),
    "eighteen": (radar().astype("<f4"), "x,y,z,_,_,_,_,_,_,_,_,_,_,_,_,_,_,_"),
    "padded": (padded().astype("<f4"), "x,y,z,intensity,_,_,_,_"),
    "double": (street()[:, :4].astype("<f8"), "x:f8,y:f8,z:f8,intensity:f8"),
    "double of float": (street()[:, :4].astype("<f4").astype("<f8"), "x:f8,y:f8,z:f8,intensity:f8"),
    "double of three": (street()[:, :3].astype("<f8"), "x:f8,y:f8,z:f8"),
    "double far away": (street()[:, :3] + [5e5, 5e6, 100], "x:f8,y:f8,z:f8"),
    "big-endian": (street()[:, :4].astype(">f4"), "x:>f4,y:>f4,z:>f4,intensity:>f4"),
}


def read(out: Path, scan_id: str = "00/000000") -> np.ndarray:
    """The points [N, 4] that an import wrote."""
    return np.column_stack(read_bin(output_paths(out, scan_id)[0]))


def write(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(values.tobytes())
    return path


@pytest.mark.parametrize("name", SHAPES)
def test_a_file_of_another_shape_is_refused_with_the_columns_that_fit(tmp_path, capsys, name):
    values, columns = SHAPES[name]
    path = write(tmp_path / "src" / "one.bin", values)
    assert path.stat().st_size % 16 == 0
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 1
    error = capsys.readouterr().err
    assert path.name in error and f"--columns {columns} fits ({N:,} points)" in error
    options = ["--columns", columns, "--offset", "none"]
    assert run_import(tmp_path / "src", tmp_path / "good", taxonomy, *options, format="bin") == 0
    points = read(tmp_path / "good")
    np.testing.assert_array_equal(points[:, :3], values[:, :3].astype("<f4"))


def test_a_folder_of_such_files_is_one_refusal(tmp_path, capsys):
    for scan in range(20):
        write(tmp_path / "src" / f"scan{scan}.bin", street(N + 4 * scan)[:, :5].astype("<f4"))
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 1
    error = capsys.readouterr().err
    assert "20 of 20 scans cannot be imported" in error and len(error) < 550
    assert f"--columns x,y,z,intensity,_ fits ({N:,} points)" in error
    assert "; also scan1.bin, scan2.bin and 17 more" in error


@pytest.mark.parametrize("name", ["three", "five", "six", "normals", "eight", "double"])
@pytest.mark.parametrize("count", [60, 1201])
def test_few_points_and_odd_sizes_are_refused_too(tmp_path, capsys, name, count):
    make = normals if name == "normals" else street
    width = {"three": 3, "five": 5, "six": 6, "normals": 6, "eight": 8, "double": 4}[name]
    values = make(count)[:, :width].astype("<f8" if name == "double" else "<f4")
    write(tmp_path / "src" / "one.bin", values)
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 1
    assert f"--columns {SHAPES[name][1]} fits" in capsys.readouterr().err


@pytest.mark.parametrize("name", SHAPES)
def test_check_sees_it_in_a_folder_in_use(tmp_path, capsys, name):
    values, columns = SHAPES[name]
    path = write(tmp_path / "kitti" / "sequences" / "00" / "velodyne" / "000000.bin", values)
    assert main(["check", str(tmp_path / "kitti"), "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert {p["file"] for p in problems} == {str(path)}
    kinds = {p["kind"] for p in problems if p["severity"] == "error"}
    assert kinds <= {"wrong columns", "wrong endianness"} and kinds
    assert name == "big-endian" or columns in problems[0]["words"]


@pytest.mark.parametrize("above", ["", "team/perception/drives/semantic_kitti_format/of_2026"])
def test_training_refuses_it_without_a_check(tmp_path, capsys, above):
    kitti = tmp_path / above / "kitti"  # a long path leaves room for the advice
    for scan in range(2):
        path = kitti / "sequences" / "00" / "velodyne" / f"{scan:06d}.bin"
        write(path, SHAPES["five"][0])
    data = "{type: SemanticKITTI, sequences: ['00']}"
    options = ["--set", f"data.train={data}", "--set", "data.val=null"]
    options += ["--set", "active.oracle=person", "--work-dir", str(tmp_path / "work")]
    root = ["--data-root", str(kitti)]
    assert main(["train", "al/semantickitti_few", *root, *options]) == 1
    assert "--columns x,y,z,intensity,_ fits" in capsys.readouterr().err


@pytest.mark.parametrize("columns", ["x,y,z", "x,y,z,intensity", "x,y,z,intensity,_,_,_,_,_,_"])
def test_columns_that_are_named_wrongly_are_refused_unless_types_insist(tmp_path, capsys, columns):
    write(tmp_path / "src" / "one.bin", SHAPES["five"][0])
    taxonomy, out = write_taxonomy(tmp_path), tmp_path / "out"
    options = ["--columns", columns]
    assert run_import(tmp_path / "src", out, taxonomy, *options, format="bin") == 1
    error = capsys.readouterr().err
    assert f"--columns x,y,z,intensity,_ fits ({N:,} points)" in error
    typed = ",".join(f"{name}:f4" for name in columns.split(","))
    assert f"--columns {typed}" in error
    options = ["--columns", typed]
    assert run_import(tmp_path / "src", tmp_path / "typed", taxonomy, *options, format="bin") == 0
    points = read(tmp_path / "typed")
    wanted = SHAPES["five"][0].reshape(-1, columns.count(",") + 1)[:, :3]
    np.testing.assert_array_equal(points[:, :3], wanted)
    assert main(["check", str(tmp_path / "typed")]) == 0


def test_records_of_mixed_types_are_read(tmp_path):
    kinds = [("x", "<f8"), ("y", "<f4"), ("z", ">i2"), ("intensity", "u1"), ("label", "<u2")]
    rows = np.zeros(50, kinds)
    full = street(50)
    rows["x"], rows["y"], rows["z"] = full[:, 0], full[:, 1], np.rint(full[:, 2])
    rows["intensity"], rows["label"] = full[:, 3], np.arange(50) % 3 + 1
    write(tmp_path / "src" / "one.bin", rows)
    options = ["--columns", "x:f8,y:f4,z:>i2,intensity:u1,label:u2"]
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, *options, format="bin") == 0
    xyz, intensity, labels, _ = stored(tmp_path / "out", "00/000000")
    wanted = np.column_stack([rows["x"], rows["y"], rows["z"]]).astype("<f4")
    np.testing.assert_array_equal(xyz, wanted)
    np.testing.assert_array_equal(intensity, rows["intensity"])
    np.testing.assert_array_equal(labels, rows["label"])


@pytest.mark.parametrize(
    ("columns", "words"), [("x:f3,y,z", "unknown type 'f3'"), ("x:f4,y:f4", "z is missing")]
)
def test_types_that_make_no_sense_are_usage_errors(tmp_path, capsys, columns, words):
    write(tmp_path / "src" / "one.bin", SHAPES["five"][0])
    taxonomy = write_taxonomy(tmp_path)
    options = ["--columns", columns]
    assert run_import(tmp_path / "src", tmp_path / "o", taxonomy, *options, format="bin") == 2
    assert words in capsys.readouterr().err


def test_packed_numbers_in_the_fourth_column_are_no_intensity(tmp_path, capsys):
    ids = np.arange(N, dtype="<u4") % 20
    values = np.column_stack([street()[:, :3].astype("<f4").view("<u4"), ids])
    write(tmp_path / "src" / "one.bin", values)
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 1
    assert "--columns x,y,z,_ fits" in capsys.readouterr().err


def test_numbers_that_are_no_points_in_any_shape_are_refused(tmp_path, capsys):
    random = np.random.default_rng(0)
    path = write(tmp_path / "src" / "one.bin", random.integers(0, 256, 16 * N).astype("u1"))
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 1
    assert f"{path.name} does not look like points" in capsys.readouterr().err


@pytest.mark.parametrize("count", [N, 34_688])
def test_sweeps_of_nuscenes_are_recognised(tmp_path, capsys, count):
    values = street(count)[:, :5].astype("<f4")
    write(tmp_path / "src" / "LIDAR_TOP" / "n015__LIDAR_TOP__1531.pcd.bin", values)
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 0
    assert "note: read as sweeps of nuScenes (x,y,z,intensity,ring): 1 scan" in (
        capsys.readouterr().out
    )
    np.testing.assert_array_equal(read(tmp_path / "out", "LIDAR_TOP/000000"), values[:, :4])


def test_a_file_that_only_has_the_name_of_a_sweep_is_read_as_what_it_is(tmp_path, capsys):
    src, taxonomy = tmp_path / "src", write_taxonomy(tmp_path)
    write(src / "a.pcd.bin", street()[:, :4].astype("<f4"))
    assert run_import(src, tmp_path / "out", taxonomy, format="bin") == 0
    assert "nuScenes" not in capsys.readouterr().out
    write(src / "b.pcd.bin", street()[:, :6].astype("<f4"))
    assert run_import(src, tmp_path / "two", taxonomy, format="bin") == 1
    assert "b.pcd.bin does not look like" in capsys.readouterr().err


# What a scan of four float32 may be like without being taken for anything else.
RIGHT = {
    "as it is": lambda a: a,
    "by azimuth": lambda a: a[np.argsort(np.arctan2(a[:, 1], a[:, 0]), kind="stable")],
    "by range": lambda a: a[np.argsort(np.hypot(a[:, 0], a[:, 1]), kind="stable")],
    "two beams in turn": lambda a: np.stack(np.split(a[: len(a) // 2 * 2], 2), 1).reshape(-1, 4),
    "three beams in turn": lambda a: np.stack(np.split(a[: len(a) // 3 * 3], 3), 1).reshape(-1, 4),
    "no intensity": lambda a: a * np.float32([1, 1, 1, 0]),
    "intensity to 255": lambda a: np.rint(a * np.float32([1, 1, 1, 255]) * 8) / np.float32(8),
    "millimetres": lambda a: a * np.float32([1000, 1000, 1000, 1]),
    "far away": lambda a: a + np.float32([5e5, 5e6, 0, 0]),
    "no return at 0": lambda a: np.where(np.arange(len(a))[:, None] % 5 < 2, np.float32(0), a),
    "every second return": lambda a: a * (np.arange(len(a))[:, None] % 2).astype("f4"),
    "no return as NaN": lambda a: np.where(
        np.arange(len(a))[:, None] % 5 < 3, np.float32("nan"), a
    ),
    "the first ten": lambda a: a[:10],
    "the first hundred": lambda a: a[:100],
}


def is_believed(values: np.ndarray) -> bool:
    from annotator3d.data.formats.records import doubt

    return doubt(np.frombuffer(values.astype("<f4").tobytes(), np.uint8), 4) is None


@pytest.mark.parametrize("how", RIGHT)
def test_real_scans_are_never_refused(kitti_root, how):
    scans = sorted(kitti_root.glob("sequences/*/velodyne/*.bin"))
    for path in scans if how == "as it is" else scans[::5]:
        assert is_believed(RIGHT[how](np.fromfile(path, "<f4").reshape(-1, 4))), path


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> list[Path]:
    """Scans of both simulated sensors, of a real and of a small number of beams."""
    folder = tmp_path_factory.mktemp("simulated")
    for domain in ("ideal", "hdl64"):
        for beams, azimuths in ((64, 256), (16, 64)):
            options = ["--scans", "2", "--beams", str(beams), "--azimuths", str(azimuths)]
            out = folder / f"{domain}{beams}"
            assert main(["simulate", str(out), "--domain", domain, *options]) == 0
    return sorted(folder.rglob("velodyne/*.bin"))


@pytest.mark.parametrize("how", RIGHT)
def test_simulated_scans_are_never_refused(simulated, how):
    for path in simulated:
        assert is_believed(RIGHT[how](np.fromfile(path, "<f4").reshape(-1, 4))), path


@pytest.mark.parametrize(
    "columns", ["x,y,z,x", "x,y,z,X", "label,x,y,z,label", "x:f4,y:f4,z:f4,z:f4"]
)
def test_a_column_that_is_named_twice_is_refused(tmp_path, capsys, columns):
    (tmp_path / "src").mkdir()
    street()[:, :4].astype("<f4").tofile(tmp_path / "src" / "a.bin")
    options = ("--columns", columns)
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, *options, format="bin") == 2
    assert "is named twice" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_skipped_columns_may_be_several(tmp_path):
    (tmp_path / "src").mkdir()
    street()[:, :5].astype("<f4").tofile(tmp_path / "src" / "a.bin")
    options = ("--columns", "x,y,z,_,_")
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, *options, format="bin") == 0


def test_half_floats_are_no_question_of_their_unit(tmp_path, capsys):
    (tmp_path / "src").mkdir()
    random = np.random.default_rng(0)
    half = np.column_stack([random.normal(size=(3000, 3)) * [20, 20, 2], random.random(3000)])
    half.astype("<f2").tofile(tmp_path / "src" / "a.bin")
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="bin") == 1
    told = capsys.readouterr().err
    assert "a.bin" in told and "pass their unit" not in told


@pytest.mark.parametrize("labels", [False, True])
def test_the_only_array_of_an_npz_holds_the_points(tmp_path, labels):
    (tmp_path / "src").mkdir()
    rows, kinds = street()[:, :4], np.resize([1, 2, 3], N)
    np.savez(tmp_path / "src" / "a.npz", rows, **({"label": kinds} if labels else {}))
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npz") == 0
    (path,) = (tmp_path / "out").rglob("*.bin")
    np.testing.assert_array_equal(read_bin(path)[0], rows[:, :3].astype("f4"))
    if labels:
        np.testing.assert_array_equal(stored(tmp_path / "out", "00/000000")[2], kinds)


def test_arrays_of_an_npz_that_may_all_be_the_points_are_named(tmp_path, capsys):
    (tmp_path / "src").mkdir()
    np.savez(tmp_path / "src" / "a.npz", place=street()[:, :3], paint=street()[:, :3])
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npz") == 1
    assert "only 'place' [1200, 3], 'paint' [1200, 3]" in capsys.readouterr().err
