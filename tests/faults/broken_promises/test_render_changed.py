"""A picture of a query whose scan has changed would show another voxel: it is refused."""

from __future__ import annotations

import numpy as np
import pytest
from viewer_driver import make_work_dir

from annotator3d.cli.main import main


@pytest.mark.parametrize("change", ["moved", "fewer points", "other intensity"])
def test_a_changed_scan_is_named(make_kitti, tmp_path, capsys, change):
    root = make_kitti(scans=1, points=500)
    work_dir = make_work_dir(root, tmp_path / "run")
    (file,) = root.glob("sequences/00/velodyne/*.bin")
    points = np.fromfile(file, "<f4").reshape(-1, 4)
    if change == "moved":
        points[:, 0] += 1
    elif change == "fewer points":
        points = points[:-1]
    else:
        points[:, 3] *= 0.5
    points.tofile(file)
    capsys.readouterr()
    assert main(["render", str(work_dir), "--out", str(tmp_path / "x.png")]) == 1
    error = capsys.readouterr().err
    assert "00/000000" in error and "changed since it was asked about" in error
    assert not (tmp_path / "x.png").exists()
