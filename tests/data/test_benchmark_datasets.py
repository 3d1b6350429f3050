"""SemanticKITTI, SemanticPOSS, SynLiDAR: own layouts, official splits, one scale of intensity."""

from __future__ import annotations

import builtins
import hashlib
import os
import tracemalloc
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from benchmark_layouts import (
    SYNLIDAR_IDS,
    write_semantickitti,
    write_semanticposs,
    write_sequences,
    write_synlidar,
)

from annotator3d.data.datasets import listing
from annotator3d.data.datasets.sequences import SemanticKITTI, SemanticPOSS
from annotator3d.data.datasets.synlidar import SynLiDAR
from annotator3d.registry import DATASETS, build

ALL_13 = [f"{i:02d}" for i in range(13)]


@pytest.mark.parametrize(
    "cls, write, split, sequences",
    [
        (SemanticKITTI, write_semantickitti, "train", "00 01 02 03 04 05 06 07 09 10"),
        (SemanticKITTI, write_semantickitti, "val", "08"),
        (SemanticPOSS, write_semanticposs, "train", "00 01 02 04 05"),
        (SemanticPOSS, write_semanticposs, "val", "03"),
    ],
)
def test_splits_of_the_benchmarks(tmp_path, cls, write, split, sequences):
    dataset = cls(write(tmp_path, scans=2), split=split)
    names = sequences.split()
    assert dataset.ids == [f"{name}/{frame}" for name in names for frame in ("000000", "000001")]
    assert dataset.drawn == ""


@pytest.mark.parametrize(
    "cls, write, classes",
    [(SemanticKITTI, write_semantickitti, 19), (SemanticPOSS, write_semanticposs, 13)],
)
def test_each_class_of_the_own_map_is_read(tmp_path, cls, write, classes):
    dataset = cls(write(tmp_path), split="val")
    assert dataset.taxonomy.num_classes == classes
    scan = dataset.read(0)
    assert np.unique(scan.labels).tolist() == [*range(classes), 255]
    assert scan.num_raw == 70


def test_another_map_of_the_same_data_is_chosen_by_name(tmp_path):
    dataset = SemanticKITTI(write_semantickitti(tmp_path), split="val", taxonomy="semantickitti7")
    assert np.unique(dataset.read(0).labels).tolist() == [*range(7), 255]


def test_intensities_of_semanticposs_are_at_most_one_unless_raw(tmp_path):
    root = write_semanticposs(tmp_path)
    stored = np.fromfile(root / "sequences/03/velodyne/000000.bin", "<f4").reshape(-1, 4)
    assert stored[:, 3].max() > 200
    unit = SemanticPOSS(root, split="val").read(0)
    raw = SemanticPOSS(root, split="val", intensity="raw").read(0)
    np.testing.assert_array_equal(raw.intensity, stored[:, 3])
    np.testing.assert_allclose(unit.intensity, stored[:, 3] / 255, rtol=1e-6)
    np.testing.assert_array_equal(unit.xyz, stored[:, :3])


def test_intensities_on_an_unexpected_scale_are_said_once_and_raw_is_silent(tmp_path):
    root = tmp_path / "a"
    write_sequences(root / "sequences", [10, 40], ["08"], scans=2, brightest=255.0)
    dataset = SemanticKITTI(root, ["08"])
    with warnings.catch_warnings(record=True) as caught:
        dataset.read(0), dataset.read(1)
    words = [str(w.message) for w in caught]
    assert len(words) == 1 and "SemanticKITTI in" in words[0] and "0 to 1" in words[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SemanticKITTI(root, ["08"], intensity="raw").read(0)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({}, "needs either sequences or split .train, val."),
        ({"split": "train", "sequences": ["00"]}, "needs either sequences or split"),
        ({"split": "test"}, "split must be 'train' or 'val', got 'test'"),
        ({"split": "val", "intensity": "255"}, "intensity must be 'unit' or 'raw', got '255'"),
    ],
)
def test_wrong_settings_are_named(tmp_path, settings, words):
    with pytest.raises(ValueError, match=words):
        SemanticPOSS(write_semanticposs(tmp_path), **settings)


def test_raw_id_of_no_map_names_file_id_and_count(tmp_path):
    root = write_semanticposs(tmp_path)
    path = root / "sequences/03/labels/000000.label"
    raw = np.fromfile(path, "<u4")
    raw[:3] = 23
    raw.tofile(path)
    with pytest.raises(
        ValueError, match=r"000000\.label holds .*'semanticposs13'.*23 \(3 points\)"
    ):
        SemanticPOSS(root, split="val").read(0)


@pytest.mark.parametrize("below", ["", "sequences"])
def test_synlidar_is_read_as_distributed_and_as_often_moved(tmp_path, below):
    write_synlidar(tmp_path / below) if below else write_synlidar(tmp_path)
    dataset = SynLiDAR(tmp_path, split=None)
    assert dataset.ids == [f"{name}/000000" for name in ALL_13]
    assert np.unique(dataset.read(0).labels).tolist() == [*range(19), 255]
    assert dataset.path(0) == tmp_path / below / "00/velodyne/000000.bin"


def test_synlidar_folder_errors_say_what_is_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="sequence '00' has no folder .* holds readme"):
        (tmp_path / "readme").touch()
        SynLiDAR(tmp_path)
    with pytest.raises(FileNotFoundError, match="that folder does not exist"):
        SynLiDAR(tmp_path / "absent")


def test_synlidar_split_is_nine_to_one_in_each_sequence_and_complete(tmp_path):
    root = write_synlidar(tmp_path, scans=25)
    train, val, both = (SynLiDAR(root, split=s) for s in ("train", "val", None))
    assert sorted(train.ids + val.ids) == both.ids and not set(train.ids) & set(val.ids)
    for name in ALL_13:
        assert sum(scan.startswith(name) for scan in val.ids) == 2
        assert sum(scan.startswith(name) for scan in train.ids) == 23
    frames = {scan.split("/")[1] for scan in val.ids}
    assert len(frames) > 8  # not the same frames in every sequence


def test_synlidar_split_follows_the_words_on_record(tmp_path):
    root = write_synlidar(tmp_path, scans=25)

    def first(seed: int) -> list[str]:
        frames = [f"{i:06d}" for i in range(25)]
        key = {
            f: hashlib.blake2b(f"{seed}/04/{f}".encode(), digest_size=16).hexdigest()
            for f in frames
        }
        return sorted(sorted(frames, key=key.get)[:5])

    for seed in (0, 7):
        val = SynLiDAR(root, ["04"], split="val", split_seed=seed, val_share=0.2)
        assert val.ids == [f"04/{f}" for f in first(seed)]
    assert first(0) != first(7)
    assert "split=val split_seed=7 val_share=0.2" in val.drawn


class Listing:
    """What `os.scandir` gives for these names, in this order."""

    def __init__(self, names):
        self.names = names

    def __enter__(self):
        return (SimpleNamespace(name=name) for name in self.names)

    def __exit__(self, *error):
        return None


def test_synlidar_split_does_not_depend_on_the_order_of_the_listing(tmp_path, monkeypatch):
    root = write_synlidar(tmp_path, scans=12)
    expected, listdir = SynLiDAR(root).ids, os.listdir
    monkeypatch.setattr(os, "scandir", lambda path: Listing(sorted(listdir(path))[::-1]))
    assert SynLiDAR(root).ids == expected


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"split": "test"}, "split must be 'train', 'val' or none, got 'test'"),
        ({"val_share": 1.0}, "val_share must be between 0 and 1"),
        ({"split": "val"}, "what was chosen of this dataset holds no scan"),
    ],
)
def test_synlidar_settings_that_cannot_be_are_refused(tmp_path, settings, words):
    with pytest.raises(ValueError, match=words):
        SynLiDAR(write_synlidar(tmp_path, scans=3), **settings)


def test_recorded_scans_draw_the_same_split_again(tmp_path):
    root = write_synlidar(tmp_path / "data", scans=12)
    drawn = SynLiDAR(root, split_seed=3)
    kept = tmp_path / "source_scans.txt"
    kept.write_text("\n".join([f"# {drawn.drawn}", *drawn.ids]))
    config = {"type": "SynLiDAR", "root": root, "split": None, "scans": kept}
    again = build(DATASETS, config)
    assert again.ids == drawn.ids and again.drawn == ""


@pytest.mark.parametrize("cls", [SemanticKITTI, SemanticPOSS, SynLiDAR])
def test_opening_and_naming_a_dataset_opens_no_scan(tmp_path, monkeypatch, cls):
    ids = SYNLIDAR_IDS[:2] if cls is SynLiDAR else [0]
    write_sequences(tmp_path / "sequences", ids, ["00", "01"], scans=3)
    before = cls(tmp_path, ["00", "01"]).taxonomy  # reading its YAML is no concern here
    real = builtins.open

    def guarded(file, *args, **kwargs):
        assert not str(file).endswith((".bin", ".label")), f"{file} was opened"
        return real(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", guarded)
    monkeypatch.setattr(np, "fromfile", lambda path, *_: pytest.fail(f"{path} was read"))
    dataset = cls(tmp_path, ["00", "01"])
    assert dataset.fingerprint() and dataset.taxonomy.names == before.names


def test_index_of_20000_scans_is_small(tmp_path, monkeypatch):
    folder = tmp_path / "sequences" / "08"
    for name in ("velodyne", "labels"):
        (folder / name).mkdir(parents=True)
    names = [f"{frame:06d}" for frame in range(20_000)]
    listed = SimpleNamespace(
        PathLike=os.PathLike,
        scandir=lambda path: Listing(f"{n}.bin" for n in names),
        listdir=lambda path: [f"{n}.label" for n in names],
    )
    monkeypatch.setattr(listing, "os", listed)
    SemanticKITTI(tmp_path, ["08"], stride=10_000)  # imports and the class map are no part of it
    tracemalloc.start()
    dataset = SemanticKITTI(tmp_path, ["08"])
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(dataset) == 20_000
    assert peak < 50e6 and held < 10e6
