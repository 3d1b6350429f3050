"""A damaged record of a run is named by every command that reads it, with what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kitti_scans import make_kitti_in
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A finished run ``run`` and its config ``c.yaml``."""
    folder = tmp_path_factory.mktemp("records")
    root = make_kitti_in(folder)(sequences=("00", "01", "02"), scans=1, points=60)
    config = tiny_config(root, schedule={"epochs": 1}, active={"rounds_at": [0]})
    (folder / "c.yaml").write_text(dump_config(config))
    assert main(["train", str(folder / "c.yaml"), "--work-dir", str(folder / "run")]) == 0
    return folder


DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "a byte": lambda content: content.replace(b":", b"\x00", 1),
    "no UTF-8": lambda content: b"\xff\xfe" + content,
    "no object": lambda content: b"[1]\n",
}
COMMANDS = {
    "run.json": ["report", "ledger verify", "export", "train"],
    "metrics.jsonl": ["report", "train"],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_names_the_damaged_record(trained, tmp_path, capsys, name, damage):
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(trained / "run", run)
    (run / name).write_bytes(DAMAGES[damage]((run / name).read_bytes()))
    lines = {
        "report": ["report", str(run)],
        "ledger verify": ["ledger", "verify", str(run)],
        "export": ["export", str(run), str(out), "--what", "predictions", "--format", "lidarseg"],
        "train": ["train", str(trained / "c.yaml"), "--work-dir", str(run), "--resume"],
    }
    for command in COMMANDS[name]:
        capsys.readouterr()
        assert main(lines[command]) == 1, command
        said = "".join(capsys.readouterr())
        assert name in said and "Traceback" not in said, (command, said)
    assert not out.exists()
