"""Points that are in a file and that its header does not count are told."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from source_scans import points, run_import, write_pcd, write_ply, write_taxonomy

from annotator3d.data.formats.las import read_las

NOTE = "points behind those that the header counts are not read"
N, COUNTED = 400, 300


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    return write_taxonomy(tmp_path)


def write_las(path: Path, version: str, point_format: int, counted: int = COUNTED) -> None:
    import laspy

    p = points(0, N)
    header = laspy.LasHeader(version=version, point_format=point_format)
    header.scales = [0.001] * 3
    las = laspy.LasData(header)
    las.x, las.y, las.z = p.xyz.T
    las.classification = p.label.astype(np.uint8)
    las.write(str(path))
    data = bytearray(path.read_bytes())
    data[107:111] = counted.to_bytes(4, "little")
    if version == "1.4":
        data[247:255] = counted.to_bytes(8, "little")
    path.write_bytes(data)


def replaced(path: Path, *pairs: tuple[bytes, bytes]) -> None:
    data = path.read_bytes()
    for old, new in pairs:
        assert old in data
        data = data.replace(old, new)
    path.write_bytes(data)


VERTEX = (b"element vertex 400", b"element vertex 300")
HEADER = [(b"WIDTH 400", b"WIDTH 300"), (b"POINTS 400", b"POINTS 300")]


def write(kind: str, folder: Path) -> str:
    """Write the file; its format."""
    folder.mkdir()
    if kind.startswith("ply"):
        write_ply(folder / "a.ply", points(0, N), text=kind == "ply text")
        replaced(folder / "a.ply", VERTEX)
        return "ply"
    if kind == "pcd":
        write_pcd(folder / "a.pcd", points(0, N), "binary")
        replaced(folder / "a.pcd", *HEADER)
        return "pcd"
    format, _, version = kind.partition(" ")
    write_las(folder / f"a.{format}", version, 1 if version == "1.2" else 6)
    return format


@pytest.mark.parametrize(
    "kind", ["ply", "ply text", "pcd", "las 1.2", "las 1.4", "laz 1.2", "laz 1.4"]
)
def test_a_header_that_counts_too_few_is_told_with_the_points_it_hides(
    tmp_path, taxonomy, capsys, kind
):
    format = write(kind, tmp_path / "src")
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format=format) == 0
    assert f"{NOTE}: 100 points in 1 scan, a.{format}" in capsys.readouterr().out


@pytest.mark.parametrize(("version", "point_format"), [("1.2", 1), ("1.2", 3), ("1.4", 7)])
@pytest.mark.parametrize("points", [1, 2000, 2599])
def test_laz_of_several_chunks_tells_what_its_header_hides(tmp_path, version, point_format, points):
    """Chunks of 1,000 points, and a header without numbers by return."""
    path = tmp_path / "a.laz"
    laz_in_chunks(path, version, point_format, 1000, 2600)
    data = bytearray(path.read_bytes())
    data[107:131] = points.to_bytes(4, "little") + bytes(20)
    if version == "1.4":
        data[247:255] = points.to_bytes(8, "little")
    path.write_bytes(data)
    assert read_las(path).remarks.get(NOTE, 0) == 2600 - points


@pytest.mark.parametrize(("version", "point_format"), [("1.2", 0), ("1.2", 3), ("1.4", 6)])
@pytest.mark.parametrize("number", [0, 1, 999, 1000, 1001, 2000])
def test_of_a_sound_laz_file_nothing_is_told(tmp_path, version, point_format, number):
    laz_in_chunks(tmp_path / "a.laz", version, point_format, 1000, number)
    assert NOTE not in read_las(tmp_path / "a.laz").remarks


def laz_in_chunks(path: Path, version: str, point_format: int, chunk: int, number: int) -> None:
    """A LAZ file of `number` points in chunks of `chunk`, by lazrs itself."""
    import laspy
    import lazrs

    header = laspy.LasHeader(version=version, point_format=point_format)
    las = laspy.LasData(header)
    las.points = laspy.ScaleAwarePointRecord.zeros(number, header=header)
    las.X = np.random.default_rng(number).integers(0, 1000, number)
    las.return_number = las.number_of_returns = np.ones(number, np.uint8)
    las.header.update(las.points)
    record = lazrs.LazVlr.new_for_compression(point_format, 0)
    content = bytearray(record.record_data())
    content[12:16] = chunk.to_bytes(4, "little")
    record = lazrs.LazVlr(bytes(content))
    vlr = b"\0\0" + b"laszip encoded".ljust(16, b"\0") + (22204).to_bytes(2, "little")
    vlr += len(content).to_bytes(2, "little") + bytes(32) + bytes(content)
    out = io.BytesIO()
    las.write(out, do_compress=False)
    raw = bytearray(out.getvalue())
    start = int.from_bytes(raw[96:100], "little")
    assert start == len(raw) - number * las.points.array.itemsize
    head, body = raw[:start], bytes(raw[start:])
    head[96:100] = (start + len(vlr)).to_bytes(4, "little")
    head[100:104] = (int.from_bytes(head[100:104], "little") + 1).to_bytes(4, "little")
    head[104] |= 0x80
    whole = io.BytesIO(bytes(head) + vlr)
    whole.seek(0, io.SEEK_END)
    compressor = lazrs.LasZipCompressor(whole, record)
    compressor.compress_many(np.frombuffer(body, np.uint8))
    compressor.done()
    path.write_bytes(whole.getvalue())


ENDS = [("ply", b"\n"), ("ply", b"\0" * 4096), ("ply text", b"\r\n\n"), ("pcd", b"\0" * 4096)]


@pytest.mark.parametrize(("kind", "end"), ENDS)
def test_what_fills_the_end_of_a_file_is_no_point(tmp_path, taxonomy, capsys, kind, end):
    (tmp_path / "src").mkdir()
    path = tmp_path / "src" / f"a.{kind[:3]}"
    if kind == "pcd":
        write_pcd(path, points(0, N), "binary")
    else:
        write_ply(path, points(0, N), text=kind == "ply text")
    path.write_bytes(path.read_bytes() + end)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format=kind[:3]) == 0
    assert NOTE not in capsys.readouterr().out


def test_a_second_array_in_one_npy_is_refused(tmp_path, taxonomy, capsys):
    (tmp_path / "src").mkdir()
    p, both = points(0, N), io.BytesIO()
    np.save(both, np.column_stack([p.xyz, p.intensity]))
    np.save(both, p.label)
    (tmp_path / "src" / "a.npy").write_bytes(both.getvalue())
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="npy") == 1
    assert "a.npy has" in (told := capsys.readouterr().err)
    assert "perhaps another array" in told


@pytest.mark.parametrize("place", ["10 0 2 1 0 0 0", "0 0 0 0.7071 0 0 0.7071", "0 0 0 1 0 0 0"])
@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_a_viewpoint_that_is_not_applied_is_told(tmp_path, taxonomy, capsys, place, encoding):
    (tmp_path / "src").mkdir()
    path = tmp_path / "src" / "a.pcd"
    write_pcd(path, points(0, N), encoding)
    lines = path.read_bytes().split(b"\n")
    row = next(n for n, line in enumerate(lines) if line.startswith(b"VIEWPOINT"))
    lines[row] = b"VIEWPOINT " + place.encode()
    path.write_bytes(b"\n".join(lines))
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="pcd") == 0
    told = "the VIEWPOINT of the header is not applied" in capsys.readouterr().out
    assert told == (place != "0 0 0 1 0 0 0")
