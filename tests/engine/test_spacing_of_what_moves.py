"""`active.spacing` holds for places that stay: what moves is asked about in each scan."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from tiny_runs import tiny_config

from annotator3d.engine.rounds.select_only import select_only
from annotator3d.engine.workdir import WorkDir

CAR, ROAD = 10, 40
STAYS = " ".join(map(str, np.eye(4)[:3].ravel()))


@pytest.fixture
def root(tmp_path):
    """Three scans of one place, from one place: a car at x = 2 and a piece of road at x = 12."""
    folder = tmp_path / "kitti/sequences/00"
    for name in ("velodyne", "labels"):
        (folder / name).mkdir(parents=True)
    xyz = np.repeat([[2.1, 0.1, 0.1], [12.1, 0.1, 0.1]], 3, axis=0)
    for frame in range(3):
        points = np.column_stack([xyz, np.zeros(6)]).astype("<f4")
        points.tofile(folder / f"velodyne/{frame:06d}.bin")
        np.repeat([CAR, ROAD], 3).astype("<u4").tofile(folder / f"labels/{frame:06d}.label")
    (folder / "poses.txt").write_text(f"{STAYS}\n" * 3)
    return tmp_path / "kitti"


def asked(root, tmp_path, taxonomy=None, predicted=True, rounds=1):
    """x of the cells that are asked about, scan by scan, and what the last round decided."""
    config = tiny_config(root, active={"spacing": 5.0, "queries_per_scan": 2, "voxel_size": 1.0})
    config.data.train = {"type": "SemanticKITTI", "root": str(root), "sequences": ["00"]}
    if taxonomy is not None:
        config.data.train["taxonomy"] = str(taxonomy)
    config.active.strategy = "vcd" if predicted else "random"
    folder = root / "sequences/00/labels"
    for path in folder.glob("*.label") if predicted else ():
        (tmp_path / "predicted/00").mkdir(parents=True, exist_ok=True)
        (tmp_path / "predicted/00" / path.name).write_bytes(path.read_bytes())
    work_dir = WorkDir(tmp_path / "run")
    for _ in range(rounds):
        select_only(
            config, work_dir, predictions=str(tmp_path / "predicted") if predicted else None
        )
    with work_dir.ledger() as ledger:
        found = sorted((query.scan[-1], query.cell[0]) for query in ledger.queries())
        return found, ledger.round_decision(rounds) or ""


def test_what_is_predicted_to_move_is_asked_about_in_each_scan(root, tmp_path):
    found, _ = asked(root, tmp_path)
    assert [place for place in found if place[1] == 2] == [(f"{k}", 2) for k in range(3)]
    assert sum(x == 12 for _, x in found) == 1


def test_without_a_prediction_all_voxels_keep_the_distance(root, tmp_path):
    found, _ = asked(root, tmp_path, predicted=False)
    assert sorted(x for _, x in found) == [2, 12]


def test_a_class_list_that_says_nothing_of_motion_is_told_so(root, tmp_path):
    classes = [{"name": "car", "ids": [CAR]}, {"name": "road", "ids": [ROAD]}]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"classes": classes}))
    found, decision = asked(root, tmp_path, path)
    assert sorted(x for _, x in found) == [2, 12]
    assert "the class list does not say which classes move" in decision


@pytest.mark.parametrize(("answer", "times"), [("car", 2), ("road", 1)])
def test_an_earlier_voxel_takes_no_place_once_it_is_answered_as_what_moves(
    root, tmp_path, answer, times
):
    found, _ = asked(root, tmp_path, predicted=False)
    assert sum(x == 2 for _, x in found) == 1
    with WorkDir(tmp_path / "run").ledger(write=True) as ledger:
        names = ledger.taxonomy_names
        for query in ledger.open_queries():
            label = names.index(answer if query.cell[0] == 2 else "road")
            ledger.answer(query.id, np.full(3, label, np.uint8), annotator="anna", seconds=1)
    found, _ = asked(root, tmp_path, predicted=False)
    assert sum(x == 2 for _, x in found) == times
    assert sum(x == 12 for _, x in found) == 1
