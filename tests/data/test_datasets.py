"""A dataset finds its scans, reads them whole and says what is wrong with a folder or a config."""

from __future__ import annotations

import os
import pickle
import shutil

import numpy as np
import pytest

from annotator3d.data.datasets.sequences import (
    SEMANTICKITTI_TRAIN,
    SEMANTICKITTI_VAL,
    SemanticKITTI,
)
from annotator3d.registry import DATASETS, build, lookup


def test_scans_are_sorted_by_sequence_and_frame(make_kitti):
    dataset = SemanticKITTI(make_kitti(("03", "00"), scans=2), ["03", "00"])
    assert dataset.ids == ["00/000000", "00/000001", "03/000000", "03/000001"]
    assert len(dataset) == 4
    assert [dataset.index(scan_id) for scan_id in dataset.ids] == [0, 1, 2, 3]
    assert dataset.path(2).parts[-4:] == ("sequences", "03", "velodyne", "000000.bin")
    with pytest.raises(ValueError, match="no scan '07/000000' among the 4 scans"):
        dataset.index("07/000000")


def test_reading_keeps_every_point_and_every_label(make_kitti, kitti_order, kitti_table):
    root = make_kitti(points=50)
    scan = SemanticKITTI(root, ["00"]).read(1)
    data = np.fromfile(root / "sequences/00/velodyne/000001.bin", "<f4").reshape(-1, 4)
    raw = np.fromfile(root / "sequences/00/labels/000001.label", "<u4") & 0xFFFF
    np.testing.assert_array_equal(np.column_stack([scan.xyz, scan.intensity]), data)
    train = {"ignored": 255, **{name: i for i, name in enumerate(kitti_order)}}
    assert scan.labels.tolist() == [train[kitti_table[raw_id]] for raw_id in raw.tolist()]
    assert scan.raw_labels.tolist() == scan.labels.tolist()
    assert (scan.id, scan.num_raw, scan.rows.tolist()) == ("00/000001", 50, list(range(50)))


@pytest.mark.parametrize("column", [0, 1])
def test_point_that_is_not_finite_is_left_out_but_keeps_its_raw_label(make_kitti, column):
    root = make_kitti(points=5)
    path = root / "sequences/00/velodyne/000000.bin"
    data = np.fromfile(path, "<f4").reshape(-1, 4)
    data[2, column] = np.nan
    data.tofile(path)
    with pytest.warns(RuntimeWarning, match="1 of 5 points are not finite"):
        scan = SemanticKITTI(root, ["00"]).read(0)
    assert scan.rows.tolist() == [0, 1, 3, 4] and scan.num_dropped == 1
    assert len(scan.raw_labels) == scan.num_raw == 5
    np.testing.assert_array_equal(scan.labels, scan.raw_labels[scan.rows])


def test_stride_takes_every_nth_scan_of_each_sequence(make_kitti):
    dataset = SemanticKITTI(make_kitti(("00", "01"), scans=5), ["00", "01"], stride=3)
    assert dataset.ids == ["00/000000", "00/000003", "01/000000", "01/000003"]


def test_scans_can_be_chosen_by_list_or_file(make_kitti, tmp_path):
    root = make_kitti(("00", "01"))
    chosen = ["01/000000", "00/000002"]
    (tmp_path / "chosen.txt").write_text("# mine\n01/000000\n\n00/000002  # a corner\n")
    for scans in (chosen, tmp_path / "chosen.txt", str(tmp_path / "chosen.txt")):
        assert SemanticKITTI(root, ["00", "01"], scans=scans).ids == sorted(chosen)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"sequences": "00"}, "list of strings such as"),
        ({"sequences": [0]}, "list of strings such as"),
        ({"sequences": []}, "sequences must name at least one"),
        ({"sequences": ["00", "00"]}, "sequences names these more than once: 00"),
        ({"scans": ["00/000001", "00/000001"]}, "scans names these more than once: 00/000001"),
        ({"scans": ["00/00001"]}, "00/00001; did you mean '00/00000"),
        ({"scans": ["00/000001"], "stride": 2}, "names 1 scan that is not in"),
        ({"scans": []}, "names no scan"),
        ({"stride": 0}, "stride must be .*, got 0"),
        ({"labels": "maybe"}, "'required' or 'optional', got 'maybe'"),
        ({"taxonomy": "semantickiti19"}, "did you mean 'semantickitti19'"),
    ],
)
def test_wrong_settings_are_refused_in_words(make_kitti, settings, words):
    with pytest.raises(ValueError, match=words):
        SemanticKITTI(make_kitti(), **{"sequences": ["00"], **settings})


def test_folder_errors_say_what_is_missing_and_what_is_there(make_kitti, tmp_path):
    root = make_kitti(("00", "02"))
    with pytest.raises(FileNotFoundError, match="sequence '01' has no folder .* holds 00, 02"):
        SemanticKITTI(root, ["01"])
    with pytest.raises(FileNotFoundError, match="no folder 'sequences' .it holds 00, 02"):
        SemanticKITTI(root / "sequences", ["00"])
    with pytest.raises(FileNotFoundError, match="that folder does not exist"):
        SemanticKITTI(tmp_path / "absent", ["00"])
    velodyne = root / "sequences/02/velodyne"
    shutil.rmtree(velodyne)
    velodyne.mkdir()
    (velodyne / "000000.pcd").touch()
    with pytest.raises(FileNotFoundError, match=r"holds no \.bin files but 000000\.pcd"):
        SemanticKITTI(root, ["00", "02"])


def test_missing_labels_are_an_error_unless_they_are_optional(make_kitti):
    root = make_kitti(labels=False)
    with pytest.raises(FileNotFoundError, match=r"3 of 3 scans have no label file.*000000\.label"):
        SemanticKITTI(root, ["00"])
    optional = SemanticKITTI(root, ["00"], labels="optional")
    assert optional.read(0, labels=False).labels is None
    scan = SemanticKITTI(root, ["00"], labels="optional").read(0)
    assert scan.labels is None and scan.raw_labels is None and len(scan) == 200


def test_labels_of_another_scan_are_refused_with_both_files(make_kitti):
    root = make_kitti()
    np.zeros(199, "<u4").tofile(root / "sequences/00/labels/000002.label")
    with pytest.raises(ValueError, match=r"000002\.label has 199 .*000002\.bin has 200"):
        SemanticKITTI(root, ["00"]).read(2)


def test_fingerprint_follows_ids_and_sizes_without_reading(make_kitti):
    root = make_kitti()
    first = SemanticKITTI(root, ["00"]).fingerprint()
    path = root / "sequences/00/velodyne/000001.bin"
    os.utime(path, (1, 1))
    copy = shutil.copytree(root, root.parent / "copy")
    assert SemanticKITTI(copy, ["00"]).fingerprint() == first
    assert SemanticKITTI(root, ["00"], stride=2).fingerprint() != first
    np.zeros(4, "<f4").tofile(path)
    assert SemanticKITTI(root, ["00"]).fingerprint() != first


def test_loader_workers_get_the_same_dataset(make_kitti):
    dataset = SemanticKITTI(make_kitti(), ["00"])
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.ids == dataset.ids
    np.testing.assert_array_equal(copy.read(1).labels, dataset.read(1).labels)


def test_official_split_covers_the_labelled_sequences_once():
    assert sorted(SEMANTICKITTI_TRAIN + SEMANTICKITTI_VAL) == [f"{i:02d}" for i in range(11)]
    assert SEMANTICKITTI_VAL == ("08",)


def test_config_builds_a_dataset(make_kitti):
    config = {"type": "SemanticKITTI", "root": make_kitti(), "sequences": ["00"]}
    assert len(build(DATASETS, config, stride=2)) == 2
    assert len(build(DATASETS, {**config, "stride": 1}, stride=2)) == 3
    assert config["type"] == "SemanticKITTI"


@pytest.mark.parametrize(
    "config, words",
    [
        (
            {"type": "SemanticKitti"},
            "unknown dataset 'SemanticKitti': did you mean 'SemanticKITTI'",
        ),
        ({"type": "SemanticKITTI", "sequence": ["00"]}, "'sequence': did you mean 'sequences'"),
        (
            {"type": "SemanticKITTI", "root": "x"},
            "SemanticKITTI needs either sequences or split .train, val.",
        ),
        ({"root": "x"}, "needs the key 'type'"),
    ],
)
def test_typo_in_a_config_names_the_nearest(config, words):
    with pytest.raises(ValueError, match=words):
        build(DATASETS, config)


def test_lookup_gives_the_class():
    assert lookup(DATASETS, "SemanticKITTI") is SemanticKITTI


@pytest.mark.realdata
def test_real_scans_are_read_completely(kitti_root, kitti_order, kitti_table):
    sequences = sorted(p.name for p in (kitti_root / "sequences").iterdir())
    dataset = SemanticKITTI(kitti_root, sequences)
    assert len(dataset) == len(list(kitti_root.glob("sequences/*/velodyne/*.bin"))) > 0
    seen = np.zeros(256, dtype=np.int64)
    for i in range(len(dataset)):
        scan = dataset.read(i)
        assert scan.num_raw == dataset.path(i).stat().st_size // 16 > 50_000
        assert len(scan) == len(scan.labels) == len(scan.rows) == scan.num_raw - scan.num_dropped
        assert (
            np.abs(scan.xyz).max() < 150 and 0 <= scan.intensity.min() <= scan.intensity.max() <= 1
        )
        raw = np.fromfile(dataset.label_path(i), "<u4") & 0xFFFF
        counts = np.bincount(scan.raw_labels, minlength=256)
        for train, name in enumerate(kitti_order):
            members = [raw_id for raw_id, owner in kitti_table.items() if owner == name]
            assert counts[train] == np.isin(raw, members).sum()
        assert counts.sum() == scan.num_raw
        seen += counts
    present = {name for name, count in zip(kitti_order, seen, strict=False) if count}
    assert {"car", "road", "sidewalk", "building", "vegetation", "trunk", "pole"} <= present


def test_points_that_are_not_finite_are_counted_and_the_file_is_named(make_kitti):
    root = make_kitti(points=50)
    path = root / "sequences/00/velodyne/000001.bin"
    raw = np.fromfile(path, "<f4").reshape(-1, 4)
    raw[[3, 7], [0, 2]] = np.inf, np.nan
    raw.tofile(path)
    dataset = SemanticKITTI(root, ["00"])
    with pytest.warns(RuntimeWarning, match=r"000001\.bin: 2 of 50 points are not finite"):
        assert len(dataset.read(1)) == 48
