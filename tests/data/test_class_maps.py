"""The class maps of the benchmark tasks are the published ones, id by id."""

from __future__ import annotations

import numpy as np
import pytest
from benchmark_layouts import CATEGORIES

from annotator3d.data.taxonomy import load_taxonomy, taxonomy_names

# Typed from the published tables: class, then the raw ids that become it, in train-id order.
SYNLIDAR_19 = """
car 1 | bicycle 5 | motorcycle 6 | truck 3 | other-vehicle 4 7 | person 12 13 14 | bicyclist 16 |
motorcyclist 17 | road 8 | parking 10 | sidewalk 9 | other-ground 11 | building 18 | fence 26 |
vegetation 20 | trunk 21 | terrain 22 | pole 24 | traffic-sign 23 |
ignored 0 2 15 19 25 27 28 29 30 31 32
"""
SYNLIDAR_13 = """
car 1 | bicycle 5 | person 12 13 14 | rider 16 17 | ground 8 | building 18 | fence 26 | plants 20 |
trunk 21 | pole 24 | traffic-sign 23 | garbage-can 27 | cone/stone 25 |
ignored 0 2 3 4 6 7 9 10 11 15 19 22 28 29 30 31 32
"""
SEMANTICPOSS_13 = """
car 7 | bicycle 21 | person 4 5 | rider 6 | ground 22 | building 15 | fence 17 | plants 9 |
trunk 8 | pole 13 | traffic-sign 10 11 12 | garbage-can 14 | cone/stone 16 |
ignored 0 1 2 3 18 19 20
"""
SEMANTICKITTI_7 = """
vehicle 10 252 | pedestrian 30 254 | road 40 44 60 | sidewalk 48 | terrain 72 |
manmade 50 51 80 81 | vegetation 70 71 |
ignored 0 1 11 13 15 16 18 20 31 32 49 52 99 253 255 256 257 258 259
"""
NUSCENES_7 = """
vehicle 17 20 | pedestrian 2 3 4 5 6 7 8 | road 24 | sidewalk 26 | terrain 27 | manmade 28 |
vegetation 30 | ignored 0 1 9 10 11 12 13 14 15 16 18 19 21 22 23 25 29 31
"""
TABLES = {
    "synlidar19": (SYNLIDAR_19, 33),
    "synlidar13": (SYNLIDAR_13, 33),
    "semanticposs13": (SEMANTICPOSS_13, 23),
    "semantickitti7": (SEMANTICKITTI_7, 34),
    "nuscenes7": (NUSCENES_7, 32),
}


def table(text: str) -> dict[str, list[int]]:
    entries = (entry.split() for entry in text.split("|"))
    return {name: [int(raw) for raw in ids] for name, *ids in entries}


@pytest.mark.parametrize("name", TABLES)
def test_every_raw_id_goes_where_the_published_table_says(name):
    text, count = TABLES[name]
    expected, taxonomy = table(text), load_taxonomy(name)
    assert sum(map(len, expected.values())) == count == len(taxonomy.learning_map)
    assert [*taxonomy.names, "ignored"] == list(expected)
    for train, (owner, raw_ids) in enumerate(expected.items()):
        train = 255 if owner == "ignored" else train
        found = taxonomy.to_train(np.array(raw_ids, np.uint32) | 7 << 16, "f")
        assert found.tolist() == [train] * len(raw_ids), owner


@pytest.mark.parametrize("name", [*TABLES, "semantickitti19"])
def test_what_is_written_for_a_class_is_read_back_as_that_class(name):
    taxonomy = load_taxonomy(name)
    train = np.array([*range(taxonomy.num_classes), 255])
    np.testing.assert_array_equal(taxonomy.to_train(taxonomy.to_raw(train), "f"), train)
    assert len({tuple(color) for color in taxonomy.colors.tolist()}) == taxonomy.num_classes


@pytest.mark.parametrize(
    "source, target",
    [
        ("synlidar19", "semantickitti19"),
        ("synlidar13", "semanticposs13"),
        ("semantickitti7", "nuscenes7"),
    ],
)
def test_both_sides_of_a_task_have_the_same_classes_in_the_same_order(source, target):
    assert load_taxonomy(source).names == load_taxonomy(target).names


@pytest.mark.parametrize("name", ["semantickitti7", "semanticposs13", "nuscenes7"])
def test_targets_tell_annotators_what_a_class_is(name):
    taxonomy = load_taxonomy(name)
    assert list(taxonomy.guidance) == taxonomy.names


def test_all_maps_are_listed():
    assert set(taxonomy_names()) == {*TABLES, "semantickitti19"}


def test_raw_names_are_those_of_the_datasets():
    assert list(load_taxonomy("nuscenes7").labels.values()) == CATEGORIES
    assert load_taxonomy("synlidar13").labels[15] == "crowd"
    assert load_taxonomy("semanticposs13").labels[5] == "2+ person"


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["semantickitti7", "semantickitti19"])
def test_points_of_each_class_of_a_real_scan(kitti_root, kitti_table, name):
    path = kitti_root / "sequences/00/labels/000000.label"
    raw = np.fromfile(path, "<u4")
    owner = kitti_table
    if name == "semantickitti7":
        owner = {i: c for c, ids in table(SEMANTICKITTI_7).items() for i in ids}
    expected: dict[str, int] = {}
    ids, counts = np.unique(raw & 0xFFFF, return_counts=True)
    for raw_id, count in zip(ids.tolist(), counts.tolist(), strict=True):
        expected[owner[raw_id]] = expected.get(owner[raw_id], 0) + count
    taxonomy = load_taxonomy(name)
    found = np.bincount(taxonomy.to_train(raw, path), minlength=256)
    names = {i: c for i, c in enumerate(taxonomy.names)} | {255: "ignored"}
    assert {names[i]: n for i, n in enumerate(found.tolist()) if n} == expected
    assert expected["vehicle" if name == "semantickitti7" else "car"] > 1000
