"""A count in a header that the file cannot hold is an error at once, and not a loop or an array."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from source_scans import WRITERS, points, run_import, write_las, write_scans, write_taxonomy

HUGE = 1_069_128_089


def put(at: int, form: str, *values: int):
    """Overwrite numbers of a binary header."""

    def spoil(path: Path) -> None:
        data = bytearray(path.read_bytes())
        struct.pack_into(form, data, at, *values)
        path.write_bytes(data)

    return spoil


def put_behind(mark: bytes, shift: int, form: str, value: int):
    def spoil(path: Path) -> None:
        put(path.read_bytes().index(mark) + shift, form, value)(path)

    return spoil


def put_chunks(path: Path) -> None:
    """The table of chunks of a LAZ file counts more chunks than the file has bytes."""
    data = path.read_bytes()
    (start,) = struct.unpack_from("<I", data, 96)
    put(struct.unpack_from("<q", data, start)[0] + 4, "<I", HUGE)(path)


def put_layer(path: Path) -> None:
    """The first layer of the first chunk has 4 GB."""
    data = path.read_bytes()
    (start,), (length,) = struct.unpack_from("<I", data, 96), struct.unpack_from("<H", data, 105)
    put(start + 8 + length + 4, "<I", 2**32 - 1)(path)


def replace(old: str, new: str):
    def spoil(path: Path) -> None:
        data = path.read_bytes()
        assert old.encode() in data
        path.write_bytes(data.replace(old.encode(), new.encode(), 1))

    return spoil


def points_and_width(count: int):
    def spoil(path: Path) -> None:
        replace("POINTS 120", f"POINTS {count}")(path)
        replace("WIDTH 120", f"WIDTH {count}")(path)

    return spoil


def with_records(path: Path) -> None:
    """Extended records that begin behind the points, the first of them without an end."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<QI", data, 235, len(data), 3)
    path.write_bytes(bytes(data) + bytes(20) + struct.pack("<Q", 2**62) + bytes(32))


GARBAGE = {
    "records": ("las", put(100, "<I", HUGE), "variable-length records"),
    "records of LAZ": ("laz", put(100, "<I", HUGE), "variable-length records"),
    "extended records": ("las", put(235, "<QI", 375, HUGE), "extended records"),
    "extended record": ("las", with_records, "extended records, number 1"),
    "start of points": ("las", put(96, "<I", HUGE), "points begin at byte"),
    "size of header": ("las", put(94, "<H", 5), "header of 5 bytes"),
    "points": ("las", put(247, "<Q", 10**11), "100,000,000,000 points"),
    "points of LAZ": ("laz", put(247, "<Q", 10**11), "100,000,000,000 points"),
    "bytes of a point": ("las", put(105, "<H", 0), "a point has 0 bytes"),
    "chunks": ("laz", put_chunks, "chunks"),
    "items": ("laz", put_behind(b"laszip encoded", 52 + 32, "<H", 60000), "record of LASzip"),
    "layers": ("laz", put_layer, "chunk 1 of 1"),
    "header of an array": ("npy", put(6, "<BBI", 2, 0, 2**32 - 1), "header ends behind it"),
    "vertices": ("ply-little", replace("vertex 120", f"vertex {10**11}"), "100,000,000,000"),
    "vertices of text": ("ply-ascii", replace("vertex 120", f"vertex {10**11}"), "100,000,000,000"),
    "faces": (
        "ply-little",
        replace(
            "end_header",
            f"element face {HUGE}\nproperty list uchar int vertex_indices\nend_header",
        ),
        "of 'face'",
    ),
    "nothing": (
        "ply-little",
        replace("element vertex", f"element nothing {HUGE}\nelement vertex"),
        "of 'nothing'",
    ),
    "negative": ("ply-ascii", replace("vertex 120", "vertex -4"), "'-4' of 'vertex'"),
    "no end": ("ply-little", replace("end_header", "end_head"), "no end_header"),
    "width": ("pcd-binary", points_and_width(10**11), "says 100000000000 points"),
    "width of a block": ("pcd-compressed", points_and_width(HUGE), f"says {HUGE} points"),
    "values": ("pcd-ascii", replace("COUNT 1", f"COUNT {HUGE}"), "values of each point"),
    "block": ("pcd-compressed", put_behind(b"compressed\n", 15, "<I", 2**32 - 8), "block"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", GARBAGE)
def test_a_garbage_count_is_named_and_the_others_are_imported(tmp_path, capsys, case):
    kind, spoil, words = GARBAGE[case]
    format = kind.split("-")[0]
    src = write_scans(tmp_path / "src", kind)
    spoil(src / "b" / f"scan1.{format}")
    assert run_import(src, tmp_path / "out", write_taxonomy(tmp_path), format=format) == 1
    error = capsys.readouterr().err
    assert "1 of 4 scans" in error and f"b/scan1.{format}" in error and words in error
    assert len(list((tmp_path / "out").rglob("*.bin"))) == 3


def test_records_that_are_there_are_still_read(tmp_path):
    """Many small records, an offset of UTM and extra bytes: nothing is refused for its bounds."""
    import laspy

    (tmp_path / "src").mkdir()
    path = tmp_path / "src" / "a.las"
    write_las(path, points(1))
    las = laspy.read(path)
    las.header.vlrs.extend(laspy.VLR("mine", number, "", b"x") for number in range(200))
    las.evlrs = laspy.vlrs.vlrlist.VLRList([laspy.VLR("mine", 1, "", bytes(70_000))])
    las.write(path)
    WRITERS["laz"](tmp_path / "b.laz", points(2))
    assert (
        run_import(tmp_path / "src", tmp_path / "out", write_taxonomy(tmp_path), format="las") == 0
    )
