"""A damaged scale or offset of LAS moves every point: the bounds in the header contradict it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from source_scans import points, run_import, write_las, write_taxonomy

SCALE, OFFSET, BOUNDS = 131, 155, 179  # bytes of the header: x, y, z; max and min of each axis
WORDS = "points outside of the bounds that the header states"


def imported(tmp_path: Path, capsys, ending: str, at: int, *values: float, n: int = 400) -> str:
    (tmp_path / "src").mkdir()
    path = tmp_path / "src" / f"a.{ending}"
    write_las(path, points(0, n))
    data = bytearray(path.read_bytes())
    struct.pack_into(f"<{len(values)}d", data, at, *values)
    path.write_bytes(data)
    options = ["--unit", "m"]  # whatever they look like
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, *options, format=ending) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("ending", ["las", "laz"])
@pytest.mark.parametrize(
    ("at", "value"),
    [(SCALE, 0.002), (SCALE + 8, 0.004), (SCALE, -0.002), (OFFSET, 64.0), (OFFSET + 16, -2.0)],
)
def test_a_damaged_scale_or_offset_is_said(tmp_path, capsys, ending, at, value):
    out = imported(tmp_path, capsys, ending, at, value)
    assert WORDS in out and "a." + ending in out.split(WORDS)[1].splitlines()[0]


@pytest.mark.parametrize(
    "bounds",
    [
        [0.0] * 6,  # never filled in
        [1000.0, -1000.0] * 3,  # of the file that this one was cut from
        [np.nan] * 6,
        [-1.0, 1.0] * 3,  # the largest below the smallest
    ],
)
def test_bounds_that_say_nothing_are_passed_over(tmp_path, capsys, bounds):
    assert WORDS not in imported(tmp_path, capsys, "las", BOUNDS, *bounds)


def test_a_sound_file_says_nothing(tmp_path, capsys):
    assert WORDS not in imported(tmp_path, capsys, "las", SCALE, 0.001)
