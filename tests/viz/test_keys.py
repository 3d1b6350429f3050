"""The key table: one key for one thing, on every keyboard."""

import string

import pytest

from annotator3d.data.taxonomy import load_taxonomy
from annotator3d.errors import ConfigError
from annotator3d.viz.keys import ACTIONS, KEYS, make_keys


@pytest.fixture
def keymap(tmp_path):
    path = tmp_path / "keys.yaml"

    def write(text):
        path.write_text(text)
        return path

    return write


def test_nineteen_classes_have_keys_and_no_key_does_two_things():
    taxonomy = load_taxonomy("semantickitti19")
    table = make_keys(taxonomy.names, taxonomy.guidance)
    keys = [action.key for action in table.actions]
    assert None not in keys and len(set(keys)) == len(keys) and set(keys) <= set(KEYS)
    assert [table.named(f"class {i}").key for i in range(10)] == list("1234567890")
    assert table.action("1").text == "car" and table.action("1").help == taxonomy.guidance["car"]
    assert table.action("ctrl+z").name == "undo" and table.action("ctrl+q") is None


def test_every_key_is_where_its_name_says_on_every_layout():
    safe = {*string.ascii_lowercase, *string.digits, "left", "right", "up", "down"}
    safe |= {"space", "enter"}
    assert {key.removeprefix("ctrl+") for key in KEYS} == safe


def test_the_help_panel_and_the_buttons_show_every_action():
    table = make_keys(["road", "car"])
    lines = table.help()
    shown = [action for action in ACTIONS if action.mode in ("", "label")]
    assert len(lines) == len(shown) + 2 and ("1", "road", "label the points as road") in lines
    assert all(text and words for _, text, words in lines)


def test_reviewing_changes_some_keys_but_no_key_of_a_class():
    names = load_taxonomy("semantickitti19").names
    label, review = make_keys(names), make_keys(names, mode="review")
    assert label.action("enter").name == "accept" and review.action("enter").name == "approve"
    assert label.action("s").name == "skip" and review.action("s").name == "reject"
    assert review.action("space").name == "next opinion" and review.action("u") is None
    for index in range(19):
        assert label.named(f"class {index}").key == review.named(f"class {index}").key
    with pytest.raises(ConfigError, match="unknown action 'skip'"):
        review.named("skip")


def test_one_file_changes_the_keys_of_both(keymap):
    file = keymap("actions: {reject: j, skip: t}")
    assert make_keys(["road"], file=file).action("t").name == "skip"
    assert make_keys(["road"], file=file, mode="review").action("j").name == "reject"


def test_classes_beyond_the_keys_are_chosen_with_the_mouse():
    table = make_keys([f"c{i}" for i in range(40)])
    without = [a for a in table.actions if a.key is None]
    assert [a.name for a in without] == [f"class {i}" for i in range(19, 40)]
    assert ("button only", "c39", "label the points as c39") in table.help()


def test_a_file_changes_keys(keymap):
    file = keymap("actions: {skip: 1, background: null, undo: Ctrl+U}\nclasses: {car: S, road: k}")
    table = make_keys(["road", "car", "tree"], file=file)
    assert table.action("1").name == "skip" and table.action("s").text == "car"
    assert table.action("k").text == "road" and table.named("background").key is None
    assert table.action("ctrl+u").name == "undo" and table.action("ctrl+z") is None
    assert table.action("2").text == "tree"  # the first that is left
    table = make_keys(["road", "car", "tree"], file=keymap("classes: {tree: 1}"))
    assert [table.action(key).text for key in "123"] == ["tree", "road", "car"]
    assert make_keys(["road"], file=keymap("")).action("s").name == "skip"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("actions: {skip: u}", "key 'u' is both 'skip' and 'unsure'"),
        ("classes: {car: z}", "key 'z' is both 'class 1' and 'split height'"),
        ("classes: {car: '1', road: '1'}", "key '1' is both 'class 0' and 'class 1'"),
        ("actions: {skp: k}", "actions: unknown 'skp': did you mean 'skip'"),
        ("classes: {caar: k}", "classes: unknown 'caar': did you mean 'car'"),
        ("keys: {skip: k}", "unknown section 'keys'"),
        ("actions: {skip: '['}", r"actions, skip: '\[' is not a key that every layout has"),
        ("actions: {skip: escape}", "not a key that every layout has"),
        ("actions: {skip: ctrl+alt+k}", "not a key that every layout has"),
        ("actions: [skip]", "expected the mappings actions and classes"),
        ("{", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(keymap, text, words):
    file = keymap(text)
    with pytest.raises(ConfigError, match=words) as refused:
        make_keys(["road", "car"], file=file)
    assert str(file) in str(refused.value)


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="unknown action 'undoo': did you mean 'undo'"):
        make_keys(["road"]).named("undoo")
    with pytest.raises(FileNotFoundError):
        make_keys(["road"], file="absent.yaml")
