"""YAML that people hand around is plain data: tags, bombs, loops and second keys are refused."""

from __future__ import annotations

import pytest

from annotator3d.cli.main import main
from annotator3d.data.plain_yaml import read_yaml
from annotator3d.data.taxonomy import load_taxonomy
from annotator3d.errors import ConfigError
from annotator3d.viz.keys import make_keys

CLASSES = """\
classes:
  - name: ground
    ids: [1]
  - name: building
    ids: [2]
"""
BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
)
MERGE_BOMB = "\n".join(
    ["a0: &a0 {k0: 1}"]
    + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 4)}], k{n}: 1}}" for n in range(1, 12)]
)
SECOND_KEYS = {
    "a class has two lists of ids": CLASSES.replace("ids: [2]", "ids: [2]\n    ids: [3]"),
    "a class has two names": CLASSES.replace("ids: [2]", "ids: [2]\n    name: wall"),
    "two lists of classes": CLASSES + CLASSES,
    "a raw id is mapped twice": "labels: {0: a, 1: b}\nlearning_map: {0: 0, 1: 1, 1: 0}\n",
    "an id in two ways of writing": "labels: {0: a, 1: b, 0x1: c}\n",
}


@pytest.mark.parametrize("text", SECOND_KEYS.values(), ids=SECOND_KEYS)
def test_a_second_key_in_a_class_list_is_refused_with_both_lines(tmp_path, text):
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"classes\.yaml.* is there twice, in lines \d+ and \d+"):
        load_taxonomy(path)


@pytest.mark.parametrize(
    "text", ["actions: {skip: k, skip: j}", "classes: {road: r}\nclasses: {car: c}"]
)
def test_a_second_key_in_a_file_of_keys_is_refused(tmp_path, text):
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"keys\.yaml.* is there twice"):
        make_keys(["car", "road"], None, path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "stand for more than 1,000,000 values"),
        (MERGE_BOMB, "stand for more than 1,000,000 values"),
        ("a: &a [1, *a]", "an alias stands for what holds it"),
        ("[" * 5_000, "nested deeper"),
        ("x: " + "[" * 200 + "]" * 200, "nested deeper than 100 levels"),
        ("classes: 2026-02-31", "not YAML of plain values"),
        ("a: !!python/object/apply:os.system ['true']", "not YAML of plain values"),
        ("a: !!python/name:os.system", "not YAML of plain values"),
        ("a: 1\n---\nb: 2", "not YAML of plain values"),
        ("#" * (17 << 20), "at most 16 MB"),
    ],
    ids=["bomb", "merges", "loop", "open", "deep", "date", "call", "name", "two", "large"],
)
def test_what_no_class_list_needs_is_refused_at_once_and_in_few_words(tmp_path, text, words):
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as refused:
        load_taxonomy(path)
    assert "classes.yaml" in str(refused.value) and len(str(refused.value)) < 500


def test_aliases_and_merges_of_reasonable_size_are_read():
    text = "a: &a {ids: [1], color: [1, 2, 3]}\nb: {<<: *a, ids: [2]}\nc: *a\n"
    assert read_yaml("x", text)["b"] == {"ids": [2], "color": [1, 2, 3]}
    assert read_yaml("x", "") is None
    assert read_yaml("x", "a: [1, 2.5, ä]".encode("utf-16")) == {"a": [1, 2.5, "ä"]}


def test_a_number_of_ten_thousand_digits_is_refused_in_words(tmp_path):
    from annotator3d.data.plain_yaml import read_yaml

    path = tmp_path / "long.yaml"
    path.write_text("seed: 1" + "0" * 10_000)
    with pytest.raises(ValueError, match=r"long.yaml .*more than 4,300 digits") as failed:
        read_yaml(path)
    assert "sys." not in str(failed.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("config.yaml", ""), ("config.yaml", "# nothing\n"), ("c.yml", "null"), ("c.json", "null")],
)
def test_an_empty_config_is_named_and_nothing_is_written(tmp_path, capsys, name, text):
    """An emptied config.yaml of a run gave an export of "0 of 0 scans" and exit code 0."""
    path = tmp_path / name
    path.write_text(text)
    assert main(["train", str(path), "--work-dir", str(tmp_path / "work")]) == 2
    error = capsys.readouterr().err
    assert f"{path} is empty" in error and not (tmp_path / "work").exists()
