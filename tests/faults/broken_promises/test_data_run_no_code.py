"""Configs in YAML or JSON, and work directories from others, run nothing without a yes."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES

import pytest
import yaml
from viewer_driver import need_web

from annotator3d.analysis.report.classes_asked import pool_classes
from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config, load_config, trust
from annotator3d.engine.config.trust import are_trusted
from annotator3d.engine.config.values import read_values
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.viz.desktop.system import own_python

OURS = "annotator3d::al/streets_demo"
# Each of these programs leaves a file where it ran.
PROGRAM = "open({mark!r}, 'w').close()\n"
COMMANDS = {
    "ledger verify": ["ledger", "verify", "{run}"],
    "label": ["label", "{run}", "--web", "--port", "0"],
    "render": ["render", "{run}", "--query", "1", "--out", "{out}/a.png"],
    "export answers": [
        "export",
        "{run}",
        "{out}",
        "--what",
        "answers",
        "--format",
        "semantickitti",
    ],
    "export": ["export", "{run}", "{out}", "--what", "predictions", "--format", "semantickitti"],
    "package export": ["package", "export", "{run}", "{out}/a.a3dpack", "--to", "ben"],
    "suspicious": ["ledger", "suspicious", "{run}"],
    "evaluate": ["evaluate", "{run}/config.yaml", "{run}/none.pth"],
    "train": ["train", "{run}/config.yaml", "--work-dir", "{run}", "--resume"],
    "select": ["select", "{run}/config.yaml", "--work-dir", "{out}/new"],
    "check": ["check", "{out}", "--config", "{run}/config.yaml"],
    "report": ["report", "{run}"],
    "migrate": ["taxonomy", "migrate", "{run}", "semanticposs13", "--apply"],
}


@pytest.fixture(autouse=True)
def no_checkpoint(tmp_path):
    """A file to name as a checkpoint: without one, commands are refused before anything runs."""
    (tmp_path / "none.pth").write_bytes(b"no checkpoint")


@pytest.fixture
def forget(monkeypatch, tmp_path):
    """A user who has said yes to nothing, and Python's path and modules as they were."""
    monkeypatch.setenv("ANNOTATOR3D_CONFIG", str(tmp_path / "settings"))
    monkeypatch.setattr("annotator3d.engine.config.trust._said_here", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("foreign_"):
            del sys.modules[name]


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "it ran"


@pytest.fixture
def foreign(forget, home, mark):
    """A work directory of somebody else, whose files would leave `mark`."""
    (home / "foreign_code.py").write_text(PROGRAM.format(mark=str(mark)))
    return home


def poison(home, kind, mark):
    """Change config.yaml and run.json so that a careless reader runs something."""
    path = home / "config.yaml"
    values = yaml.safe_load(path.read_text())
    if kind == "custom_imports":
        values["custom_imports"] = {"imports": ["foreign_code.py"], "folder": str(home)}
    elif kind == "base":
        values["_base_"] = "foreign_code.py"
    text = yaml.safe_dump(values)
    if kind == "tag":
        text += f"name2: !!python/object/apply:os.mkdir [{str(mark)!r}]\n"
    path.write_text(text)
    info = home / "run.json"
    if info.is_file():
        info.write_text(json.dumps({**json.loads(info.read_text()), "config": values}))


def call(command, home, out):
    words = [word.format(run=home, out=out) for word in command]
    return main(words)


@pytest.mark.parametrize("kind", ["custom_imports", "base", "tag"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_foreign_work_directory_runs_nothing(foreign, mark, tmp_path, monkeypatch, name, kind):
    monkeypatch.setattr("annotator3d.viz.web.server.serve", lambda *a, **k: None)
    poison(foreign, kind, mark)
    call(COMMANDS[name], foreign, tmp_path)
    assert not mark.exists()


def test_what_needs_no_code_works_without_it(foreign, mark, tmp_path):
    """A strategy of one's own is not needed to check, pack or label what it has asked."""
    values = yaml.safe_load((foreign / "config.yaml").read_text())
    values["custom_imports"] = {"imports": ["foreign_code.py"], "folder": str(foreign)}
    values["active"]["strategy"] = "foreign"
    (foreign / "config.yaml").write_text(yaml.safe_dump(values))
    assert call(COMMANDS["ledger verify"], foreign, tmp_path) == 0
    assert call(COMMANDS["package export"], foreign, tmp_path) == 0
    assert not mark.exists()


STRATEGY = (
    PROGRAM
    + """
from annotator3d.active.strategies import STRATEGIES, RandomSampling

@STRATEGIES.register_module({name!r}, force=True)
class Mine(RandomSampling):
    name = {name!r}
"""
)


def kept(folder, mark, suffix="yaml", name="foreign_one", **values):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(STRATEGY.format(mark=str(mark), name=name))
    config = {
        "_base_": OURS,
        "custom_imports": {"imports": [f"{name}.py"]},
        "active": {"strategy": name},
        **values,
    }
    path = folder / f"config.{suffix}"
    path.write_text(yaml.safe_dump(config) if suffix == "yaml" else json.dumps(config))
    return path


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_yes_holds_for_the_folder_until_the_code_changes(forget, mark, tmp_path, capsys, suffix):
    path = kept(tmp_path / "run", mark, suffix)
    no = ["evaluate", str(path), str(tmp_path / "none.pth")]
    assert main(no) == 2
    said = capsys.readouterr().err
    assert "foreign_one.py" in said and "--trust" in said and not mark.exists()
    assert main([*no, "--trust"]) == 1  # there is no checkpoint, but the code has run
    assert mark.exists() and "none.pth" in capsys.readouterr().err

    mark.unlink()
    del sys.modules["foreign_one"]  # as in another process
    assert main(no) == 1 and mark.exists()  # remembered
    mark.unlink()
    del sys.modules["foreign_one"]
    with open(path.parent / "foreign_one.py", "a") as file:
        file.write("# other code\n")
    assert main(no) == 2 and not mark.exists()
    other = shutil.copytree(path.parent, tmp_path / "other")
    assert main(["evaluate", str(other / path.name), str(tmp_path / "none.pth")]) == 2
    assert not mark.exists()


def test_a_yes_that_is_damaged_counts_as_a_fault_not_as_a_yes(forget, mark, tmp_path):
    path = kept(tmp_path / "run", mark)
    settings = tmp_path / "settings" / "trusted.json"
    settings.parent.mkdir()
    settings.write_text("[1")
    with pytest.raises(ConfigError, match=r"trusted\.json cannot be read .* remove it"):
        load_config(path)
    assert not mark.exists()


def test_the_code_of_a_data_set_is_asked_about_where_its_scans_are_read(foreign, mark, capsys):
    values = yaml.safe_load((foreign / "config.yaml").read_text())
    values["custom_imports"] = {"imports": ["foreign_code.py"], "folder": str(foreign)}
    values["data"]["train"]["type"] = "ForeignScans"
    (foreign / "config.yaml").write_text(yaml.safe_dump(values))
    assert main(["ledger", "verify", str(foreign)]) == 2
    assert "--trust" in capsys.readouterr().err and not mark.exists()
    main(["ledger", "verify", str(foreign), "--trust"])
    assert mark.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["check", "{out}", "--config", "{py}"],
        ["label", "{run}", "--web", "--port", "0", "--config", "{py}"],
        ["render", "{run}", "--query", "1", "--out", "{out}/a.png", "--config", "{py}"],
        ["ledger", "verify", "{run}", "--config", "{py}"],
        ["package", "export", "{run}", "{out}/a.a3dpack", "--to", "ben", "--config", "{py}"],
        [
            "export",
            "{run}",
            "{out}",
            "--what",
            "answers",
            "--format",
            "semantickitti",
            "--config",
            "{py}",
        ],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_program_is_run_by_train_select_and_evaluate_only(
    foreign, mark, tmp_path, capsys, command
):
    if command[0] == "label":
        need_web()
    program = foreign / "foreign_code.py"
    words = [word.format(run=foreign, out=tmp_path, py=program) for word in command]
    assert main(words) == 2 and not mark.exists()
    assert "--trust" in capsys.readouterr().err
    main(["evaluate", str(program), str(tmp_path / "none.pth")])
    assert mark.exists()


@pytest.mark.parametrize("suffix", ["yaml", "yml", "json"])
def test_plain_data_starts_from_plain_data_and_from_ours_alone(tmp_path, mark, suffix):
    (tmp_path / "evil.py").write_text(PROGRAM.format(mark=str(mark)))
    path = tmp_path / f"c.{suffix}"
    for base in ("evil.py", ["evil.py"], str(tmp_path / "evil.py"), "evil"):
        path.write_text(json.dumps({"_base_": base}))
        with pytest.raises(ConfigError, match="runs no program"):
            load_config(path)
    assert not mark.exists()
    path.write_text(json.dumps({"_base_": OURS, "name": "{{ fileBasename }}"}))
    assert load_config(path).name == path.name


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.yaml": "_base_: b.yaml", "b.yaml": "_base_: a.yaml"}, "circle: a.yaml -> b.yaml -> a"),
        ({"a.yaml": "_base_: a.yaml"}, "circle: a.yaml -> a.yaml"),
        ({"a.json": '{"_base_": "b.yaml"}', "b.yaml": "_base_: ./a.json"}, "in a circle"),
        ({"a.py": "_base_ = 'b.py'", "b.py": "_base_ = ['a.py']"}, "circle: a.py -> b.py -> a.py"),
        ({"a.py": "_base_ = 'b.yaml'", "b.yaml": "_base_: b.yaml"}, "circle: b.yaml -> b.yaml"),
        ({"a.yaml": "seed: 1\nseed: 2"}, "key 'seed' is there twice, in lines 1 and 2"),
        ({"a.yaml": "active: {stride: 1, stride: 2}"}, "key 'stride' is there twice"),
        ({"a.json": '{"seed": 1, "seed": 2}'}, "key 'seed' is there twice"),
        ({"a.py": "active = {'stride': 1, 'stride': 2}"}, "key 'stride' is there twice"),
        ({"a.py": "seed = 1\nseed = 2"}, "key 'seed' is there twice, in lines 1 and 2"),
        ({"a.py": "active = dict(stride=1)\nname = 'x'\nactive = {}"}, "twice, in lines 1 and 3"),
        ({"a.yaml": "_base_: b.yaml", "b.yaml": "{seed: 1, seed: 1}"}, "key 'seed' is there twice"),
        ({"a.py": "_base_ = 'b.yaml'", "b.yaml": "a: !!python/name:os.system"}, "not YAML"),
        ({"a.yaml": "name: '{{ _base_.name }}'"}, "is not filled in"),
        ({"a.yaml": "a: &a [1]\nb: &b [" + "*a, " * 9 + "]"}, "unknown key"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_loops_and_second_keys_of_configs_are_refused(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=words) as refused:
        load_config(tmp_path / next(iter(files)))
    assert len(str(refused.value)) < 500


def test_a_bomb_in_a_config_is_refused_at_once(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="stand for more than"):
        WorkDir(tmp_path).config()


def test_what_is_written_as_plain_data_is_read_back_the_same(tmp_path):
    (tmp_path / "a.yaml").write_text(f"_base_: {OURS}\nschedule: {{batch_size: 3}}\n")
    config = load_config(tmp_path / "a.yaml")
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert WorkDir(tmp_path).config() == config and config.schedule.batch_size == 3


def test_a_key_that_is_used_before_it_is_set_anew_is_no_second_key(tmp_path):
    (tmp_path / "a.py").write_text(
        "seed = 1\nname = str(seed)\nseed = 2\nactive = dict(stride=2)\n"
        "active = dict(active, queries_per_scan=3)\n"
    )
    config = load_config(tmp_path / "a.py")
    assert (config.seed, config.name, config.active.stride) == (2, "1", 2)


def compiled_elsewhere(source, folder, mark):
    """A ``__pycache__`` with other code than the source, which fits it by time and size."""
    other = folder / "elsewhere" / source.name
    other.parent.mkdir()
    text = PROGRAM.format(mark=str(mark))
    size = source.stat().st_size
    other.write_text(text + "#" * (size - len(text)))
    times = (source.stat().st_atime_ns, source.stat().st_mtime_ns)
    os.utime(other, ns=times)
    cached = importlib.util.cache_from_source(str(source))
    py_compile.compile(str(other), cfile=cached, dfile=str(source), doraise=True)


def test_what_runs_after_a_yes_is_what_can_be_read(forget, mark, tmp_path):
    path = kept(tmp_path / "run", tmp_path / "good")
    source = path.parent / "foreign_one.py"
    compiled_elsewhere(source, tmp_path, mark)
    assert main(["evaluate", str(path), str(tmp_path / "none.pth"), "--trust"]) == 1
    assert (tmp_path / "good").exists() and not mark.exists()


@pytest.mark.parametrize("rival", ["foreign_one", f"foreign_one{EXTENSION_SUFFIXES[0]}"])
def test_what_would_be_imported_in_place_of_a_file_is_refused(
    forget, mark, tmp_path, capsys, rival
):
    path = kept(tmp_path / "run", tmp_path / "good")
    other = path.parent / rival
    if "." in rival:
        other.write_bytes(b"\x7fELF")
    else:
        other.mkdir()
        (other / "__init__.py").write_text(PROGRAM.format(mark=str(mark)))
    assert main(["evaluate", str(path), str(tmp_path / "none.pth"), "--trust"]) == 2
    assert f"would import {rival} in its place" in capsys.readouterr().err
    assert not mark.exists() and not (tmp_path / "good").exists()


def test_a_package_is_asked_about_again_when_any_file_of_it_changes(forget, mark, tmp_path):
    path = kept(tmp_path / "run", mark, name="foreign_two")
    package = path.parent / "foreign_pack"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.move(path.parent / "foreign_two.py", package / "scores.py")
    (package / "table.json").write_text("{}")
    values = yaml.safe_load(path.read_text())
    values["custom_imports"] = {"imports": ["foreign_pack.scores"]}
    path.write_text(yaml.safe_dump(values))
    for change in ("scores.py", "table.json", "helper.py"):
        trust(path)
        assert are_trusted(path, read_values(values_with_folder(values, path)).custom_imports)
        with open(package / change, "a") as file:
            file.write(" \n")
        with pytest.raises(ConfigError, match="--trust"):
            load_config(path)
    assert not mark.exists()


def values_with_folder(values, path):
    custom = {**values["custom_imports"], "folder": str(path.parent.resolve())}
    return {"custom_imports": custom}


@pytest.mark.parametrize("name", ["numpy.py", "open3d.py", "annotator3d/__init__.py", "runpy.py"])
def test_a_folder_of_scans_is_no_place_to_import_from(tmp_path, mark, name):
    """Processes that draw are started in the folder in which the command was given."""
    evil = tmp_path / "scans" / name
    evil.parent.mkdir(parents=True)
    evil.write_text(PROGRAM.format(mark=str(mark)))
    code = "from annotator3d.errors import ConfigError; import runpy, numpy"
    done = subprocess.run(
        own_python(code), cwd=tmp_path / "scans", capture_output=True, text=True, timeout=100
    )
    assert not mark.exists() and done.returncode == 0, done.stderr


def test_what_draws_a_picture_imports_nothing_from_where_it_is_called(
    home, tmp_path, mark, monkeypatch
):
    (home / "numpy.py").write_text(PROGRAM.format(mark=str(mark)))
    monkeypatch.chdir(home)
    assert main(["render", ".", "--query", "1", "--out", str(tmp_path / "a.png")]) == 0
    assert not mark.exists() and (tmp_path / "a.png").is_file()


def test_a_report_runs_nothing_that_run_json_names(foreign, mark):
    poison(foreign, "custom_imports", mark)
    values = yaml.safe_load((foreign / "config.yaml").read_text())
    info = {"data": {"pool": {"fingerprint": "x"}}, "config": values, "classes": ["a"]}
    (foreign / "run.json").write_text(json.dumps(info))
    assert pool_classes(WorkDir(foreign), info, lambda done, total: None) is None
    assert not mark.exists()


def test_a_yes_that_cannot_be_kept_holds_this_time_and_is_said(
    forget, mark, tmp_path, monkeypatch, capsys
):
    path = kept(tmp_path / "run", mark)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ANNOTATOR3D_CONFIG", str(tmp_path / "file" / "settings"))
    assert main(["evaluate", str(path), str(tmp_path / "none.pth"), "--trust"]) == 1
    assert "cannot be kept for the next time" in capsys.readouterr().err and mark.exists()
