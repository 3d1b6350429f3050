"""Checkpoints, arrays and packages made to run something run nothing, through every door."""

from __future__ import annotations

import hashlib
import os
import pickle
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from package_world import pack

import annotator3d
from annotator3d.cli.main import main

CLASSES = "classes:\n  - name: ground\n    ids: [1]\n  - name: building\n    ids: [2]\n"


class Crafted:
    """An object that makes a folder where it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "it ran"


def crafted_file(path, kind, mark):
    made = Crafted(mark)
    if kind == "torch":
        torch.save({"state_dict": {"w": made}}, path)
    elif kind == "old torch":
        torch.save({"state_dict": {"w": made}}, path, _use_new_zipfile_serialization=False)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(made))
    elif kind == "npz":
        np.savez(path, labels=np.array([made], object))
    else:
        np.save(path, np.array([made], object), allow_pickle=True)


@pytest.mark.parametrize("kind", ["torch", "old torch", "pickle"])
@pytest.mark.parametrize("door", ["evaluate", "init", "select", "export"])
def test_a_crafted_checkpoint_is_refused(home, mark, tmp_path, capsys, door, kind):
    path, config = tmp_path / "evil.pth", str(home / "config.yaml")
    crafted_file(path, kind, mark)
    new = ["--work-dir", str(tmp_path / "new")]
    command = {
        "evaluate": ["evaluate", config, str(path)],
        "init": ["train", config, *new, "--init", str(path), "--set", "setting=asfda"],
        "select": ["select", config, *new, "--checkpoint", str(path)],
        "export": [
            *("export", str(home), str(tmp_path / "out"), "--what", "predictions"),
            *("--format", "semantickitti", "--split", "train", "--checkpoint", str(path)),
        ],
    }[door]
    assert main(command) in (1, 2)
    assert "evil.pth" in capsys.readouterr().err and not mark.exists()


@pytest.mark.parametrize("kind", ["npy", "npz", "pickle"])
@pytest.mark.parametrize("place", ["scan", "labels", "predictions", "round"])
def test_arrays_of_objects_are_refused(home, mark, tmp_path, capsys, place, kind):
    ending = ".npz" if kind == "npz" else ".npy"
    folder = tmp_path / "scans"
    folder.mkdir()
    np.save(folder / "b.npy", np.random.default_rng(0).uniform(1, 9, (50, 4)).astype(np.float32))
    (tmp_path / "classes.yaml").write_text(CLASSES)
    read = [
        *("import", str(folder), str(tmp_path / "out"), "--format", "npy"),
        *("--columns", "x,y,z,intensity", "--taxonomy", str(tmp_path / "classes.yaml")),
    ]
    if place == "scan":
        crafted_file(folder / f"a{ending}", kind, mark)
    elif place == "labels":
        (tmp_path / "labels").mkdir()
        crafted_file(tmp_path / "labels" / f"b{ending}", kind, mark)
        read += ["--labels", str(tmp_path / "labels")]
    elif place == "predictions":
        drive = tmp_path / "predicted/sequences/00/predictions"
        drive.mkdir(parents=True)
        for frame in range(2):
            crafted_file(drive / f"{frame:06d}{ending}", kind, mark)
        config = str(home / "config.yaml")
        read = ["select", config, "--work-dir", str(tmp_path / "new"), "--predictions"]
        read += [str(tmp_path / "predicted"), "--set", "active.strategy=entropy"]
    else:
        for path in (home / "rounds").rglob("*.npz"):
            crafted_file(path, kind, mark)
        read = ["ledger", "verify", str(home)]
    main(read)
    assert not mark.exists()


@pytest.mark.parametrize("table", ["package_scans", "package_predictions"])
def test_a_package_with_an_array_of_objects_is_refused(home, mark, tmp_path, table):
    package, evil = pack(home), tmp_path / "evil.npz"
    np.savez(evil, **dict.fromkeys(("xyz", "intensity", "labels"), np.array([Crafted(mark)])))
    content = evil.read_bytes()
    db = sqlite3.connect(package)
    for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
        db.execute(f"DROP TRIGGER {trigger}")
    digest = hashlib.sha256(content).hexdigest()  # the right one: whoever crafts it writes it, too
    db.execute(f"UPDATE {table} SET content=?, digest=?", (content, digest))
    db.commit()
    db.close()
    main(["ledger", "verify", str(package)])
    picture = ["--query", "1", "--colour", "prediction", "--out", str(tmp_path / "a.png")]
    assert main(["render", str(package), *picture]) != 0
    assert not mark.exists()


def test_sqlite_loads_no_extension(home):
    db = sqlite3.connect(home / "ledger.sqlite")  # as the ledger connects: nothing is switched on
    with pytest.raises(sqlite3.OperationalError, match="not authorized"):
        db.execute("SELECT load_extension('x')")
    sources = Path(annotator3d.__file__).parent.rglob("*.py")
    assert not any("enable_load_extension" in path.read_text() for path in sources)
