"""Class maps: the published table, both directions, and every contradiction is refused in words."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import yaml

from annotator3d.data.taxonomy import load_taxonomy, parse_taxonomy, taxonomy_names


@pytest.fixture(scope="module")
def kitti():
    return load_taxonomy("semantickitti19")


@pytest.fixture
def content():
    """A small file in the layout of semantic-kitti-api, with the sections that we do not use."""
    return {
        "labels": {0: "unlabeled", 5: "outlier", 10: "car", 40: "road", 60: "lane-marking"},
        "color_map": {0: [0, 0, 0], 10: [245, 150, 100], 40: [255, 0, 255]},
        "content": {0: 0.1, 10: 0.4, 40: 0.5},
        "learning_map": {0: 0, 5: 0, 10: 1, 40: 2, 60: 2},
        "learning_map_inv": {0: 0, 1: 10, 2: 40},
        "learning_ignore": {0: True, 1: False, 2: False},
        "split": {"train": [0], "valid": [8]},
    }


def test_every_raw_id_goes_where_the_published_table_says(kitti, kitti_order, kitti_table):
    assert len(kitti_table) == 34
    assert kitti.names == kitti_order and kitti.num_classes == 19
    train = kitti.to_train(np.array(list(kitti_table), dtype=np.uint32), "f")
    names = [*kitti.names, *["ignored"] * 237]
    assert [names[i] for i in train] == list(kitti_table.values())
    assert len(kitti.learning_map) == 34


def test_instance_bits_do_not_change_the_class(kitti):
    assert kitti.to_train(np.array([10 | 7 << 16, 0xFFFF << 16], np.uint32), "f").tolist() == [
        0,
        255,
    ]


def test_written_classes_are_the_ones_the_benchmark_reads(kitti):
    raw = kitti.to_raw(np.array([*range(19), 255]))
    expected = [10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81, 0]
    assert raw.tolist() == expected and raw.dtype == np.uint16
    np.testing.assert_array_equal(kitti.to_train(raw, "f"), [*range(19), 255])


@pytest.mark.parametrize("train", [19, 254, -1, 256])
def test_train_id_that_does_not_exist_is_refused(kitti, train):
    with pytest.raises(ValueError, match=rf"0\.\.18 or 255, got \[{train}\]"):
        kitti.to_raw(np.array([0, train]))


def test_unknown_raw_ids_are_named_with_file_and_counts(kitti):
    raw = np.array([10, 7, 7, 300 | 4 << 16, 40], dtype=np.uint32)
    with pytest.raises(ValueError) as error:
        kitti.to_train(raw, "labels/000012.label")
    for part in ("labels/000012.label", "7 (2 points)", "300 (1 points)", "semantickitti19"):
        assert part in str(error.value)


def test_colours_are_red_green_blue(kitti):
    # semantic-kitti-api has car [245, 150, 100] and road [255, 0, 255] as blue, green, red
    assert kitti.colors.shape == (19, 3) and kitti.colors.dtype == np.uint8
    assert kitti.colors[kitti.names.index("car")].tolist() == [100, 150, 245]
    assert kitti.colors[kitti.names.index("building")].tolist() == [255, 200, 0]
    assert len({tuple(c) for c in kitti.colors.tolist()}) == 19


def test_every_class_has_one_line_of_guidance(kitti):
    assert list(kitti.guidance) == kitti.names
    assert all(line and "\n" not in line for line in kitti.guidance.values())


def test_file_in_the_stock_layout_loads_by_its_path(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    taxonomy = load_taxonomy(path)
    assert (taxonomy.name, taxonomy.names, taxonomy.guidance) == ("mine", ["car", "road"], {})
    assert taxonomy.to_train([0, 5, 10, 40, 60], "f").tolist() == [255, 255, 0, 1, 1]


def test_digest_follows_names_and_mapping_only(content):
    def digest(**sections):
        return parse_taxonomy({**content, **sections}, "t", "t.yaml").digest()

    labels, mapping = content["labels"], content["learning_map"]
    assert digest() == digest(guidance={"car": "x"}, color_map={10: [1, 2, 3], 40: [4, 5, 6]})
    assert digest() == digest(learning_map=dict(reversed(mapping.items())))
    others = {digest(labels={**labels, 10: "auto"}), digest(learning_map={**mapping, 60: 0})}
    assert len(others | {digest()}) == 3


def test_nearest_name_is_offered(tmp_path):
    assert "semantickitti19" in taxonomy_names()
    with pytest.raises(ValueError, match="did you mean 'semantickitti19'"):
        load_taxonomy("SemanticKITTI-19")
    with pytest.raises(FileNotFoundError, match="absent.yaml"):
        load_taxonomy(tmp_path / "absent.yaml")


def test_what_is_not_yaml_is_named(tmp_path):
    (tmp_path / "bad.yaml").write_text("labels: {0: [")
    with pytest.raises(ValueError, match="bad.yaml is not YAML"):
        load_taxonomy(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    "section, change, words",
    [
        ("labels", {40: "car"}, r"must differ.*: 'car'"),
        ("labels", {70: "vegetation"}, r"the same raw ids, which these break: 70"),
        ("labels", {-1: "x"}, r"0\.\.65535, got \[-1\]"),
        ("learning_map", {40: 3, 60: 3}, "without gaps"),
        ("learning_map", {40: 1}, r"lead back to the train id from 2 \(of raw id 40\)"),
        ("learning_map_inv", {3: 60}, "without gaps"),
        ("learning_map_inv", {2: 10}, r"lead back to the train id from 2 \(of raw id 10\)"),
        ("learning_ignore", {2: True}, r"train id 0 only, which these break: 2"),
        ("color_map", {40: [1, 2]}, r"blue, green, red|three integers"),
        ("color_map", {40: [0, 0, 256]}, r"three integers in 0\.\.255"),
    ],
)
def test_contradictions_are_refused_in_words(content, section, change, words):
    changed = copy.deepcopy(content)
    changed[section].update(change)
    with pytest.raises(ValueError, match=f"mine.yaml.*(?:{words})"):
        parse_taxonomy(changed, "mine", "mine.yaml")


def test_missing_parts_are_named(content):
    with pytest.raises(ValueError, match="learning_map_inv"):
        parse_taxonomy({k: v for k, v in content.items() if k != "learning_map_inv"}, "m", "m.yaml")
    del content["color_map"][40]
    with pytest.raises(ValueError, match=r"no \[blue, green, red\] for raw id 40"):
        parse_taxonomy(content, "m", "m.yaml")


def test_guidance_for_a_class_that_does_not_exist_names_the_nearest(content):
    with pytest.raises(ValueError, match="did you mean 'road'"):
        parse_taxonomy({**content, "guidance": {"rod": "x"}}, "m", "m.yaml")


@pytest.mark.parametrize("name", taxonomy_names())
def test_every_shipped_class_map_says_which_classes_move(name):
    taxonomy = load_taxonomy(name)
    still = [n for n, moves in zip(taxonomy.names, taxonomy.moves, strict=True) if not moves]
    words = "car bicycle cycl vehicle truck person pedestrian rider".split()
    named = [n for n in taxonomy.names if any(word in n for word in words)]
    assert still == [n for n in taxonomy.names if n not in named] and named and still


def test_a_stock_file_says_nothing_of_motion(content):
    assert parse_taxonomy(content, "m", "m.yaml").moves is None
    assert parse_taxonomy({**content, "moves": []}, "m", "m.yaml").moves.tolist() == [False] * 2
    moves = parse_taxonomy({**content, "moves": ["car"]}, "m", "m.yaml").moves
    assert moves.tolist() == [True, False]


@pytest.mark.parametrize(
    ("moves", "words"),
    [
        (["caar"], "unknown class 'caar': did you mean 'car'"),
        ("car", "names of the classes that move"),
        ([True], "names of the classes that move"),
        ({"car": True}, "names of the classes that move"),
    ],
)
def test_what_moves_must_be_names_of_classes(content, moves, words):
    with pytest.raises(ValueError, match=f"m.yaml.*{words}"):
        parse_taxonomy({**content, "moves": moves}, "m", "m.yaml")


@pytest.mark.parametrize("count, fits", [(254, True), (255, False)])
def test_as_many_classes_as_fit_beside_the_ignored_one(count, fits):
    ids = {i: i for i in range(count + 1)}
    content = {
        "labels": {i: f"class {i}" for i in ids},
        "color_map": {i: [0, 0, 0] for i in ids},
        "learning_map": ids,
        "learning_map_inv": ids,
    }
    if fits:
        taxonomy = parse_taxonomy(content, "m", "m.yaml")
        assert taxonomy.to_train([0, 1, 254], "f").tolist() == [255, 0, 253]
        with pytest.raises(ValueError, match="255"):
            taxonomy.to_train([255], "f")
    else:
        with pytest.raises(ValueError, match="at most 254 classes, got 255"):
            parse_taxonomy(content, "m", "m.yaml")


def test_what_is_done_to_a_loaded_taxonomy_changes_no_later_one():
    first = load_taxonomy("semantickitti19")
    labels, guidance, digest = dict(first.labels), dict(first.guidance), first.digest()
    for part in (first.labels, first.guidance, first.learning_map, first.names):
        part.clear()
    again = load_taxonomy("semantickitti19")
    assert (again.labels, again.guidance, again.digest()) == (labels, guidance, digest)
