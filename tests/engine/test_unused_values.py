"""A value that a run has no use for is told, and the run goes its way."""

from __future__ import annotations

import pytest
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.config.unused import unused_values


@pytest.mark.parametrize(
    ("setting", "active", "told"),
    [
        ("asfda", {"first_round": "geometry_random"}, ["active.first_round is 'geometry_random'"]),
        ("ada", {"first_round": "geometry_random"}, ["active.first_round is 'geometry_random'"]),
        ("al", {"first_round": "geometry_random"}, []),
        ("al", {"queries_per_hour": 60}, ["active.queries_per_hour is 60"]),
        ("asfda", {"queries_per_hour": 60, "first_round": "self"}, ["active.first", "active.quer"]),
        ("source_only", {"queries_per_hour": 60}, []),
        ("ada", {}, []),
    ],
)
def test_what_a_run_does_not_use(tmp_path, setting, active, told):
    init = None if setting in ("al", "source_only") else str(tmp_path / "source.pth")
    found = unused_values(tiny_config(tmp_path, setting, active=active, init=init))
    assert len(found) == len(told)
    assert all(line.startswith(words) for line, words in zip(found, told, strict=True))


@pytest.mark.parametrize("command", ["train", "select"])
def test_it_is_told_at_the_command_line(make_kitti, tmp_path, capsys, command):
    root = make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=100)
    file = tmp_path / "config.yaml"
    active = {"rounds_at": [0], "queries_per_hour": 60, "strategy": "random"}
    file.write_text(dump_config(tiny_config(root, schedule={"epochs": 1}, active=active)))
    assert main([command, str(file), "--work-dir", str(tmp_path / "run")]) == 0
    assert "warning: active.queries_per_hour is 60, and is not used" in capsys.readouterr().out
