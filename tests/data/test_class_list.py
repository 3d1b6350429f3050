"""A class list says the same as the sections of semantic-kitti-api that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from annotator3d.data.class_list import expand
from annotator3d.data.taxonomy import dump_taxonomy, load_taxonomy, parse_taxonomy

LIST = """
classes:
  - {name: ground, ids: [40, 48], color: [1, 2, 3], guidance: where one drives}
  - {name: "no", ids: [7]}
ignored: [5, 6]
"""
SECTIONS = """
labels: {5: void, 6: void, 7: "no", 40: ground, 48: ground}
color_map: {5: [0, 0, 0], 7: [9, 9, 9], 40: [3, 2, 1]}
learning_map: {5: 0, 6: 0, 40: 1, 48: 1, 7: 2}
learning_map_inv: {0: 5, 1: 40, 2: 7}
guidance: {ground: where one drives}
"""


def test_a_class_list_is_a_short_way_to_write_the_sections(tmp_path):
    for name, text in (("list", LIST), ("sections", SECTIONS)):
        (tmp_path / f"{name}.yaml").write_text(text)
    short, long = (load_taxonomy(tmp_path / f"{n}.yaml") for n in ("list", "sections"))
    assert short.names == long.names == ["ground", "no"]
    assert short.learning_map == long.learning_map and short.digest() == long.digest()
    assert short.guidance == long.guidance == {"ground": "where one drives"}
    assert short.colors[0].tolist() == long.colors[0].tolist() == [1, 2, 3]
    assert short.to_raw([0, 1, 255]).tolist() == [40, 7, 5]


@pytest.mark.parametrize(
    ("ids", "ignored"), [([[1], [2]], 0), ([[0], [1]], 255), ([[255], [254]], 0)]
)
def test_points_without_a_class_get_an_id_that_no_class_has(ids, ignored):
    classes = [{"name": f"c{i}", "ids": list(raw)} for i, raw in enumerate(ids)]
    assert parse_taxonomy({"classes": classes}, "x", "x").to_raw([255]).tolist() == [ignored]


def test_254_classes_have_254_different_colors():
    classes = [{"name": f"c{i}", "ids": [i + 1]} for i in range(254)]
    taxonomy = parse_taxonomy({"classes": classes}, "many", "many.yaml")
    assert taxonomy.num_classes == 254
    assert len(np.unique(taxonomy.colors, axis=0)) == 254
    assert taxonomy.to_train(np.arange(255), "x").tolist() == [255, *range(254)]
    with pytest.raises(ValueError, match="at most 254 classes"):
        parse_taxonomy({"classes": [*classes, {"name": "x", "ids": [400]}]}, "x", "x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("classes: [{name: a, ids: [1]}, {name: b, ids: [1]}]", "raw id 1 is of 'b' and of 'a'"),
        ("{classes: [{name: a, ids: [1]}], ignored: [1]}", "raw id 1 is of 'a' and of 'ignored'"),
        ("classes: [{name: a, ids: [1, 1]}]", "raw id 1 is of 'a' and of 'a'"),
        ("classes: [{name: a}]", "class 1: needs 'ids'"),
        ("classes: [{name: a, ids: [1]}, {ids: [2]}]", "class 2: needs 'name'"),
        ("classes: [{name: a, ids: 1}]", "ids must be a list of integers"),
        ("classes: [{name: a, ids: [x]}]", "ids must be a list of integers"),
        ("classes: [{name: a, ids: [1], colour: [1, 2, 3]}]", "did you mean 'color'"),
        ("classes: [{name: a, ids: [1], color: [1, 2]}]", "red, green, blue"),
        ("classes: [{name: a, ids: [1], color: [1, 2, 300]}]", "three integers in 0..255"),
        ("classes: [{name: a, ids: [1]}, {name: a, ids: [2]}]", "class names must differ"),
        ("classes: [{name: a, ids: [70000]}]", "raw ids must be integers in 0..65535"),
        ("{classes: [{name: a, ids: [1]}], ignore: [0]}", "did you mean 'ignored'"),
        ("{classes: [{name: a, ids: [1]}], ignored: []}", "at least one that no class has"),
        ("classes: [{name: a, ids: [0, 255]}]", "at least one that no class has"),
        ("classes: [{name: a, ids: [1], moves: 1}]", "moves must be true or false, got 1"),
        ("classes: [a, b]", "a list of entries with name and ids"),
        ("classes: []", "at least one class"),
        ("names: [a]", "must have the list classes, or the mappings"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused_in_words(text, words):
    with pytest.raises(ValueError) as error:
        parse_taxonomy(yaml.safe_load(text), "mine", "mine.yaml")
    assert words in str(error.value) and "mine.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("said", "moves"),
    [
        ([{}, {}], None),
        ([{"moves": True}, {}], [True, False]),
        ([{"moves": False}, {}], [False, False]),
    ],
)
def test_one_class_that_says_whether_it_moves_says_it_for_all(said, moves):
    entries = [{"name": "a", "ids": [1], **said[0]}, {"name": "b", "ids": [2], **said[1]}]
    found = parse_taxonomy({"classes": entries}, "x", "x")
    assert (None if found.moves is None else found.moves.tolist()) == moves
    again = parse_taxonomy(yaml.safe_load(dump_taxonomy(found)), "x", "x")
    assert (None if again.moves is None else again.moves.tolist()) == moves
    assert again.digest() == found.digest()


def test_expanding_does_not_change_what_it_is_given():
    content = yaml.safe_load(LIST)
    expand(content, "x")
    assert content == yaml.safe_load(LIST)
