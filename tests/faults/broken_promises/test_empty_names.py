"""An empty name, as a shell makes of a variable that is not set, is not the current folder."""

from __future__ import annotations

import shlex

import pytest

import annotator3d as a3d
from annotator3d.cli.main import main

COMMANDS = [
    "train al/own_data --work-dir ''",
    "train al/own_data --data-root ''",
    "train ''",
    "select al/own_data --work-dir '' --set active.strategy=random",
    "label ''",
    "report ''",
    "round status ''",
    "round close ''",
    "cost ''",
    "quality report ''",
    "export '' out --what answers --format ply",
    "export run '' --what answers --format ply",
    "render '' --out x.png",
    "ledger verify ''",
    "ledger backup '' copy.sqlite",
    "package export '' p.a3dpack --to ann",
    "taxonomy migrate '' classes.yaml",
    "check ''",
    "demo --out ''",
    "simulate '' --domain ideal",
    "import '' out --format bin --taxonomy classes.yaml",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_an_empty_name(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == 2
    assert "expected a value, got an empty text" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_so_does_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(a3d.ConfigError, match="name of a work directory, got an empty one"):
        a3d.Run.from_config("al/streets_demo", "")
    with pytest.raises(a3d.ConfigError, match="name of a work directory, got an empty one"):
        a3d.Run.open("")
    assert not list(tmp_path.iterdir())
