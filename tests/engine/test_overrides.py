"""Settings of the command line: one after the other, and none that undoes another."""

from __future__ import annotations

import pytest

from annotator3d.cli.main import main
from annotator3d.engine.config.load import find_config, load_config
from annotator3d.engine.config.overrides import override, refuse_undone
from annotator3d.errors import ConfigError


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("seed=1", "seed=2"),
        ("schedule.epochs=3", "schedule.epochs=null"),
        ("schedule.epochs=1", "schedule.epochs=true"),
        ("data.val=null", "data.val.split=val"),
        ("data.val.split=val", "data.val=null"),
        ("active.budget=2", "active.queries_per_scan=3"),
    ],
)
def test_a_setting_that_would_undo_one_before_it_is_refused(first, second):
    with pytest.raises(ConfigError, match="was given before and would have no effect") as raised:
        refuse_undone(["name=x", first, second])
    assert f"--set {second.split('=')[0]}" in str(raised.value) or "queries_per_scan" in second


def test_the_same_setting_twice_and_one_that_adds_to_another_are_taken():
    values: dict = {}
    refuse_undone(["seed=1", "data.val={type: A}", "data.val.split=val", "seed=1"])
    override(values, ["seed=1", "data.val={type: A}", "data.val.split=val", "seed=1"])
    assert values == {"seed": 1, "data": {"val": {"type": "A", "split": "val"}}}


def test_the_command_line_refuses_it_and_a_program_puts_its_own_over_it(tmp_path, capsys):
    given = ["--set", "seed=1", "--set", "seed=2"]
    assert main(["train", "al/streets_demo", "--work-dir", str(tmp_path / "run"), *given]) == 2
    assert "--set seed=2: --set seed=1 was given before" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert load_config(find_config("al/streets_demo"), ["seed=1", "seed=2"]).seed == 2
