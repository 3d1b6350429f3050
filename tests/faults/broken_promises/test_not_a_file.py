"""What is no file, or a folder's place, is named at once: nothing waits and nothing is left out."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from source_scans import points, run_import, write_bin, write_ply, write_taxonomy

from annotator3d.cli.main import main
from annotator3d.data.checking.gate import vet
from annotator3d.data.datasets.sequences import SemanticKITTI

WAITING: list[tuple[Path, threading.Thread]] = []


@pytest.fixture(autouse=True)
def nobody_waits() -> Iterator[None]:
    """Ends the writers of FIFOs that nobody has read."""
    yield
    for path, writer in WAITING:
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer.join()
        os.close(reader)
    WAITING.clear()


def fifo(path: Path) -> str:
    """A FIFO whose reader gets nothing, in place of waiting for ever as without a writer."""
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: os.close(os.open(path, os.O_WRONLY)))
    writer.start()
    WAITING.append((path, writer))
    return "FIFO"


def device(path: Path) -> str:
    path.symlink_to("/dev/null")
    return "device"


def listener(path: Path) -> str:
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)
    return "socket"


def folder(path: Path) -> str:
    path.mkdir()
    return "folder"


def nowhere(path: Path) -> str:
    path.symlink_to("gone")
    return "link to gone"


@pytest.mark.parametrize("make", [fifo, device, listener, nowhere])
def test_a_scan_that_is_no_file_is_named_and_the_others_are_read(tmp_path, capsys, make):
    src, taxonomy = tmp_path / "src", write_taxonomy(tmp_path)
    src.mkdir()
    write_ply(src / "good.ply", points(0))
    word = make(src / "odd.ply")
    assert run_import(src, tmp_path / "out", taxonomy) == 1
    error = capsys.readouterr().err
    assert "1 of 2 scans cannot be imported: odd.ply" in error and word in error
    assert (tmp_path / "out" / "sequences" / "00" / "velodyne" / "000000.bin").is_file()


@pytest.mark.parametrize("place", ["beside", "labels"])
@pytest.mark.parametrize("make", [fifo, device, listener, nowhere])
def test_labels_that_are_no_file_are_named(tmp_path, capsys, make, place):
    src, taxonomy = tmp_path / "src", write_taxonomy(tmp_path)
    src.mkdir()
    write_bin(src / "one.bin", points(0))
    (src / "one.label").unlink()
    target = src / ("one.label" if place == "beside" else "labels/one.label")
    target.parent.mkdir(exist_ok=True)
    word = make(target)
    assert run_import(src, tmp_path / "out", taxonomy, format="bin") == 1
    error = capsys.readouterr().err
    assert str(target.relative_to(src)) in error and word in error


@pytest.mark.parametrize("name", ["poses.txt", "calib.txt", "one.pose"])
@pytest.mark.parametrize("make", [fifo, device, listener])
def test_poses_that_are_no_file_are_named(tmp_path, capsys, make, name):
    src, taxonomy = tmp_path / "src", write_taxonomy(tmp_path)
    src.mkdir()
    write_bin(src / "one.bin", points(0))
    if name == "calib.txt":
        (src / "poses.txt").write_text(" ".join(map(str, np.eye(4)[:3].ravel())) + "\n")
    word = make(src / name)
    assert run_import(src, tmp_path / "out", taxonomy, format="bin") == 1
    assert f"{src / name} is a {word}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["classes.yaml", "classes"])
@pytest.mark.parametrize("make", [fifo, device, folder])
def test_a_class_list_that_is_no_file_is_named(tmp_path, capsys, make, name):
    src, odd = tmp_path / "src", tmp_path / "odd" / name
    src.mkdir()
    odd.parent.mkdir()
    write_bin(src / "one.bin", points(0))
    word = make(odd)
    assert run_import(src, tmp_path / "out", odd, format="bin") == 1
    assert f"{odd} is a {word}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["velodyne/000001.bin", "labels/000001.label"])
@pytest.mark.parametrize("make", [fifo, device, listener, folder])
def test_check_and_training_name_it(make_kitti, capsys, make, name):
    root = make_kitti()
    path = root / "sequences" / "00" / name
    path.unlink()
    word = make(path)
    assert main(["check", str(root)]) == 1
    assert f"  {path}: it is a {word}" in capsys.readouterr().out
    with pytest.raises(ValueError, match=f"{path}: it is a {word}"):
        vet(SemanticKITTI(root, ["00"]), "data.train", quarantine=False, labelled=True)


@pytest.mark.parametrize("name", ["velodyne", "labels"])
@pytest.mark.parametrize("what", ["file", "link"])
def test_check_names_what_stands_where_a_folder_should_be(make_kitti, capsys, name, what):
    root = make_kitti(("00", "01"))
    path = root / "sequences" / "01" / name
    path.rename(root / "away")
    if what == "file":
        path.write_bytes(b"")
    else:
        path.symlink_to(root / "sequences" / "00" / "velodyne" / "000000.bin")
    assert main(["check", str(root)]) == 1
    assert f"  {path}: it is not a folder" in capsys.readouterr().out


def test_check_names_a_sequence_that_is_a_link_to_nothing(make_kitti, capsys):
    root = make_kitti()
    path = root / "sequences" / "01"
    path.symlink_to("elsewhere")
    assert main(["check", str(root)]) == 1
    assert f"  {path}: it is not a folder" in capsys.readouterr().out


def test_check_names_the_only_velodyne_that_is_a_file(make_kitti, capsys):
    root = make_kitti()
    path = root / "sequences" / "00" / "velodyne"
    path.rename(root / "away")
    path.write_bytes(b"")
    assert main(["check", str(root)]) == 1
    error = capsys.readouterr().err
    assert f"{path} is not a folder" in error


@pytest.mark.parametrize("kind", ["bin", "ply", "npy"])
@pytest.mark.parametrize("what", ["no points", "no finite point"])
def test_a_scan_without_points_is_named_and_the_others_are_read(tmp_path, capsys, kind, what):
    src, taxonomy = tmp_path / "src", write_taxonomy(tmp_path)
    src.mkdir()
    nothing, good = points(1, 0 if what == "no points" else 5), points(0)
    nothing.xyz[:] = np.nan
    writers = {
        "bin": lambda path, p: np.column_stack([p.xyz, p.intensity]).astype("<f4").tofile(path),
        "npy": lambda path, p: np.save(path, np.column_stack([p.xyz, p.intensity])),
        "ply": lambda path, p: write_ply(path, p, label=False),
    }
    writers[kind](src / f"good.{kind}", good)
    writers[kind](src / f"nothing.{kind}", nothing)
    assert run_import(src, tmp_path / "out", taxonomy, format=kind) == 1
    error = capsys.readouterr().err
    words = "no points" if what == "no points" else "none of its points is finite"
    assert f"nothing.{kind}" in error and words in error and "1 of 2 scans" in error
    (src / f"nothing.{kind}").unlink()
    assert run_import(src, tmp_path / "out", taxonomy, format=kind) == 0
