"""JSON that is nested deeper than Python follows is named as damaged, as any other damage is."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotator3d.cli.main import main
from annotator3d.data.plain_json import parse_json
from annotator3d.engine.workdir import read_record

DEEP = '{"a":' + "[" * 200_000


def test_deep_json_is_an_error_of_json():
    for text in (DEEP, DEEP.encode(), '{"a":' * 200_000):
        with pytest.raises(ValueError, match="nested too deep"):
            parse_json(text)


def test_the_record_of_a_run_names_its_file():
    with pytest.raises(ValueError, match=r"run\.json: damaged.*nested too deep"):
        read_record(DEEP.encode(), "run.json")


def test_report_and_export_name_the_file(tmp_path: Path, capsys):
    (tmp_path / "run.json").write_text(DEEP)
    (tmp_path / "config.yaml").write_text("setting: al\n")
    for command in (["report"], ["export", "--what", "answers", "--format", "ply"]):
        where = [str(tmp_path)] + [str(tmp_path / "out")] * (command[0] == "export")
        assert main([command[0], *where, *command[1:]]) != 0
        error = capsys.readouterr().err
        assert "run.json" in error and "nested too deep" in error


@pytest.mark.parametrize("value", [None, 3, 2.5])
def test_a_cell_of_a_damaged_database_that_is_no_text_is_refused_as_json_is(value):
    with pytest.raises(ValueError, match="expected a text, got"):
        parse_json(value)
