"""A value of a config or class list is told as its author knows it, not in words of Python."""

from __future__ import annotations

import re
from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kitti_scans import make_kitti_in
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config
from annotator3d.errors import in_yaml, kind_in_words

PYTHONS = re.compile(r"None|datetime|<class|\bTrue\b|\bFalse\b|\bb'|\bset\(|NoneType|\bdict\b")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    root = make_kitti_in(folder)(sequences=("00", "01", "02"), scans=1)
    (folder / "tiny.yaml").write_text(dump_config(tiny_config(root)))
    return folder


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("schedule.epochs=null", "got nothing"),
        ("schedule.epochs=", "got nothing"),
        ("schedule.epochs=2026-05-01", "got the date 2026-05-01"),
        ("schedule.epochs=yes", "got true"),
        ("schedule.optimizer.lr=[1, null]", "got [1, nothing]"),
        ("schedule.optimizer.lr=2026-05-01 10:00:00", "got the time 2026-05-01 10:00:00"),
        ("active.rounds_at=[no]", "got false"),
        ("active.voxel_size=!!binary aGFsbG8=", "got binary data"),
        ("active.voxel_size=!!set {a}", "got a set"),
        ("active.strategy={a: null}", "got {'a': nothing}"),
        ("data.train.stride=~", "got nothing"),
        ("data.train.intensity=off", "got false"),
        ("active.oracle={type: noisy, stretch: 2026-05-01}", "got the date 2026-05-01"),
        ("active.oracle={type: noisy, annotator: ~}", "got nothing"),
    ],
)
def test_a_setting(base, tmp_path, capsys, setting, words):
    run = ["train", str(base / "tiny.yaml"), "--work-dir", str(tmp_path / "run")]
    assert main([*run, "--set", setting]) in (1, 2)
    error = capsys.readouterr().err
    assert words in error and not PYTHONS.search(error), error


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("classes: [{name: 2026-05-01, ids: [1]}]", "the date 2026-05-01"),
        ("classes: [{name: a, ids: 2026-05-01}]", "got the date 2026-05-01"),
        ("classes: [{name: a, ids: [yes]}]", "got [true]"),
        ("classes: [{name: a, ids: [1], color: ~}]", "got nothing"),
        ("classes: [{name: a, ids: [1]}]\nignored: {2: ~}", "got {2: nothing}"),
        ("classes: [{name: !!set {x}, ids: [1]}]", "a set"),
    ],
)
def test_a_class_list(base, tmp_path, capsys, text, words):
    (tmp_path / "classes.yaml").write_text(text)
    assert main(["check", str(base / "kitti"), "--taxonomy", str(tmp_path / "classes.yaml")]) == 1
    error = capsys.readouterr().err
    assert words in error and not PYTHONS.search(error), error


@pytest.mark.parametrize(
    ("text", "kind"), [("- 1", "a list"), ("word", "text"), ("7", "a whole number")]
)
def test_a_config_that_is_no_table(tmp_path, capsys, text, kind):
    (tmp_path / "c.yaml").write_text(text)
    assert main(["train", str(tmp_path / "c.yaml"), "--work-dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert f"got {kind}" in error and not PYTHONS.search(error)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.datetimes()
    | st.binary()
    | st.sets(st.integers())
    | st.sampled_from([int, dict, date, datetime]),
    lambda inner: st.lists(inner) | st.dictionaries(st.integers() | st.none(), inner),
)


@given(VALUES)
def test_no_value_is_told_in_words_of_python(value):
    for words in (in_yaml(value), kind_in_words(value)):
        told = words.removeprefix("the class ")
        assert told and len(words) <= 120
        assert not re.search(r"None|datetime\.|<class|True|False|b'|set\(", words)
