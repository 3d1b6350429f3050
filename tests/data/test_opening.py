"""A folder is opened as the data set that knows it, also as one whose file was just dropped in."""

from __future__ import annotations

import json
import sys

import pytest

from annotator3d.cli.main import main
from annotator3d.data import datasets
from annotator3d.data.checking.opening import open_folder
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.registry import DATASETS

DROPPED = '''
from annotator3d.data.datasets.sequences import SequenceDataset
from annotator3d.registry import DATASETS


@DATASETS.register_module()
class Dropped(SequenceDataset):
    """Sequences below ``drives``."""

    FOLDERS = ("drives",)
    KNOWN_BY = "drives"

    @classmethod
    def matches(cls, root):
        return (root / "drives").is_dir()

    @classmethod
    def open_parts(cls, root, taxonomy):
        names = sorted(p.name for p in (root / "drives").iterdir())
        return [cls(root, names, taxonomy, labels="optional")]
'''


@pytest.fixture
def drop(tmp_path, monkeypatch):
    """Puts a file into the folder of the data sets, for one test."""
    folder = tmp_path / "dropped"
    folder.mkdir()
    monkeypatch.setattr(datasets, "__path__", [*datasets.__path__, str(folder)])
    before = dict(DATASETS.module_dict)
    names = []

    def write(name: str, text: str) -> None:
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
        names.append(f"{datasets.__name__}.{name}")

    yield write
    DATASETS.module_dict.clear()
    DATASETS.module_dict.update(before)
    for name in names:
        sys.modules.pop(name, None)


def test_a_dropped_data_set_is_checked(make_kitti, drop, capsys):
    root = make_kitti(("00", "01"), scans=2)
    (root / "sequences").rename(root / "drives")
    with pytest.raises(FileNotFoundError, match="which is not a known data set; expected one of"):
        open_folder(root, None)
    drop("dropped_set", DROPPED)
    (opened,) = open_folder(root, None)
    assert type(opened).__name__ == "Dropped" and len(opened) == 4
    main(["check", str(root), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["scans"] == 4


def test_a_specific_data_set_comes_before_a_common_layout(make_kitti, drop):
    root = make_kitti()
    drop("dropped_set", DROPPED.replace('"drives"', '"sequences"'))
    (opened,) = open_folder(root, None)
    assert type(opened).__name__ == "Dropped"


def test_two_data_sets_that_know_a_folder_are_named(make_kitti, drop):
    root = make_kitti()
    drop("dropped_set", DROPPED.replace('"drives"', '"sequences"'))
    again = DROPPED.replace('"drives"', '"sequences"').replace("class Dropped", "class Another")
    drop("another_set", again)
    with pytest.raises(ValueError, match="may be any of (Another, Dropped|Dropped, Another); name"):
        open_folder(root, None)


def test_what_a_data_set_inherits_does_not_make_a_folder_its_own(make_kitti, drop):
    drop(
        "heir",
        "from annotator3d.data.datasets.sequences import SemanticKITTI\n"
        "from annotator3d.registry import DATASETS\n\n\n"
        "@DATASETS.register_module()\nclass Heir(SemanticKITTI):\n    pass\n",
    )
    (opened,) = open_folder(make_kitti(), None)
    assert type(opened) is SemanticKITTI
