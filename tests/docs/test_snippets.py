"""Every Python snippet of README and docs runs, and every `annotator3d` line is understood."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import tiny_config

import annotator3d as a3d
from annotator3d.cli.parser import parse
from annotator3d.engine.config.load import dump_config, load_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TRIED_ELSEWHERE = "extending.md"  # tests/engine/test_extending.py trains with each of its files
TEMPLATES = re.compile(r"\[--|\.\.\.|\$\{")  # lines that show what may stand where


def blocks(page: Path, language: str) -> list[str]:
    return [
        text for kind, text in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language
    ]


def commands() -> list[tuple[str, str]]:
    """(page, line) of every line that begins with `annotator3d`, continued lines joined."""
    found = []
    for page in PAGES:
        for language in ("", "bash", "sh", "console"):
            for text in blocks(page, language):
                for line in text.replace("\\\n", " ").splitlines():
                    line = " ".join(line.strip().removeprefix("$ ").split())
                    if line.startswith("annotator3d ") and not TEMPLATES.search(line):
                        found.append((page.name, line))
    return found


def is_config(text: str) -> bool:
    return "_base_ =" in text


PYTHON = [
    page
    for page in PAGES
    if page.name != TRIED_ELSEWHERE and any(not is_config(t) for t in blocks(page, "python"))
]
CONFIGS = [
    (page.name, text)
    for page in PAGES
    if page.name != TRIED_ELSEWHERE
    for text in blocks(page, "python")
    if is_config(text)
]


@pytest.fixture
def world(tmp_path, make_kitti, monkeypatch):
    """What the pages speak of, but small: scans in DIR, open queries in runs/mine, a config."""
    root = make_kitti(sequences=("00", "01", "02", "03"), scans=2, name="DIR")
    config = tiny_config(
        root, schedule={"epochs": 2}, active={"rounds_at": [0, 1], "voxel_size": 0.25}
    )
    (tmp_path / "tiny.yaml").write_text(dump_config(config))
    asked = tiny_config(root, active={"strategy": "random", "voxel_size": 0.25})
    a3d.Run.from_config(asked, tmp_path / "runs" / "mine").select()
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    return {  # names that a reader has: the points, classes and logits of a scan
        "np": np,
        "xyz": random.normal(0, 5, (50, 3)).astype(np.float32),
        "intensity": random.random(50),
        "classes": random.integers(0, 3, 50),
        "logits": random.normal(size=(50, 3)),
    }


def test_the_pages_are_found():
    assert len(PAGES) > 15 and len(PYTHON) >= 5 and len(commands()) > 50 and len(CONFIGS) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.name)
def test_python_snippets_run_in_their_order(page, world):
    for text in blocks(page, "python"):
        if not is_config(text):
            text = text.replace('"al/streets_demo"', '"tiny.yaml"')  # minutes otherwise
            text = text.replace("scans=20, seed=0, azimuths=720", "scans=1, seed=0, azimuths=90")
            exec(compile(text, str(page), "exec"), world)


@pytest.mark.parametrize(("page", "text"), CONFIGS)
def test_config_snippets_are_read(page, text, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text)
    assert load_config(path).setting


@pytest.mark.parametrize(("page", "line"), commands())
def test_command_lines_are_understood(page, line):
    arguments = shlex.split(line, comments=True)[1:]
    assert parse(arguments).command


def test_a_wrong_command_line_is_seen(capsys):
    with pytest.raises(SystemExit):
        parse(shlex.split("annotator3d train al/streets_demo --works-dir x")[1:])
    assert "--work-dir" in capsys.readouterr().err
