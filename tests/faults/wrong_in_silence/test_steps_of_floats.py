"""Binary files whose floats are too coarse for their coordinates: the report gives their step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from source_scans import points, run_import, write_taxonomy

SCAN = points(0, 400).xyz.astype(np.float64)
UTM = SCAN + [289_814, 4_320_978, 170]


def ply(path: Path, xyz: np.ndarray) -> None:
    from plyfile import PlyData, PlyElement

    rows = np.empty(len(xyz), [(axis, xyz.dtype) for axis in "xyz"])
    for k, axis in enumerate("xyz"):
        rows[axis] = xyz[:, k]
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(path))


def pcd(path: Path, xyz: np.ndarray) -> None:
    from pypcd4 import Encoding, PointCloud

    kind = xyz.dtype.type
    cloud = PointCloud.from_points([c.copy() for c in xyz.T], tuple("xyz"), [kind] * 3)
    cloud.save(path, encoding=Encoding.BINARY_COMPRESSED)


def text(path: Path, xyz: np.ndarray) -> None:
    head = f"ply\nformat ascii 1.0\nelement vertex {len(xyz)}\n"
    axes = "".join(f"property double {axis}\n" for axis in "xyz")
    rows = "".join(" ".join(f"{v:.7g}" for v in row) + "\n" for row in xyz)
    path.write_text(f"{head}{axes}end_header\n{rows}")


WRITE = {
    "ply": ply,
    "pcd": pcd,
    "npy": lambda path, xyz: np.save(path, xyz),
    "npz": lambda path, xyz: np.savez(path, points=xyz),
    "bin": lambda path, xyz: np.column_stack([xyz, 0 * xyz[:, :1]]).astype("<f4").tofile(path),
}


def notes(tmp_path: Path, capsys) -> str:
    """The report of an import of the only file in ``src``."""
    (path,) = (tmp_path / "src").iterdir()
    taxonomy, format = write_taxonomy(tmp_path), path.suffix[1:]
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format=format) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("format", WRITE)
@pytest.mark.parametrize("place", [UTM, SCAN + [30_000, 0, 0]], ids=["UTM", "30 km"])
def test_the_step_of_float32_is_told(tmp_path, capsys, format, place):
    (tmp_path / "src").mkdir()
    WRITE[format](tmp_path / "src" / f"a.{format}", place.astype(np.float32))
    printed = notes(tmp_path, capsys)
    where = np.abs(np.median(np.float32(place), axis=0)).max()
    assert f"the file's own floats hold steps of {np.spacing(np.float32(where)):.3g} m" in printed
    assert "write them as double or as LAS" in printed


def test_half_precision_is_told(tmp_path, capsys):
    (tmp_path / "src").mkdir()
    np.save(tmp_path / "src" / "a.npy", SCAN.astype(np.float16))
    assert "the file's own floats hold steps of" in notes(tmp_path, capsys)


@pytest.mark.parametrize("how", ["double of float", "text of few digits"])
def test_a_step_in_the_numbers_themselves_is_told(tmp_path, capsys, how):
    (tmp_path / "src").mkdir()
    if how == "double of float":
        np.save(tmp_path / "src" / "a.npy", UTM.astype(np.float32).astype(np.float64))
        step = "0.5 m"
    else:
        text(tmp_path / "src" / "a.ply", UTM)
        step = "1 m"
    assert f"coordinates lie on steps of {step}" in notes(tmp_path, capsys)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("format", ["ply", "npy"])
def test_fine_coordinates_need_no_word(tmp_path, capsys, kind, format):
    (tmp_path / "src").mkdir()
    place = SCAN if kind == np.float32 else UTM
    WRITE[format](tmp_path / "src" / f"a.{format}", place.astype(kind))
    assert "steps of" not in notes(tmp_path, capsys)
