"""nuScenes-lidarseg is found through its tables, by the official scene lists."""

from __future__ import annotations

import json

import numpy as np
import pytest
from benchmark_layouts import write_nuscenes

from annotator3d.data.datasets import nuscenes_tables
from annotator3d.data.datasets.nuscenes import NuScenes
from annotator3d.data.datasets.nuscenes_tables import rows, scenes_of

TRAIN, VAL = scenes_of("train"), scenes_of("val")


@pytest.fixture
def root(tmp_path):
    """Two recorded scenes of each split; of the others the tables know no sample."""
    names = [*TRAIN[:2], *VAL[:2], *TRAIN[2:], *VAL[2:]]
    return write_nuscenes(tmp_path, names, samples=2)


def edit(root, table, change, version="v1.0-trainval"):
    path = root / version / f"{table}.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content)))
    return path


def test_official_lists_are_complete_and_disjoint():
    lists = {name: scenes_of(name) for name in ("train", "val", "test")}
    assert {name: len(scenes) for name, scenes in lists.items()} == {
        "train": 700,
        "val": 150,
        "test": 150,
    }
    assert len({scene for scenes in lists.values() for scene in scenes}) == 1000
    # A few that are typed from the published lists, at ends and gaps of the ranges.
    for name, inside, outside in (
        ("train", "0001 0002 0004 0386 0388 0945 0947 1110", "0003 0387 0946 1103"),
        ("val", "0003 0012 0221 0524 0552 0775 0966 1073", "0037 0772 0918 0970"),
        ("test", "0077 0091 0140 0606 0827 1043", "0141 0605 0832 0934"),
    ):
        numbers = {scene[6:] for scene in lists[name]}
        assert set(inside.split()) <= numbers and not set(outside.split()) & numbers
    mini = "0061 0553 0655 0757 0796 1077 1094 1100"
    assert scenes_of("mini_train") == [f"scene-{n}" for n in mini.split()]
    assert scenes_of("mini_val") == ["scene-0103", "scene-0916"]


def test_key_frames_of_the_lidar_are_sorted_by_scene_and_time(root):
    dataset = NuScenes(root, "train")
    times = ("1500000000000000", "1500000000000001")
    assert dataset.ids == [f"{scene}/{time}" for scene in TRAIN[:2] for time in times]
    assert NuScenes(root, "val").ids == [f"{scene}/{time}" for scene in VAL[:2] for time in times]
    assert dataset.path(1).name == f"{TRAIN[0]}__LIDAR_TOP__{times[1]}.pcd.bin"
    assert NuScenes(root, "train", stride=2).ids == dataset.ids[::2]

    def demoted(content):
        for row in content:
            row["is_key_frame"] &= times[1] not in row["filename"]
        return content

    edit(root, "sample_data", demoted)
    assert NuScenes(root, "train").ids == dataset.ids[::2]
    assert NuScenes(root, "train", scans=dataset.ids[2:3]).ids == dataset.ids[2:3]


def test_reading_keeps_every_point_and_every_label(root):
    dataset = NuScenes(root, "val")
    stored = np.fromfile(dataset.path(0), "<f4").reshape(-1, 5)
    assert stored[:, 3].max() > 200
    scan = dataset.read(0)
    np.testing.assert_array_equal(scan.xyz, stored[:, :3])
    np.testing.assert_allclose(scan.intensity, stored[:, 3] / 255, rtol=1e-6)
    raw = NuScenes(root, "val", intensity="raw").read(0)
    np.testing.assert_array_equal(raw.intensity, stored[:, 3])
    ids = np.fromfile(dataset.label_path(0), np.uint8)
    assert (ids == 24).any() and (scan.labels[ids == 24] == 2).all()  # driveable surface: road
    assert np.unique(scan.labels).tolist() == [*range(7), 255]


def test_mini_has_lists_of_its_own(tmp_path):
    names = [*scenes_of("mini_train"), *scenes_of("mini_val")]
    write_nuscenes(tmp_path, names, version="v1.0-mini", recorded=10)
    train, val = (NuScenes(tmp_path, split, version="v1.0-mini") for split in ("train", "val"))
    assert [scan.split("/")[0] for scan in train.ids] == sorted(scenes_of("mini_train"))
    assert [scan.split("/")[0] for scan in val.ids] == ["scene-0103", "scene-0916"]
    assert len(train.read(0)) == 70
    with pytest.raises(FileNotFoundError, match="no folder 'v1.0-trainval' .it holds lidarseg"):
        NuScenes(tmp_path, "train")


def test_labels_of_another_scan_are_refused_with_both_files(root):
    dataset = NuScenes(root, "val")
    np.zeros(69, np.uint8).tofile(dataset.label_path(1))
    with pytest.raises(ValueError, match=r"_lidarseg\.bin has 69 labels, but .*\.pcd\.bin has 70"):
        dataset.read(1)


def test_raw_id_of_no_map_names_file_id_and_count(root):
    dataset = NuScenes(root, "val")
    np.full(70, 32, np.uint8).tofile(dataset.label_path(0))
    with pytest.raises(ValueError, match=r"_lidarseg\.bin holds .*'nuscenes7'.*32 \(70 points\)"):
        dataset.read(0)


def test_nuscenes_without_lidarseg_is_enough_where_nobody_needs_labels(root):
    (root / "v1.0-trainval/lidarseg.json").unlink()
    with pytest.raises(FileNotFoundError, match="unpack nuScenes-lidarseg over nuScenes"):
        NuScenes(root, "train")
    for file in (root / "lidarseg/v1.0-trainval").iterdir():
        file.unlink()
    scan = NuScenes(root, "train", labels="optional").read(0)
    assert scan.labels is None and len(scan) == 70


def test_label_ids_that_mean_something_else_are_refused(root):
    def swapped(content):
        for row in content:
            row["index"] = {26: 27, 27: 26}.get(row["index"], row["index"])
        return content

    edit(root, "category", swapped)
    with pytest.raises(ValueError, match="id 26 to 'flat.terrain', the class map 'nuscenes7' to"):
        NuScenes(root, "train")
    edit(root, "category", lambda content: [{k: r[k] for k in ("token", "name")} for r in content])
    with pytest.raises(ValueError, match="category.json must be that of nuScenes-lidarseg"):
        NuScenes(root, "train")


def test_parts_of_the_archive_that_are_missing_are_named(root):
    path = NuScenes(root, "train").path(2)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"1 of 4 scans are not there.*{path.name}"):
        NuScenes(root, "train")


def test_a_part_of_a_split_is_said_and_none_of_it_is_refused(root):
    edit(root, "scene", lambda content: [row for row in content if row["name"] in TRAIN[:2]])
    with pytest.warns(RuntimeWarning, match="names only 2 of the 700 scenes"):
        assert len(NuScenes(root, "train")) == 4
    with pytest.raises(ValueError, match="names none of the 150 scenes of 'val'"):
        NuScenes(root, "val")


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"split": "trian"}, "split of v1.0-trainval must be 'train' or 'val', .* mean 'train'"),
        ({"split": "train", "version": "v1.0"}, "version must be .*, got 'v1.0'"),
        ({"split": "test"}, "split of v1.0-trainval must be"),
    ],
)
def test_wrong_settings_are_named(root, settings, words):
    with pytest.raises(ValueError, match=words):
        NuScenes(root, **settings)


def test_tables_are_searched_and_what_is_damaged_is_named(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('[\n{"a": 1, "file": "x/LIDAR"},{\n"a": 2,\n"file": "x/CAM"},\n{"a": 3}\n]')
    assert list(rows(path, "a")) == [[1], [2], [3]]
    assert list(rows(path, "a", having=b"x/CAM")) == [[2]]
    with pytest.raises(ValueError, match="t.json: a row has no field 'file', only a"):
        list(rows(path, "file"))
    path.write_text('[{"a": 1}, {"a": ')
    with pytest.raises(ValueError, match="t.json is damaged at byte 11"):
        list(rows(path, "a"))
    path.write_text("")
    with pytest.raises(ValueError, match="t.json is empty"):
        list(rows(path, "a"))
    with pytest.raises(FileNotFoundError, match="no table .*u.json"):
        list(rows(tmp_path / "u.json", "a"))


def test_rows_of_other_sensors_are_not_parsed(root, monkeypatch):
    parsed = []

    def parse(text):
        parsed.append(text)
        return json.loads(text)

    monkeypatch.setattr(nuscenes_tables, "parse_json", parse)
    NuScenes(root, "train")
    assert not any(b"CAM_FRONT" in text or b"sweeps" in text for text in parsed)
    assert sum(b"samples/LIDAR_TOP" in text for text in parsed) == 8


@pytest.mark.realdata
def test_a_real_key_frame(kitti_root, tmp_path):
    found = sorted((kitti_root.parent / "nuscenes_raw").glob("*LIDAR_TOP*.pcd.bin"))
    if not found:
        pytest.skip("no real nuScenes scan beside the SemanticKITTI ones")
    write_nuscenes(tmp_path, scenes_of("mini_val"), "v1.0-mini", recorded=1)
    dataset = NuScenes(tmp_path, "val", version="v1.0-mini", labels="optional")
    dataset.path(0).write_bytes(found[0].read_bytes())
    scan = dataset.read(0, labels=False)
    assert len(scan) == found[0].stat().st_size // 20 > 30_000
    assert 0 <= scan.intensity.min() < scan.intensity.max() <= 1
    assert np.abs(scan.xyz).max() < 120 and np.median(np.abs(scan.xyz[:, :2])) > 1
