"""A user who is only a number, without a name and a home (a container with ``-u``), can work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from annotator3d.account import cache_folder, settings_folder, user_name

NOBODY = """
import pwd

def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = unknown
"""
VARIABLES = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    import pwd
    import tempfile

    def unknown(uid):
        raise KeyError(uid)

    for name in (*VARIABLES, "ANNOTATOR3D_CACHE", "ANNOTATOR3D_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_there_is_a_name_and_there_are_folders(nobody, tmp_path):
    assert user_name() == f"user-{os.getuid()}"
    for folder in (cache_folder(), settings_folder()):
        assert folder.is_relative_to(tmp_path)
    home = Path(os.environ["HOME"])
    assert home.stat().st_mode & 0o077 == 0, "nobody else may read or write it"


def test_a_folder_that_somebody_else_made_is_not_taken(nobody, tmp_path, monkeypatch):
    (tmp_path / f"annotator3d-user-{os.getuid()}").mkdir()
    real = Path.lstat

    def of_another(path):
        found = list(real(path))
        found[4] += 1
        return os.stat_result(found)

    monkeypatch.setattr(Path, "lstat", of_another)
    assert cache_folder().parents[1] != tmp_path / f"annotator3d-user-{os.getuid()}"


def test_a_round_is_asked_and_packed_without_an_account(make_kitti, tmp_path):
    """`make_kitti` writes the scans; the commands run in a process that knows no user."""
    root = make_kitti(scans=1, points=500)
    config = tmp_path / "asked.py"
    config.write_text(
        "setting = 'al'\n"
        "data = dict(train=dict(type='SemanticKITTI', sequences=['00']))\n"
        "active = dict(strategy='random', queries_per_scan=2, min_points=1, voxel_size=2.0)\n"
    )
    select = ["select", str(config), "--data-root", str(root), "--work-dir", str(tmp_path / "run")]
    package = ["package", "export", str(tmp_path / "run"), str(tmp_path / "p.a3dpack")]
    program = NOBODY + (
        "import sys, json\n"
        "from annotator3d.cli.main import main\n"
        "codes = [main(words) for words in json.loads(sys.argv[1])]\n"
        "sys.exit(max(codes))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps([select, [*package, "--to", "bob"]])],
        capture_output=True,
        text=True,
        timeout=300,
        env={**environment, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "p.a3dpack").is_file()
