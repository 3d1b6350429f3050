"""No damaged file hangs a reader, takes much memory, or ends without its name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import damaging_files
import pytest
from source_scans import WRITERS, points, write_las

EXAMPLES = 150


def write_old_las(path: Path) -> None:
    """LAS 1.2, whose header is another one."""
    import laspy
    import numpy as np

    las = laspy.LasData(laspy.LasHeader(point_format=3, version="1.2"))
    las.x = las.y = las.z = np.arange(1.0, 101.0)
    las.write(str(path))


KINDS = {
    **{kind: lambda path, kind=kind: WRITERS[kind](path, points(1)) for kind in WRITERS},
    "las-1.2": write_old_las,
    "laz-1.2": write_old_las,
    "laz-utm": lambda path: write_las(path, points(1), (5e5, 5e6, 100.0)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_end_with_a_cloud_or_their_name(tmp_path, kind):
    format = kind.split("-")[0]
    path = tmp_path / f"whole.{format}"
    KINDS[kind](path)
    done = subprocess.run(
        [sys.executable, damaging_files.__file__, str(path), format, "1", str(EXAMPLES)],
        capture_output=True,
        text=True,
        timeout=damaging_files.SECONDS * 20,
    )
    assert done.returncode == 0, f"died or hung: {done.stderr[-600:]}"
    assert done.stdout == ""
