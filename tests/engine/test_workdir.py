"""A run folder: where its files are, and who spells their names."""

import ast
import json
import os
from pathlib import Path

import pytest

from annotator3d.engine.config.load import dump_config, make_config
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger

ROOT = Path(__file__).parents[2]
NAMES = {
    "ledger.sqlite": "annotator3d/ledger/schema.py",
    "config.yaml": "annotator3d/engine/workdir.py",
    "run.json": "annotator3d/engine/workdir.py",
    "metrics.jsonl": "annotator3d/engine/workdir.py",
    "checkpoints": "annotator3d/engine/workdir.py",
}


def literals(source):
    """Texts in the code of a module, those within f-strings included."""
    found = {n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant)}
    return {text for text in found if isinstance(text, str)}


@pytest.mark.parametrize(("name", "home"), NAMES.items())
def test_the_name_of_a_file_of_a_run_is_spelled_once(name, home):
    modules = [*(ROOT / "annotator3d").rglob("*.py"), *(ROOT / "viz").rglob("*.py")]
    spelled = {p.relative_to(ROOT).as_posix() for p in modules if name in literals(p.read_text())}
    assert spelled == {home}


def test_a_second_spelling_is_seen():
    assert "run.json" in literals("def f(folder):\n    return folder / 'run.json'")


def test_a_missing_folder_has_no_ledger_config_or_run_info(tmp_path):
    work_dir = WorkDir(tmp_path / "new")
    with pytest.raises(FileNotFoundError, match=r"no ledger .*new.ledger\.sqlite, .*no folder"):
        work_dir.ledger()
    with pytest.raises(FileNotFoundError, match=r"there is no ledger .*ledger\.sqlite; .* select"):
        WorkDir(tmp_path).ledger()
    with pytest.raises(ConfigError, match=r"new holds no config\.yaml; name the config with"):
        work_dir.config()
    assert work_dir.run_info() == {} and work_dir.known_scans() == []
    assert work_dir.data_root("train") is None
    assert not work_dir.path.exists()


def test_the_ledger_opens_to_read_and_to_write(tmp_path):
    work_dir = WorkDir(str(tmp_path))
    with Ledger.open(work_dir.ledger_path, ["car", "road"], "digest", 0.25) as ledger:
        ledger.register_scan("00/000000", "f", 10)
    with work_dir.ledger(write=True) as ledger:
        ledger.register_scan("00/000001", "g", 20)
    with work_dir.ledger() as ledger, pytest.raises(ValueError, match="for reading only"):
        ledger.register_scan("00/000002", "h", 30)
    assert [scan.id for scan in work_dir.known_scans()] == ["00/000000", "00/000001"]


def test_the_config_of_the_run_takes_settings(tmp_path):
    work_dir = WorkDir(WorkDir(tmp_path))  # a path like any other
    assert os.fspath(work_dir) == str(work_dir) == str(tmp_path)
    train = {"type": "SemanticKITTI", "root": "/before"}
    config = make_config({"setting": "al", "data": {"train": train}, "seed": 3})
    work_dir.config_path.write_text(dump_config(config))
    assert work_dir.config().seed == 3
    assert work_dir.config(settings=["seed=4"]).seed == 4


def test_the_last_start_tells_where_the_scans_are(tmp_path):
    work_dir = WorkDir(tmp_path)
    data = {"train": {"type": "SemanticKITTI"}, "val": {"type": "SimulatedStreets"}}
    info = {"config": {"data": data}, "data": {"pool": {"root": "/scans"}, "val": {"root": "x"}}}
    work_dir.run_info_path.write_text(json.dumps(info))
    assert work_dir.data_root("train") == "/scans"
    assert work_dir.data_root("val") is None  # it makes its own scans
    assert work_dir.data_root("source") is None
    train = {"type": "SemanticKITTI", "root": "/scans"}
    there = make_config({"setting": "al", "data": {"train": train}})
    assert work_dir.moved_data_root(there) is None
    moved = make_config({"setting": "al", "data": {"train": {**train, "root": "/before"}}})
    assert work_dir.moved_data_root(moved) == "/scans"
