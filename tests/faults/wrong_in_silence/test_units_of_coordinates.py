"""Coordinates that are no metres: converted if the unit is known, asked about if it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import source_scans
from source_scans import points, run_import, write_taxonomy

FT, US_FT = 0.3048, 1200 / 3937


def write_las(path: Path, xyz: np.ndarray, keys=(), wkt: str = "", scale=1e-4) -> None:
    """A LAS file with GeoTIFF keys (id, value) or WKT."""
    import laspy

    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = [scale] * 3, np.floor(xyz.min(0))
    if keys:
        entries = [value for key, number in keys for value in (key, 0, 1, number)]
        data = np.array([1, 1, 0, len(keys), *entries], "<u2").tobytes()
        header.vlrs.append(laspy.VLR("LASF_Projection", 34735, "", data))
    if wkt:
        header.global_encoding.wkt = True
        header.vlrs.append(laspy.VLR("LASF_Projection", 2112, "", wkt.encode() + b"\0"))
    las = laspy.LasData(header)
    las.x, las.y, las.z = xyz.T
    las.classification = np.resize([1, 2, 3], len(xyz)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    las.write(str(path))


def wkt_of(code: str) -> str:
    import pyproj

    return pyproj.CRS.from_user_input(code).to_wkt("WKT2_2019")


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    return write_taxonomy(tmp_path)


def world(out: Path) -> np.ndarray:
    """Coordinates of the first scan in metres, with its offset."""
    row = (out / "scans.csv").read_text().splitlines()[1].split(",")
    offset = np.array([float(value) for value in row[4].split()] or [0.0] * 3)
    (path,) = out.rglob("*.bin")
    return np.fromfile(path, "<f4").reshape(-1, 4)[:, :3] + offset


STREET = points(0, 400).xyz.astype(np.float64)
LON_LAT = STREET * [1e-5, 1e-5, 1] + [-123.1, 44.2, 90]
UTM = STREET + [476_000, 4_429_000, 200]

GEOGRAPHIC = {
    "the model": {"keys": [(1024, 2)]},
    "a key of EPSG": {"keys": [(2048, 4326)]},
    "model and key": {"keys": [(1024, 2), (2048, 4269)]},
    "a code in the place of a map's": {"keys": [(1024, 1), (3072, 4326)]},
    "WKT": {"wkt": "EPSG:4326"},
    "WKT with heights": {"wkt": "EPSG:4326+5773"},
}


@pytest.mark.parametrize("name", GEOGRAPHIC)
@pytest.mark.parametrize("options", [[], ["--unit", "m"]])
def test_las_in_degrees_is_refused_by_the_name_of_its_system(
    tmp_path, taxonomy, capsys, name, options
):
    how = dict(GEOGRAPHIC[name])
    if "wkt" in how:
        how["wkt"] = wkt_of(how["wkt"])
    write_las(tmp_path / "src" / "a.las", LON_LAT, scale=1e-7, **how)
    assert run_import(tmp_path / "src", tmp_path / "o", taxonomy, *options, format="las") == 1
    error = capsys.readouterr().err
    assert "a.las has longitude and latitude in degrees (" in error and "reproject" in error
    assert name == "the model" or "WGS 84" in error or "NAD83" in error


FEET = {
    "US feet by key": ({"keys": [(1024, 1), (3076, 9003)]}, (US_FT, US_FT)),
    "feet by key": ({"keys": [(1024, 1), (3072, 32767), (3076, 9002)]}, (FT, FT)),
    "US feet by EPSG": ({"keys": [(1024, 1), (3072, 2229)]}, (US_FT, US_FT)),
    "feet by EPSG": ({"keys": [(1024, 1), (3072, 2222)]}, (FT, FT)),
    "heights in feet": ({"keys": [(1024, 1), (3072, 26910), (4099, 9002)]}, (1.0, FT)),
    "heights in metres": ({"keys": [(1024, 1), (3076, 9003), (4099, 9001)]}, (US_FT, 1.0)),
    "US feet by WKT": ({"wkt": "EPSG:2229"}, (US_FT, US_FT)),
    "heights in US feet by WKT": ({"wkt": "EPSG:26910+6360"}, (1.0, US_FT)),
    "metres by WKT": ({"wkt": "EPSG:32632+5773"}, (1.0, 1.0)),
    "nothing": ({}, (1.0, 1.0)),
}


@pytest.mark.parametrize("name", FEET)
def test_las_is_converted_by_the_unit_it_states(tmp_path, taxonomy, capsys, name):
    how, (horizontal, vertical) = FEET[name]
    how = {key: wkt_of(value) if key == "wkt" else value for key, value in how.items()}
    unit = np.array([horizontal, horizontal, vertical])
    write_las(tmp_path / "src" / "a.las", UTM / unit, **how)
    assert run_import(tmp_path / "src", tmp_path / "o", taxonomy, format="las") == 0
    np.testing.assert_allclose(world(tmp_path / "o"), UTM, rtol=0, atol=2e-4)
    said = "were converted to metres" in capsys.readouterr().out
    assert said == (unit != 1).any()


DOUBTFUL = {
    "the earth's centre": ({"keys": [(1024, 3)]}, "whose z is not up"),
    "two units": ({"keys": [(1024, 1), (3072, 2229), (3076, 9001)]}, "states two units"),
    "degrees that are none": ({"keys": [(1024, 2)]}, "its values are no degrees"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_las_states_in_doubt_is_settled_by_unit(tmp_path, taxonomy, capsys, name):
    how, words = DOUBTFUL[name]
    write_las(tmp_path / "src" / "a.las", UTM, **how)
    assert run_import(tmp_path / "src", tmp_path / "o", taxonomy, format="las") == 1
    error = capsys.readouterr().err
    assert words in error and "--unit m" in error
    assert run_import(tmp_path / "src", tmp_path / "p", taxonomy, "--unit", "m", format="las") == 0
    np.testing.assert_allclose(world(tmp_path / "p"), UTM, rtol=0, atol=1e-4)


def test_a_unit_that_overrules_the_file_and_a_system_that_cannot_be_read_are_told(
    tmp_path, taxonomy, capsys
):
    write_las(tmp_path / "one" / "a.las", UTM, keys=[(1024, 1), (3076, 9003)])
    assert run_import(tmp_path / "one", tmp_path / "o", taxonomy, "--unit", "m", format="las") == 0
    assert "although the file states US survey feet" in capsys.readouterr().out
    write_las(tmp_path / "two" / "a.las", UTM, wkt='PROJCS["any"]')
    assert run_import(tmp_path / "two", tmp_path / "p", taxonomy, format="las") == 0
    assert "cannot be read, so metres are assumed" in capsys.readouterr().out


def save(path: Path, xyz: np.ndarray) -> None:
    """The points in the format that the ending names."""
    path.parent.mkdir(parents=True)
    columns = {axis: xyz[:, k].copy() for k, axis in enumerate("xyz")}
    if path.suffix == ".npy":
        np.save(path, xyz)
    elif path.suffix == ".las":
        write_las(path, xyz, scale=1e-7 if np.ptp(xyz[:, 0]) < 1 else 1e-3)
    elif path.suffix == ".ply":
        from plyfile import PlyData, PlyElement

        rows = np.empty(len(xyz), [(axis, "f8") for axis in "xyz"])
        for axis, values in columns.items():
            rows[axis] = values
        PlyData([PlyElement.describe(rows, "vertex")]).write(str(path))
    else:
        from pypcd4 import PointCloud

        cloud = PointCloud.from_points(list(columns.values()), tuple("xyz"), [np.float64] * 3)
        cloud.save(path)


WIDE = points(1, 900).xyz.astype(np.float64) * [2, 2, 1]
LOOKS = {
    "degrees": (LON_LAT, "longitude and latitude", None),
    "degrees of a city": (LON_LAT[:, [1, 0, 2]] * [1, 0.6, 1] + [0, 0, 40], "longitude", None),
    "millimetres": (np.rint(WIDE * 1000), "millimetres", 0.001),
    "fractions of millimetres": (WIDE * 1000 + 0.25, "millimetres", 0.001),
    "a room in millimetres": (np.rint(STREET / 8 * [1, 1, 5] * 1000), "millimetres", 0.001),
    "centimetres": (WIDE * 100 + 0.5, "centimetres", 0.01),
    "kilometres": (WIDE / 1000, "one voxel", 1000.0),
}


@pytest.mark.parametrize("format", ["ply", "pcd", "npy", "las"])
@pytest.mark.parametrize("name", LOOKS)
def test_values_that_are_hardly_metres_are_asked_about(tmp_path, taxonomy, capsys, name, format):
    xyz, words, unit = LOOKS[name]
    save(tmp_path / "src" / f"a.{format}", xyz)
    assert run_import(tmp_path / "src", tmp_path / "o", taxonomy, format=format) == 1
    error = capsys.readouterr().err
    assert words in error and "--unit" in error and f"a.{format}" in error
    if format != "npy":
        return
    options = ["--unit", "m"]  # into the folder where the import has asked
    assert run_import(tmp_path / "src", tmp_path / "o", taxonomy, *options, format="npy") == 0
    if unit is not None:
        options = ["--unit", repr(unit)]
        assert run_import(tmp_path / "src", tmp_path / "q", taxonomy, *options, format="npy") == 0
        np.testing.assert_allclose(world(tmp_path / "q"), xyz * unit, rtol=0, atol=1e-5)


METRES = {
    "a scan": STREET,
    "a scan of few points": STREET[:60] / 100,
    "a map": UTM,
    "a tile of a map": UTM + (STREET - [0, 0, 0]) * [25, 25, 1],
    "a scan at the equator's origin": STREET + [100, 50, 0],
    "a room": STREET / 10,
}


@pytest.mark.parametrize("name", METRES)
def test_metres_are_not_asked_about(tmp_path, taxonomy, name):
    save(tmp_path / "src" / "a.npy", METRES[name])
    assert run_import(tmp_path / "src", tmp_path / "o", taxonomy, format="npy") == 0
    np.testing.assert_allclose(world(tmp_path / "o"), METRES[name], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "metres"),
    [("m", 1), ("cm", 0.01), ("mm", 0.001), ("km", 1e3), ("ft", FT), ("us-ft", US_FT), ("2", 2)],
)
def test_units_have_names(tmp_path, taxonomy, name, metres):
    save(tmp_path / "src" / "a.npy", STREET / metres)
    options = ["--unit", name]
    assert run_import(tmp_path / "src", tmp_path / "o", taxonomy, *options, format="npy") == 0
    np.testing.assert_allclose(world(tmp_path / "o"), STREET, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["parsec", "0", "-1", "nan", "inf", "M"])
def test_a_unit_that_is_none_is_a_usage_error(tmp_path, taxonomy, capsys, name):
    save(tmp_path / "src" / "a.npy", STREET)
    options = [f"--unit={name}"]
    assert run_import(tmp_path / "src", tmp_path / "o", taxonomy, *options, format="npy") == 2
    assert "--unit" in capsys.readouterr().err


def test_the_scale_of_the_points_is_told(tmp_path, taxonomy, capsys):
    save(tmp_path / "a" / "a.npy", STREET)
    assert run_import(tmp_path / "a", tmp_path / "o", taxonomy, format="npy") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("scale: ")]
    cells, counts = np.unique(np.floor(np.float32(STREET) / 0.25), axis=0, return_counts=True)
    share = 100 * (counts == 1).sum() / len(cells)
    farthest = np.sqrt((STREET**2).sum(1).max())
    assert f"{share:.0f} % of the voxels" in line and f"{farthest:.1f} m from the origin" in line
    tile = source_scans.points(3, 3000).xyz.astype(np.float64) * [40, 40, 5]
    save(tmp_path / "b" / "a.npy", tile)
    assert run_import(tmp_path / "b", tmp_path / "p", taxonomy, format="npy") == 0
    printed = capsys.readouterr().out
    assert "a tile of a map rather than a scan" in printed and "hold a single point" in printed


def test_without_pyproj_the_unit_is_asked_for(tmp_path, taxonomy, capsys, monkeypatch):
    import sys

    write_las(tmp_path / "src" / "a.las", UTM, keys=[(1024, 1), (3072, 2229)])
    write_las(tmp_path / "own" / "a.las", UTM / FT, keys=[(1024, 1), (3076, 9002)])
    monkeypatch.setitem(sys.modules, "pyproj", None)
    assert run_import(tmp_path / "src", tmp_path / "o", taxonomy, format="las") == 1
    error = capsys.readouterr().err
    assert "EPSG:2229" in error and "annotator3d[formats]" in error and "--unit m" in error
    options = ["--unit", "m"]
    assert run_import(tmp_path / "src", tmp_path / "o", taxonomy, *options, format="las") == 0
    assert run_import(tmp_path / "own", tmp_path / "p", taxonomy, format="las") == 0
    np.testing.assert_allclose(world(tmp_path / "p"), UTM, rtol=0, atol=1e-4)


NOT_KNOWN = {
    "a unit that is none": [(1024, 1), (3076, 9999)],
    "an angle in the place of a length": [(1024, 1), (3076, 9102)],
    "a unit of the user without a size": [(1024, 1), (3076, 32767)],
    "a system beyond EPSG": [(1024, 1), (3072, 60000)],
}


@pytest.mark.parametrize("name", NOT_KNOWN)
def test_a_unit_that_nobody_knows_is_said_to_be_taken_as_metres(tmp_path, taxonomy, capsys, name):
    write_las(tmp_path / "src" / "a.las", UTM, NOT_KNOWN[name])
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="las") == 0
    assert "cannot be read, so metres are assumed: 1 scan, a.las" in capsys.readouterr().out


@pytest.mark.parametrize("unit", ["0", "-1", "nan", "inf", "1e300", "1e-300"])
def test_a_unit_of_no_size_is_refused(tmp_path, taxonomy, capsys, unit):
    write_las(tmp_path / "src" / "a.las", UTM)
    options = (f"--unit={unit}",)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, *options, format="las") == 2
    assert "--unit: expected metres, from 1e-9 to 1e6" in capsys.readouterr().err


def test_keys_that_are_cut_off_are_told(tmp_path, taxonomy, capsys):
    path = tmp_path / "src" / "a.las"
    write_las(path, UTM, [(1024, 1), (3072, 2227)])
    data = path.read_bytes()
    place = data.index(np.array([1, 1, 0, 2, 1024, 0, 1, 1], "<u2").tobytes())
    head = data[: place - 34] + (8).to_bytes(2, "little") + data[place - 32 : place + 8]
    points = int.from_bytes(data[96:100], "little")
    head = head[:96] + (points - 16).to_bytes(4, "little") + head[100:]
    path.write_bytes(head + data[place + 24 :])
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="las") == 0
    assert "'GeoTIFF keys' cannot be read, so metres are assumed" in capsys.readouterr().out
