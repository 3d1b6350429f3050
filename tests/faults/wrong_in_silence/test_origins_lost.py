"""What an import subtracted from the coordinates is known, or nothing is written without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from source_scans import points, run_import, structured, write_taxonomy

from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.exporting.writers import WRITERS

FAR = np.array([500_000.0, 5_400_000.0, 100.0])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two scans in UTM."""
    from plyfile import PlyData, PlyElement

    (tmp_path / "src").mkdir()
    for k in range(2):
        p = points(k, 150)
        rows = structured(p)
        kinds = [(n, "<f8" if n in "xyz" else rows.dtype[n]) for n in rows.dtype.names]
        rows = rows.astype(kinds)
        for axis, values in zip("xyz", (p.xyz + FAR).T, strict=True):
            rows[axis] = values
        PlyData([PlyElement.describe(rows, "vertex")]).write(str(tmp_path / "src" / f"{k}.ply"))
    assert run_import(tmp_path / "src", tmp_path / "data", write_taxonomy(tmp_path)) == 0
    return tmp_path / "data"


def origin(data: Path, i: int = 1):
    return ImportedScans(data, "all", labels="optional").origin(i)


def test_offsets_are_there(data):
    assert np.abs(np.array(origin(data).offset) - FAR).max() < 30


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\0\0\0",
        b"id,source\n00/000000,0.ply\n00/000001,1.ply\n",
        b"id,source,points,labels,offset\n00/000000,0.ply,1,,1 2 3\n00/000001,1.ply\n",
        b"id,source,points,labels,offset\n00/000001,1.ply,1,,1 2\n",
        b"id,source,points,labels,offset\n00/000001,1.ply,1,,1 2 nan\n",
        b"id,source,points,labels,offset\n00/000001,1.ply,1,,1 2 x\n",
        b"id,source,points,labels,offset\n00/000001,1.ply,1,,1 2 3,4,5,6,7,8,9\n",
    ],
)
def test_a_damaged_list_is_named_with_its_line(data, damage):
    (data / "scans.csv").write_bytes(damage)
    with pytest.raises(ValueError, match=r"scans\.csv, line \d: damaged.*import the scans again"):
        origin(data)


def test_a_list_without_the_scan_is_named(data):
    path = data / "scans.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    assert origin(data, 0).source == "0.ply"
    with pytest.raises(ValueError, match=r"scans\.csv has no line of scan 00/000001"):
        origin(data)


def test_a_list_that_is_gone_is_named(data):
    (data / "scans.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"scans\.csv is missing"):
        origin(data)


@pytest.mark.parametrize("format", ["ply", "las"])
def test_nothing_is_exported_to_another_place(data, tmp_path, format):
    dataset = ImportedScans(data, "all", labels="optional")
    (data / "scans.csv").write_bytes(b"")
    with pytest.raises(ValueError, match=r"scans\.csv"):
        WRITERS[format](dataset, tmp_path / "out", False).path(0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", ["../../x.ply", "/tmp/x.ply", "a/../../x.ply", "..", ""])
@pytest.mark.parametrize("format", ["ply", "las"])
def test_a_list_from_elsewhere_names_no_file_outside(data, tmp_path, source, format):
    """An export is named as the imported files are, so a path in it must not lead out."""
    text = (data / "scans.csv").read_text()
    (data / "scans.csv").write_text(text.replace(",0.ply,", f",{source},"))
    writer = WRITERS[format](ImportedScans(data, "all", labels="optional"), tmp_path / "out", False)
    with pytest.raises(ValueError, match=r"scans\.csv, line 2: .*below the imported folder"):
        writer.path(0)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_list_of_scans_that_is_no_text_is_named(data, split):
    path = data / "splits" / f"{split}.txt"
    path.write_bytes(b"00/00000\xff\n")
    with pytest.raises(ValueError, match=f"{split}.txt is no text in UTF-8"):
        ImportedScans(data, split)


def test_a_mark_of_utf8_in_a_list_is_no_part_of_an_id(data):
    (data / "splits" / "train.txt").write_bytes(b"\xef\xbb\xbf00/000001\r\n")
    assert ImportedScans(data, "train").ids == ["00/000001"]
