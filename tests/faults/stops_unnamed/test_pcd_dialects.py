"""PCD files of any version and dialect are read, or it is said what of them is not."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from source_scans import run_import, stored, write_taxonomy

N = 20
XYZ = np.column_stack([np.arange(N) + 1, np.arange(N) * 2 + 1, np.full(N, 3)]).astype("<f4")
LABEL = (np.arange(N) % 3 + 1).astype("<u2")
ROWS = [f"{x:g} {y:g} {z:g} {i}" for (x, y, z), i in zip(XYZ, LABEL, strict=True)]
HEADER = f"""VERSION 0.7
FIELDS x y z label
SIZE 4 4 4 2
TYPE F F F U
COUNT 1 1 1 1
WIDTH {N}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {N}
DATA ascii
"""


def records() -> bytes:
    data = np.empty(N, [("xyz", "<f4", 3), ("label", "<u2")])
    data["xyz"], data["label"] = XYZ, LABEL
    return data.tobytes()


def planes() -> bytes:
    """One field after the other, as compressed files have them."""
    return np.ascontiguousarray(XYZ.T).tobytes() + LABEL.tobytes()


def text(header: str = HEADER, rows: list[str] = ROWS, end: str = "\n") -> bytes:
    return (header + "".join(f"{row}\n" for row in rows)).replace("\n", end).encode()


def without(*keys: str, header: str = HEADER) -> str:
    return "".join(f"{x}\n" for x in header.splitlines() if x.split()[0] not in keys)


def of(encoding: str, header: str = HEADER) -> bytes:
    return header.replace("DATA ascii", f"DATA {encoding}").encode()


def packed(block: bytes, size: int = N * 14) -> bytes:
    return struct.pack("<II", len(block), size) + block


def with_field(name: str, size: str, kind: str, count: str) -> str:
    """The header with a field between z and label."""
    header = HEADER.replace("x y z label", f"x y z {name} label").replace("4 4 2", f"4 4 {size} 2")
    header = header.replace("F F U", f"F F {kind} U")
    return header.replace("COUNT 1 1 1 1", f"COUNT 1 1 1 {count} 1")


READ = {
    "version .5": text(HEADER.replace("0.7", ".5")),
    "version .6": text("# .PCD v.6\n" + HEADER.replace("0.7", ".6")),
    "version 0.6, binary": of("binary", HEADER.replace("0.7", "0.6")) + records(),
    "version .5, columns": text(HEADER.replace("0.7", ".5").replace("FIELDS", "COLUMNS")),
    "no version": text(without("VERSION")),
    "no viewpoint, no count": text(without("VIEWPOINT", "COUNT")),
    "no points": text(without("POINTS")),
    "no points, binary": of("binary", without("POINTS")) + records(),
    "no width": text(without("WIDTH", "HEIGHT")),
    "no height": text(without("HEIGHT")),
    "no count at all": text(without("WIDTH", "HEIGHT", "POINTS")),
    "no size, no type": text(without("SIZE", "TYPE")),
    "organised": text(HEADER.replace("WIDTH 20", "WIDTH 5").replace("HEIGHT 1", "HEIGHT 4")),
    "width of another file": text(HEADER.replace("WIDTH 20", "WIDTH 4000000000")),
    "lower-case types": text(HEADER.replace("F F F U", "f f f u")),
    "lower-case types, binary": of("binary", HEADER.replace("F F F U", "f f f u")) + records(),
    "lower-case words": text(HEADER.lower()),
    "count 0": text(with_field("ring", "4", "F", "0")),
    "count 0, binary": of("binary", with_field("ring", "4", "F", "0")) + records(),
    "a vector": text(with_field("n", "4", "F", "3"), [r[:-1] + "7 8 9 " + r[-1:] for r in ROWS]),
    "padding": text(with_field("_", "1", "U", "2"), [r[:-1] + "0 0 " + r[-1:] for r in ROWS]),
    "tabs": text(HEADER.replace(" ", "\t"), [row.replace(" ", "\t") for row in ROWS]),
    "several spaces": text(rows=[f"  {row.replace(' ', '   ')}  " for row in ROWS]),
    "lines of Windows": text(end="\r\n"),
    "empty lines": text(HEADER.replace("SIZE", "\n# a comment\n\nSIZE")),
    "upper-case data": text(HEADER.replace("DATA ascii", "DATA ASCII")),
    "uncompressed block": of("binary_compressed") + packed(planes()),
    "something behind the points": of("binary") + records() + bytes(50),
}


def imported(tmp_path: Path, data: bytes, name: str = "one.pcd") -> int:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / name).write_bytes(data)
    taxonomy = write_taxonomy(tmp_path)
    return run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="pcd")


@pytest.mark.parametrize("case", READ)
def test_a_dialect_is_read(tmp_path, case):
    assert imported(tmp_path, READ[case]) == 0
    xyz, _, classes, _ = stored(tmp_path / "out", "00/000000")
    np.testing.assert_array_equal(xyz, XYZ)
    np.testing.assert_array_equal(classes, LABEL)


REFUSED = {
    "version 0.8": (text(HEADER.replace("0.7", "0.8")), "PCD version '0.8', which is not read"),
    "encoding": (of("binary_zip"), "DATA 'binary_zip'"),
    "type": (text(HEADER.replace("F F F U", "F F F Q")), "'label' of TYPE Q"),
    "size": (text(HEADER.replace("4 4 4 2", "4 4 4 3")), "'label' of TYPE U and SIZE 3"),
    "no type, binary": (of("binary", without("TYPE")) + records(), "no SIZE or TYPE"),
    "no data": (without("DATA").encode(), "no line DATA"),
    "fewer types": (text(HEADER.replace("F F F U", "F F F")), "in TYPE"),
    "words for numbers": (text(HEADER.replace("WIDTH 20", "WIDTH many")), "behind WIDTH: many"),
    "a negative count": (text(HEADER.replace("1 1 1 1\n", "1 1 1 -1\n")), "behind COUNT"),
    "a column less": (text(rows=[*ROWS[:-1], "1 2 3"]), "do not fit its header"),
    "two counts, neither fits": (
        of("binary", HEADER.replace("WIDTH 20", "WIDTH 7")) + records()[:-14],
        "says POINTS 20, but WIDTH x HEIGHT is 7",
    ),
    "block of another size": (of("binary_compressed") + packed(planes(), 99), "there are 7"),
    "block that is no block": (of("binary_compressed") + packed(b"\xff" * 30), "block"),
    "block that is cut": (of("binary_compressed") + packed(planes())[:-5], "truncated"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_read_is_said_in_words(tmp_path, capsys, case):
    data, words = REFUSED[case]
    assert imported(tmp_path, data) == 1
    error = capsys.readouterr().err
    assert "one.pcd" in error and words in error
    assert "pydantic" not in error and "validation error" not in error
