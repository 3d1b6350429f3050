"""What the system refuses is said in words: the file, what was tried, why not and what to do."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from answered_runs import make_answered
from readonly_disk import mounts, run_on_readonly

from annotator3d.active.stored_predictions import StoredPredictions
from annotator3d.cli.main import main
from annotator3d.data.formats import registry
from annotator3d.data.scan import Scan
from annotator3d.engine.training.checkpoint_file import read_checkpoint
from annotator3d.ledger import database
from annotator3d.system_errors import in_words

CLASSES = "classes:\n  - {name: a, ids: [1]}\n  - {name: b, ids: [2]}\n"
SYSTEMS_WORDS = ("[Errno", "Symlink loop from", "unable to open", "Traceback", ".part", "Too many")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = make_answered(tmp_path_factory.mktemp("words"))
    (folder / "src").mkdir()
    np.random.default_rng(0).uniform(-20, 20, (200, 4)).astype("<f4").tofile(folder / "src/a.bin")
    (folder / "classes.yaml").write_text(CLASSES)
    (folder / "loop").symlink_to("loop2")
    (folder / "loop2").symlink_to("loop")
    return folder


def writing(base: Path, run: Path, place: Path) -> dict[str, list[str]]:
    """Commands that write to `place`, by what they write."""
    scans, config = str(base / "src"), str(base / "tiny.yaml")
    classes, at = str(base / "classes.yaml"), str(run)
    options = ["--what", "answers", "--format", "semantickitti"]
    return {
        "page.html": ["report", at, "--out", str(place / "page.html")],
        "new": ["train", config, "--work-dir", str(place / "new")],
        "data": ["import", scans, str(place / "data"), "--format", "bin", "--taxonomy", classes],
        "c.yaml": ["import", "--template", str(place / "c.yaml")],
        "b.sqlite": ["ledger", "backup", at, str(place / "b.sqlite")],
        "b.jsonl": ["ledger", "export", at, str(place / "b.jsonl")],
        "out": ["export", at, str(place / "out"), *options],
        "streets": ["simulate", str(place / "streets"), "--domain", "ideal", "--scans", "1"],
    }


@pytest.mark.parametrize("name", list(writing(Path(), Path(), Path())))
def test_a_place_below_a_file_is_named(base, capsys, name):
    command = writing(base, base / "run", base / "classes.yaml")[name]
    assert main(command) in (1, 2)
    error = capsys.readouterr().err
    assert f"{base}/classes.yaml" in error and not any(word in error for word in SYSTEMS_WORDS)
    assert "a folder" in error or "no folder" in error


@pytest.mark.skipif(not mounts(), reason="this process may not mount")
def test_a_read_only_disk_is_told_with_what_was_to_be_written(base, tmp_path):
    disk = tmp_path / "disk"
    shutil.copytree(base / "run", disk / "run")
    commands = writing(base, disk / "run", disk)
    commands["report.html"] = ["report", str(disk / "run")]
    commands["run"] = [
        "train",
        str(base / "tiny.yaml"),
        "--work-dir",
        str(disk / "run"),
        "--resume",
    ]
    commands["run/ledger.sqlite"] = ["round", "close", str(disk / "run"), "--release"]
    said = run_on_readonly(disk, list(commands.values()))
    assert said.count("exit 1") == len(commands), said
    errors = [line for line in said.splitlines() if line.startswith("annotator3d ")]
    assert not [line for line in errors if any(word in line for word in SYSTEMS_WORDS)], said
    for name, line in zip(commands, errors, strict=True):
        assert f"{disk}/" in line and name in line, line
        assert "read-only" in line or "may not be written to" in line, line
        assert "choose another" in line or "what only reads works there" in line, line


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("name", ["page.html", "c.yaml", "b.sqlite", "b.jsonl"])
def test_what_fails_at_the_last_step_is_named_as_the_user_named_it(
    base, tmp_path, monkeypatch, capsys, code, name
):
    def refuse(source, target):
        raise OSError(code, os.strerror(code), str(source), None, str(target))

    monkeypatch.setattr(os, "replace", refuse)
    assert main(writing(base, base / "run", tmp_path)[name]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / name} cannot be written: " in error
    assert os.strerror(code) not in error and not any(word in error for word in SYSTEMS_WORDS)
    assert not list(tmp_path.iterdir())


def test_a_backup_that_sqlite_may_not_write_is_named(base, tmp_path, monkeypatch, capsys):
    plain = sqlite3.connect

    def connect(place, **how):
        if str(place).endswith(".part"):
            raise sqlite3.OperationalError("unable to open database file")
        return plain(place, **how)

    monkeypatch.setattr(database.sqlite3, "connect", connect)
    assert main(["ledger", "backup", str(base / "run"), str(tmp_path / "b.sqlite")]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'b.sqlite'} cannot be written: " in error and "choose another" in error


@pytest.mark.parametrize(
    "command",
    [
        ["check", "{base}/kitti", "--taxonomy", "{base}/loop"],
        ["check", "{base}/loop"],
        ["import", "{base}/src", "{out}", "--format", "bin", "--taxonomy", "{base}/loop"],
        ["import", "{base}/loop", "{out}", "--format", "bin", "--taxonomy", "{base}/classes.yaml"],
        [
            "import",
            "{base}/src",
            "{base}/loop",
            "--format",
            "bin",
            "--taxonomy",
            "{base}/classes.yaml",
        ],
        ["train", "{base}/tiny.yaml", "--data-root", "{base}/loop", "--work-dir", "{out}"],
        ["train", "{base}/loop", "--work-dir", "{out}"],
        ["train", "{base}/tiny.yaml", "--work-dir", "{base}/loop"],
        [
            "train",
            "{base}/tiny.yaml",
            "--work-dir",
            "{out}",
            "--set",
            "data.val.taxonomy={base}/loop",
        ],
        ["report", "{base}/loop"],
    ],
)
def test_a_link_that_leads_in_a_circle_is_called_so(base, tmp_path, capsys, command):
    given = [word.format(base=base, out=tmp_path / "out") for word in command]
    assert main(given) in (1, 2)
    error = capsys.readouterr().err
    assert f"{base}/loop" in error and "symbolic link that leads in a circle" in error
    assert not any(word in error for word in SYSTEMS_WORDS)


def test_every_error_of_the_system_names_its_file_and_is_short(tmp_path):
    long = tmp_path / ("n" * 300) / "x.bin"
    for code in errno.errorcode:
        for path in (tmp_path / "x.bin", long):
            words = in_words(OSError(code, os.strerror(code), str(path)))
            assert "[Errno" not in words and len(words) < 450
            assert words.startswith(str(tmp_path)) and "x.bin cannot be " in words
        assert "[Errno" not in in_words(OSError(code, os.strerror(code)))


def refused(path) -> OSError:
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_a_file_that_may_not_be_read_is_not_called_damaged(base, tmp_path, monkeypatch):
    """Whoever believes that would delete it."""

    def refuse(path, *args, **kwargs):
        raise refused(path)

    (tmp_path / "1").mkdir()
    file = tmp_path / "1" / "00_000000.npz"
    file.write_bytes(b"PK")
    monkeypatch.setattr(np, "load", refuse)
    scan = Scan.from_raw("00/000000", np.ones((1, 3), np.float32), np.ones(1, np.float32))
    with pytest.raises(OSError, match=f"{file} cannot be .*you may not"):
        StoredPredictions(tmp_path)(1, scan)
    checkpoint = tmp_path / "epoch_1.pth"
    checkpoint.write_bytes(b"PK")
    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    with pytest.raises(PermissionError):
        read_checkpoint(checkpoint)
    cloud = tmp_path / "a.ply"
    cloud.write_bytes(b"ply")
    monkeypatch.setitem(registry.FORMATS, "ply", SimpleNamespace(read=refuse, needs=()))
    monkeypatch.setattr(registry, "require", lambda format: None)
    with pytest.raises(PermissionError):
        registry.read_cloud(cloud, "ply")


def test_a_base_of_a_config_that_leads_in_a_circle(base, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(f"_base_: {base}/loop\n")
    assert main(["train", str(tmp_path / "c.yaml"), "--work-dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert f"{base}/loop" in error and not any(word in error for word in SYSTEMS_WORDS)


def test_words_of_others_stay():
    assert in_words(OSError("the ledger was moved")) == "the ledger was moved"
    assert in_words(ValueError("no such class")) == "no such class"
    assert "port 80" in in_words(OSError(errno.EADDRINUSE, "port 80 is taken"))
