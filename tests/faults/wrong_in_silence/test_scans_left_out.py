"""Every file that could be a scan is imported, or said to be left out, with numbers."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from source_scans import WRITERS, points, run_import, write_ply, write_taxonomy

from annotator3d.cli.main import main


def write(path: Path, seed: int = 0) -> Path:
    """A scan in the format that the ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"ply": "ply-little", "pcd": "pcd-binary"}
    ending = path.suffix.lower().removeprefix(".")
    WRITERS[kinds.get(ending, ending)](path, points(seed))
    return path


def sources(out: Path) -> list[str]:
    """The files that became scans."""
    with open(out / "scans.csv", newline="") as file:
        return sorted(row["source"] for row in csv.DictReader(file))


def imported(tmp_path: Path, capsys, *options: str, format: str = "ply") -> tuple[list[str], str]:
    """What became a scan of tmp_path/src, and the report."""
    out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
    taxonomy = write_taxonomy(tmp_path)
    code = run_import(tmp_path / "src", out, taxonomy, *options, format=format)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return sources(out), printed.out


@pytest.mark.parametrize(
    ("names", "format", "count"),
    [
        (("a.las", "b.las", "c.laz", "d.laz"), "las", 2),
        (("a.laz", "b.las"), "laz", 1),
        (("a.ply", "b.pcd", "c.pcd", "d.npz"), "ply", 3),
        (("one/a.ply", "two/a.PLY", "three/b.Las"), "ply", 1),
        (("a.npy", "b.ply"), "npy", 1),
    ],
)
def test_scans_of_another_format_are_counted_and_auto_reads_them(
    tmp_path, capsys, names, format, count
):
    for seed, name in enumerate(names):
        write(tmp_path / "src" / name, seed)
    fields = ["--label-field", "none"]  # the formats name theirs differently
    found, report = imported(tmp_path, capsys, *fields, format=format)
    assert found == sorted(n for n in names if n.lower().endswith(format))
    (line,) = (line for line in report.splitlines() if line.startswith("note: not used: "))
    assert line.startswith(f"note: not used: {count} file")
    assert line.endswith("(of another format: --format auto imports every format)")
    found, report = imported(tmp_path, capsys, *fields, format="auto")
    assert found == sorted(names) and "note: not used" not in report


@pytest.mark.parametrize("ending", ["ply", "las", "pcd", "npz"])
@pytest.mark.parametrize("name", ["site{}_labels", "site{}.label", "site{}_label", "SITE{}_LABELS"])
def test_scans_that_are_named_like_labels_are_scans(tmp_path, capsys, ending, name):
    names = [f"{name.format(i)}.{ending}" for i in range(3)] + [f"other.{ending}"]
    for seed, each in enumerate(names):
        write(tmp_path / "src" / each, seed)
    found, _ = imported(tmp_path, capsys, format=ending)
    assert found == sorted(names)


def test_labels_beside_their_scan_are_no_scan_and_are_said(tmp_path, capsys):
    for name in ("a.ply", "a_labels.ply", "b.ply"):
        write(tmp_path / "src" / name)
    found, report = imported(tmp_path, capsys)
    assert found == ["a.ply", "b.ply"]
    assert "a_labels.ply" in report


def test_linked_drives_are_read(tmp_path, capsys):
    write(tmp_path / "disk" / "drive7" / "x.ply", 1)
    write(tmp_path / "disk" / "drive8" / "velodyne" / "x.ply", 2)
    write(tmp_path / "src" / "here" / "x.ply", 3)
    for drive in ("drive7", "drive8"):
        (tmp_path / "src" / drive).symlink_to(tmp_path / "disk" / drive)
    found, report = imported(tmp_path, capsys)
    assert found == ["drive7/x.ply", "drive8/velodyne/x.ply", "here/x.ply"]
    assert "3 sequences: drive7, drive8, here" in report


def test_a_linked_file_is_read(tmp_path, capsys):
    write(tmp_path / "disk" / "x.ply", 1)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "linked.ply").symlink_to(tmp_path / "disk" / "x.ply")
    assert imported(tmp_path, capsys)[0] == ["linked.ply"]


@pytest.mark.parametrize("target", ["..", ".", "../b", "../../src"])
def test_links_in_a_circle_end_and_are_counted(tmp_path, capsys, target):
    write(tmp_path / "src" / "b" / "x.ply", 1)
    write(tmp_path / "src" / "a" / "y.ply", 2)
    (tmp_path / "src" / "a" / "again").symlink_to(target)
    found, report = imported(tmp_path, capsys)
    assert found == ["a/y.ply", "b/x.ply"]
    assert "1 link like a/again (to a folder that is read under another name)" in report


def test_two_links_to_each_other_end(tmp_path, capsys):
    write(tmp_path / "src" / "x.ply", 1)
    for here, there in (("a", "b"), ("b", "a")):
        (tmp_path / here).mkdir()
        (tmp_path / here / "to").symlink_to(tmp_path / there)
        write(tmp_path / here / f"{here}.ply")
    (tmp_path / "src" / "a").symlink_to(tmp_path / "a")
    found, report = imported(tmp_path, capsys)
    assert found == ["a/a.ply", "a/to/b.ply", "x.ply"]
    assert "1 link like a/to/to (to a folder that is read under another name)" in report


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("._x.ply", "not used: 1 file like ._x.ply (hidden)"),
        ("predictions/x.ply", "1 file like predictions/x.ply (in a folder of predictions)"),
        ("notes.txt", "not used: 1 file like notes.txt"),
        ("labels/y.label", "not used: 1 file like labels/y.label"),
    ],
)
def test_other_files_are_counted(tmp_path, capsys, name, words):
    write(tmp_path / "src" / "x.ply", 1)
    path = tmp_path / "src" / name
    path.parent.mkdir(exist_ok=True)
    write_ply(path, points(2)) if name.endswith("ply") else path.write_bytes(b"1\n")
    found, report = imported(tmp_path, capsys)
    assert found == ["x.ply"] and words in report


def test_a_link_to_nothing_and_a_closed_folder_are_counted(tmp_path, capsys, monkeypatch):
    write(tmp_path / "src" / "x.ply", 1)
    (tmp_path / "src" / "drive2").symlink_to("gone")
    write(tmp_path / "src" / "closed" / "x.ply", 1)
    real = os.scandir

    def scandir(path="."):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found, report = imported(tmp_path, capsys)
    assert found == ["x.ply"]
    assert "not used: 1 link like drive2 (to nothing)" in report
    assert "not used: 1 folder like closed (which may not be read)" in report


@pytest.mark.parametrize(
    ("names", "format", "words"),
    [
        (("a.ply", "b.ply", "c.txt"), "pcd", "holds no .pcd files, only .ply (2 files), .txt (1"),
        (
            ("predictions/a.ply",),
            "ply",
            "none of its 1 .ply file is a scan: not used: 1 file like",
        ),
        (
            ("._a.ply",),
            "ply",
            "holds no .ply files, nor any other; not used: 1 file like",
        ),
        (("a.txt",), "auto", "holds no files of points, only .txt (1 file)"),
    ],
)
def test_a_folder_without_scans_is_told_as_it_is(tmp_path, capsys, names, format, words):
    for name in names:
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1\n")
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format=format) == 1
    error = capsys.readouterr().err
    assert words in error and "only .ply;" not in error


def test_auto_refuses_one_scan_in_two_formats(tmp_path, capsys):
    for name in ("a.las", "a.laz", "b.las"):
        write(tmp_path / "src" / name)
    taxonomy = write_taxonomy(tmp_path)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format="auto") == 1
    assert "a.las, a.laz" in (error := capsys.readouterr().err) and "--format" in error


@pytest.mark.parametrize("name", ["x.npy", "x.bin", "x_label.npy"])
def test_auto_takes_no_labels_for_scans(tmp_path, capsys, name):
    import numpy as np

    p = points(1)
    (tmp_path / "src").mkdir()
    write_ply(tmp_path / "src" / "x.ply", p, label=False)
    if name.endswith("npy"):
        np.save(tmp_path / "src" / name, p.label)
    else:
        p.label.astype("<u4").tofile(tmp_path / "src" / name)
    found, report = imported(tmp_path, capsys, format="auto")
    assert found == ["x.ply"]
    assert "labels of 1 scan " in report or name in report


def test_what_was_left_out_is_told_by_a_later_check(tmp_path, capsys):
    for name in ("a.las", "c.laz"):
        write(tmp_path / "src" / name)
    imported(tmp_path, capsys, format="las")
    assert main(["check", str(tmp_path / "out0")]) == 0
    assert "not used: 1 file like c.laz (of another format" in capsys.readouterr().out
