"""One bad file is named, whatever its reader raises or does, and all others are imported."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from source_scans import WRITERS, points, run_import, write_scans, write_taxonomy

from annotator3d.cli.main import main
from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.importing import running


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    return write_taxonomy(tmp_path)


def written(out: Path) -> list[str]:
    return sorted(p.relative_to(out / "sequences").as_posix() for p in out.rglob("*.bin"))


def refused(src: Path, out: Path, taxonomy: Path, capsys, *options: str, format: str) -> str:
    """The message of an import with one bad file among four; the three others are written."""
    assert run_import(src, out, taxonomy, *options, format=format) == 1
    error = capsys.readouterr().err
    assert "1 of 4 scans cannot be imported" in error and len(error) < 550
    assert len(written(out)) == 3
    return error


def as_point_wise(path: Path) -> None:
    """A LAZ file as LASzip 1.2 wrote them: a decompressor panics at it."""
    data = bytearray(path.read_bytes())
    record = data.index(b"laszip encoded") + 52
    struct.pack_into("<H", data, record, 1)
    struct.pack_into("<I", data, record + 12, 0xFFFFFFFF)
    path.write_bytes(data)


def without_items(path: Path) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, data.index(b"laszip encoded") + 52 + 32, 0)
    path.write_bytes(data)


def claims(shape: tuple) -> bytes:
    """A .npy file whose header claims a shape of float32, with nothing behind it."""
    text = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def as_bomb(path: Path) -> None:
    """An archive of 4 MB whose array has 4 GB."""
    rows = 4 << 28
    text = claims((rows // 4, 4))[:10], claims((rows // 4, 4))[10:]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("points.npy", "w", force_zip64=True) as member:
            member.write(b"".join(text))
            for _ in range(64):
                member.write(bytes(1 << 20))
    data = path.read_bytes()
    path.write_bytes(data)


BAD = {
    "laz-point-wise": ("laz", as_point_wise, "method 1 of LASzip"),
    "laz-no-items": ("laz", without_items, "record of LASzip"),
    "npy-empty": ("npy", lambda path: path.write_bytes(b""), "is empty"),
    "npy-objects": (
        "npy",
        lambda path: np.save(path, np.array([{"x": 1}], object), allow_pickle=True),
        "Python objects",
    ),
    "npy-1e11-points": (
        "npy",
        lambda path: path.write_bytes(claims((10**11, 4))),
        "1,600,000,000,000 bytes",
    ),
    "npy-negative": ("npy", lambda path: path.write_bytes(claims((-5, 4))), "-5"),
    "npy-scalar": ("npy", lambda path: np.save(path, np.float32(1)), "shape ()"),
    "npz-bomb": ("npz", as_bomb, "points"),
    "npz-empty": ("npz", lambda path: path.write_bytes(b""), "no NPZ file"),
    "ply-header": ("ply-little", lambda path: path.write_bytes(b"ply\n"), "end_header"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_scan_is_named_and_the_others_are_imported(tmp_path, taxonomy, capsys, case):
    kind, spoil, words = BAD[case]
    format = kind.split("-")[0]
    src = write_scans(tmp_path / "src", kind)
    spoil(src / "b" / f"scan0.{format}")
    error = refused(src, tmp_path / "out", taxonomy, capsys, format=format)
    assert f"b/scan0.{format}" in error and words in error


BAD_LABELS = {
    "empty": lambda path: path.write_bytes(b""),
    "objects": lambda path: np.save(path, np.array([{"a": 1}], object), allow_pickle=True),
    "pickle": lambda path: path.write_bytes(b"\x80\x04]\x94."),
    "text": lambda path: path.write_text("1 2 3\n"),
    "claims": lambda path: path.write_bytes(claims((10**12,))),
    "words": lambda path: np.save(path, np.array(["car"] * 120)),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_a_bad_label_file_is_named_and_the_others_are_imported(tmp_path, taxonomy, capsys, case):
    src = write_scans(tmp_path / "src", "bin")
    for path in src.rglob("*.label"):
        np.save(path.with_name(f"{path.stem}_label.npy"), np.full(120, 1))
        path.unlink()
    BAD_LABELS[case](src / "a" / "scan1_label.npy")
    error = refused(src, tmp_path / "out", taxonomy, capsys, format="bin")
    assert "a/scan1_label.npy" in error


class CannotBeSent(BaseException):
    """An error that no process can send to another one, and no Exception: as Rust's panics."""

    def __reduce__(self):
        raise TypeError("cannot be pickled")


@pytest.mark.parametrize("error", [CannotBeSent("a panic"), OSError(5, "Input/output error"),
                                   MemoryError(), RecursionError("deep")])  # fmt: skip
def test_any_exception_belongs_to_its_file(tmp_path, taxonomy, capsys, monkeypatch, error):
    real = running.convert

    def convert(source, *rest):
        if source.id == "b/000000":
            raise error
        return real(source, *rest)

    monkeypatch.setattr(running, "convert", convert)
    src = write_scans(tmp_path / "src")
    words = refused(src, tmp_path / "out", taxonomy, capsys, format="ply")
    assert "b/scan0.ply" in words


def test_a_full_disk_is_nobodys_fault(tmp_path, taxonomy, capsys, monkeypatch):
    def convert(*rest):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(running, "convert", convert)
    src = write_scans(tmp_path / "src")
    assert run_import(src, tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err
    assert "the disk is full" in error and "cannot be imported" not in error


def test_many_bad_files_are_all_listed(tmp_path, taxonomy, capsys):
    src = write_scans(tmp_path / "src", "npy", ("drive",), scans=9)
    for path in src.rglob("*.npy"):
        path.write_bytes(b"")
    assert run_import(src, tmp_path / "out", taxonomy, format="npy") == 1
    error = capsys.readouterr().err
    listing = tmp_path / "out" / "import-errors.txt"
    assert "OUT/import-errors.txt" in error and "9 of 9" in error and len(error) < 550
    lines = listing.read_text().splitlines()
    assert [src / line.split(" ")[0] for line in lines] == sorted(src.rglob("*.npy"))
    for path in sorted(src.rglob("*.npy")):
        WRITERS["npy"](path, points())
    assert run_import(src, tmp_path / "out", taxonomy, format="npy") == 0
    assert not listing.exists()


def test_names_that_are_no_utf8_are_imported_and_shown(tmp_path, taxonomy, capsys):
    src = Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xfcn"))
    write_scans(src, "ply-little", ("a",))
    strange = Path(os.fsdecode(os.fsencode(src / "a") + b"/caf\xe9.ply"))
    os.rename(src / "a" / "scan1.ply", strange)
    out = tmp_path / "out"
    assert run_import(src, out, taxonomy) == 0
    assert len(written(out)) == 2
    dataset = ImportedScans(out, "all")
    assert dataset.source / dataset.origin(0).source == strange
    assert main(["check", str(out)]) == 0
    strange.write_bytes(b"ply\n")
    capsys.readouterr()
    assert run_import(src, tmp_path / "again", taxonomy) == 1
    assert r"caf\udce9.ply" in capsys.readouterr().err


DYING = """
import os, signal, sys
from annotator3d.data.importing import running

real = running.convert

def convert(source, *rest):
    if source.path.name in ("scan17.npy", "scan31.npy"):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(source, *rest)

running.convert = convert
if __name__ == "__main__":
    from annotator3d.cli.main import main
    sys.exit(main(sys.argv[1:]))
"""


def dying_import(tmp_path: Path, taxonomy: Path, workers: str) -> subprocess.CompletedProcess:
    """An import by a script whose processes are killed at two of its 40 scans."""
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    src, out = tmp_path / "src", tmp_path / "out"
    words = ["import", src, out, "--format", "npy", "--taxonomy", taxonomy, "--workers", workers]
    return subprocess.run(
        [sys.executable, str(script), *map(str, words)], capture_output=True, text=True, timeout=300
    )


def test_a_process_that_dies_is_the_fault_of_one_file(tmp_path, taxonomy):
    write_scans(tmp_path / "src", "npy", ("a",), scans=40, count=5)
    done = dying_import(tmp_path, taxonomy, "2")
    assert done.returncode == 1 and "2 of 40 scans cannot be imported" in done.stderr
    assert "scan17.npy: the process that read it was killed" in done.stderr
    assert "scan31.npy" in done.stderr and len(written(tmp_path / "out")) == 38


def test_an_import_in_one_process_knows_what_killed_it(tmp_path, taxonomy):
    write_scans(tmp_path / "src", "npy", ("a",), scans=20, count=5)
    assert dying_import(tmp_path, taxonomy, "1").returncode == -signal.SIGKILL
    done = dying_import(tmp_path, taxonomy, "1")
    assert done.returncode == 1 and "1 of 20 scans cannot be imported" in done.stderr
    assert "scan17.npy: the process that read it was killed" in done.stderr
    assert len(written(tmp_path / "out")) == 19
