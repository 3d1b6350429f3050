"""Text files that declare float and write more digits than it holds: every digit counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from source_scans import run_import, write_taxonomy

UTM = np.array([289_814.15, 4_320_978.61, 170.76])
POINTS = UTM + np.arange(400)[:, None] * [0.04, 0.04, 0.0]


def rows(end: str) -> str:
    return "".join(f"{x:.2f} {y:.2f} {z:.2f} 1{end}" for x, y, z in POINTS)


def ply(kind: str, end: str = "\n") -> str:
    axes = "".join(f"property {kind} {axis}{end}" for axis in "xyz")
    head = f"ply{end}format ascii 1.0{end}element vertex {len(POINTS)}{end}{axes}"
    return f"{head}property uchar label{end}end_header{end}" + rows(end)


def pcd(sizes: str, end: str = "\n") -> str:
    return end.join([
        "# .PCD v0.7", "VERSION 0.7", "FIELDS x y z label", f"SIZE {sizes} 1", "TYPE F F F U",
        "COUNT 1 1 1 1", f"WIDTH {len(POINTS)}", "HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {len(POINTS)}", "DATA ascii", "",
    ]) + rows(end)  # fmt: skip


FILES = {
    "ply float": ("ply", ply("float")),
    "ply float32": ("ply", ply("float32")),
    "ply of Windows": ("ply", ply("float", "\r\n")),
    "ply double": ("ply", ply("double")),
    "pcd": ("pcd", pcd("4 4 4")),
    "pcd of mixed sizes": ("pcd", pcd("8 4 4")),
    "pcd double": ("pcd", pcd("8 8 8")),
}


@pytest.mark.parametrize("name", FILES)
def test_every_digit_of_a_text_file_arrives(tmp_path: Path, name: str):
    format, text = FILES[name]
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / f"a.{format}").write_bytes(text.encode())
    out = tmp_path / "out"
    assert run_import(tmp_path / "src", out, write_taxonomy(tmp_path), format=format) == 0
    row = (out / "scans.csv").read_text().splitlines()[1].split(",")
    offset = np.array([float(value) for value in row[4].split()])
    stored = np.fromfile(out / "sequences/00/velodyne/000000.bin", "<f4").reshape(-1, 4)
    np.testing.assert_allclose(stored[:, :3] + offset, POINTS.round(2), rtol=0, atol=1e-5)
