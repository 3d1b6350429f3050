"""`_base_` with a name of ours: in every format, at any depth, beside what mmengine offers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from annotator3d.engine.config.bases import with_base_paths
from annotator3d.engine.config.load import find_config, load_config
from annotator3d.errors import ConfigError

OURS = "annotator3d::ada/streets_demo"
SHIPPED = load_config(find_config("ada/streets_demo"))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.py", f"_base_ = '{OURS}'\nseed = 4"),
        ("c.py", f"_base_ = [\n    '{OURS}',  # ours\n]\nseed = 4"),
        ("c.py", f"seed = 4\n_base_ = ['{OURS}']"),
        ("c.yaml", yaml.safe_dump({"_base_": OURS, "seed": 4})),
        ("c.yml", f"_base_: ['{OURS}']\nseed: 4"),
        ("c.json", json.dumps({"_base_": [OURS], "seed": 4})),
        ("c.py", f"_base_ = '{OURS}.py'\nseed = 4"),
    ],
)
def test_every_format_can_start_from_one_of_ours(tmp_path, name, text):
    config = load_config(write(tmp_path / name, text))
    assert config.seed == 4
    config.seed = 0
    assert config == SHIPPED


def test_a_base_of_a_base_can_be_one_of_ours(tmp_path):
    write(tmp_path / "deep" / "first.yaml", f"_base_: '{OURS}'\nseed: 4\nname: first")
    write(tmp_path / "second.yaml", "_base_: [deep/first.yaml]\nname: second")
    config = load_config(write(tmp_path / "mine" / "third.py", "_base_ = '../second.yaml'"))
    assert (config.setting, config.seed, config.name) == ("ada", 4, "second")


def test_what_mmengine_offers_goes_on_working_beside_it(tmp_path):
    text = """
    _base_ = 'annotator3d::ada/streets_demo'
    name = '{{ fileBasenameNoExtension }} in {{ fileDirname }}'
    epochs = _base_.schedule.epochs
    schedule = dict(epochs=epochs + 1)
    model = dict(backbone=dict(_delete_=True, type='SPVCNN'))
    del epochs
    """
    path = write(tmp_path / "mine.py", "\n".join(line.strip() for line in text.splitlines()))
    config = load_config(path)
    assert config.name == f"mine in {tmp_path}"
    assert config.schedule.epochs == SHIPPED.schedule.epochs + 1
    assert config.model.backbone == {"type": "SPVCNN"}
    kept = write(tmp_path / "kept.yaml", f"_base_: {OURS}\nname: '{{{{fileBasename}}}}'\nseed: 1")
    assert load_config(kept).name == "kept.yaml"


def test_a_file_of_the_working_directory_does_not_hide_one_of_ours(tmp_path, monkeypatch):
    write(tmp_path / "ada" / "streets_demo.py", "seed = 9")
    monkeypatch.chdir(tmp_path)
    assert load_config(write(tmp_path / "mine.py", f"_base_ = '{OURS}.py'")) == SHIPPED


def test_an_unknown_base_is_named_with_its_file_and_the_nearest(tmp_path):
    write(tmp_path / "first.py", "_base_ = 'annotator3d::ada/street_demo'")
    path = write(tmp_path / "second.py", "_base_ = 'first.py'")
    with pytest.raises(ConfigError, match="second.py: _base_: .*did you mean 'ada/streets_demo'"):
        load_config(path)


def test_a_mistake_keeps_its_line_and_nothing_is_left_behind(tmp_path):
    path = write(tmp_path / "mine.py", f"_base_ = [\n    '{OURS}',\n]\nseed = 1 / 0")
    with pytest.raises(ConfigError, match="mine.py: cannot be read as a config: ZeroDivision") as e:
        load_config(path)
    trace = e.value.__cause__.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    assert trace.tb_lineno == 4
    with with_base_paths(path, find_config, dict) as copy:
        assert copy != path and copy.is_file()
    assert not copy.exists()


def test_a_config_without_ours_is_not_copied():
    path = find_config("ada/streets_demo")
    with with_base_paths(path, find_config, dict) as same:
        assert same == path
