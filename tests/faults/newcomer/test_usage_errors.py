"""Wrong usage is named in at most three lines, before torch is loaded, which takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ONE_PROCESS = """
import contextlib, io, json, sys
from annotator3d.cli.main import main

for line in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(line)
    slow = bool({"torch", "numpy"} & set(sys.modules))
    print(json.dumps([code, said.getvalue(), slow]), file=sys.__stdout__)
"""
KITTI = "ada/semantickitti_minkunet"
# What is typed after `annotator3d`, and what is said; {here} is a folder with the files below.
USAGE = {
    "option": (["train", "al/streets_demo", "--devce", "cpu"], "did you mean '--device'"),
    "command": (["trian"], "invalid choice: 'trian'"),
    "config": (["train", "ada/street_demo"], "did you mean 'ada/streets_demo'"),
    "config to evaluate": (["evaluate", "ada/x", "w.pth"], "no config file ada/x"),
    "key": (["train", "al/streets_demo", "--set", "active.stratgy=vcd"], "mean 'strategy'"),
    "key to select": (
        ["select", "al/streets_demo", "--work-dir", "{here}/s", "--set", "shedule.epochs=3"],
        "did you mean 'schedule'",
    ),
    "value": (["train", "al/streets_demo", "--set", "schedule.epochs=0"], "at least 1, got 0"),
    "setting": (["train", "al/streets_demo", "--set", "epochs"], "expected key=value"),
    "key in YAML": (["train", "{here}/typo.yaml"], "did you mean 'epochs'"),
    "key in Python": (["train", "{here}/typo.py"], "did you mean 'batch_size'"),
    "key over a base": (["train", "{here}/over.yaml"], "did you mean 'rounds_at'"),
    "work directory": (["train", "{here}/run"], "is a folder, not a config; name the config that"),
    "folder": (["evaluate", "{here}", "w.pth"], "is a folder, not a config; name a file"),
    "no init": (["train", "ada/streets_demo"], "init: ada starts from a source checkpoint"),
    "init is not there": (["train", KITTI, "--init", "x.pth", "--data-root", "{here}"], "x.pth"),
    "no data root": (["train", "al/semantickitti_minkunet"], "Pass --data-root DIR or set"),
    "no data root to select": (["select", KITTI, "--work-dir", "{here}/s"], "Pass --data-root DIR"),
    "data root is not there": (
        ["train", "al/semantickitti_minkunet", "--data-root", "{here}/none"],
        "--data-root: there is no folder",
    ),
    "checkpoint is not there": (["evaluate", "al/streets_demo", "w.pth"], "no checkpoint w.pth"),
    "checkpoint to select": (
        ["select", "al/streets_demo", "--work-dir", "{here}/s", "--checkpoint", "w.pth"],
        "no checkpoint w.pth",
    ),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, tuple[int, str, bool]]:
    """Exit code, what is said, whether torch or numpy was loaded: of every line, in one process."""
    here = tmp_path_factory.mktemp("usage")
    (here / "typo.yaml").write_text("setting: al\nschedule: {epoch: 3}\n")
    (here / "typo.py").write_text("setting = 'al'\nschedule = dict(batchsize=2)\n")
    (here / "over.yaml").write_text("_base_: annotator3d::al/streets_demo\nactive: {rounds: [0]}\n")
    (here / "run").mkdir()
    (here / "run" / "config.yaml").write_text("setting: al\n")
    lines = [[word.format(here=here) for word in line] for line, _ in USAGE.values()]
    ran = subprocess.run(
        [sys.executable, "-c", ONE_PROCESS],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        timeout=300,
        cwd=here,
    )
    assert ran.returncode == 0, ran.stderr
    assert not (here / "s").exists() and not (here / "work_dirs").exists()
    found = [tuple(json.loads(line)) for line in ran.stdout.splitlines()]
    return dict(zip(USAGE, found, strict=True))


@pytest.mark.parametrize("what", USAGE)
def test_it_is_said_before_torch_is_loaded(answers, what):
    code, said, slow_loaded = answers[what]
    assert code in (1, 2) and USAGE[what][1] in said, said
    assert not slow_loaded, "what came before loaded torch or numpy"
    assert len(said.strip().splitlines()) <= 3 and len(said) <= 500, said


def test_a_config_of_values_is_read_as_mmengine_reads_it(tmp_path):
    from mmengine.config import Config

    from annotator3d.engine.config.literals import read_literals
    from annotator3d.engine.config.load import find_config

    root = Path(find_config("al/streets_demo")).parents[1]
    (tmp_path / "base.py").write_text(
        "a = dict(b=[1, -2.5], c=dict(d='x', e=None))\nt = (1, 'y')\n"
    )
    (tmp_path / "own.py").write_text(
        '"""Words."""\n_base_ = "base.py"\n_same = {"f": True}\nz = -1\n'
        "a = dict(**_same, c=dict(_delete_=True, g=1))\n"
    )
    paths = [*sorted(root.rglob("*.py")), tmp_path / "own.py"]
    assert len(paths) > 60
    for path in paths:
        expected = Config.fromfile(str(path), import_custom_modules=False).to_dict()
        found = read_literals(path, find_config)
        assert {k: v for k, v in found.items() if k[0] != "_"} == {
            k: v for k, v in expected.items() if k[0] != "_"
        }, path


@pytest.mark.parametrize(
    "text",
    [
        "import os\nname = 'x'",
        "name = 'x'.upper()",
        "a = {'b': 1, 'b': 2}",
        "name = '{{ fileBasename }}'",
        "for i in range(3): seed = i",
        "_base_ = 'none.py'",
        "seed = 1 +",
    ],
)
def test_what_takes_python_is_left_to_mmengine(tmp_path, text):
    from annotator3d.engine.config.literals import read_literals
    from annotator3d.engine.config.load import find_config

    (tmp_path / "c.py").write_text(text)
    assert read_literals(tmp_path / "c.py", find_config) is None


def test_data_sets_without_a_root_are_those_of_the_registry():
    from annotator3d.cli.usage import MAKE_THEMSELVES
    from annotator3d.registry import DATASETS, fill

    fill(DATASETS)
    ours = {n: c for n, c in DATASETS.module_dict.items() if c.__module__.startswith("annotator3d")}
    assert {name for name, cls in ours.items() if cls.makes_itself} == set(MAKE_THEMSELVES)
