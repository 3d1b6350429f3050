"""What the network sees of a scan: voxels, features, targets of labelled points, batches."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator3d.data.batch import InputRule, TrainingScans, answer_labels, collate, make_sample
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.scan import IGNORE, Scan, VoxelLabels


def scan_of(xyz, intensity=None) -> Scan:
    xyz = np.asarray(xyz, np.float32).reshape(-1, 3)
    intensity = np.zeros(len(xyz)) if intensity is None else intensity
    return Scan.from_raw("00/000000", xyz, np.asarray(intensity, np.float32))


ONE_VOXEL = [[0.1, 0.1, 0.1], [0.2, 0.2, 0.2], [0.3, 0.3, 0.3], [0.4, 0.4, 0.4]]


@pytest.mark.parametrize(
    ("labels", "any_rule", "first_rule"),
    [
        ([3, 5, 5, 3], 3, 3),  # a tie: the lowest class
        ([3, 5, 5, 255], 5, 3),
        ([255, 5, 255, 255], 5, 255),  # one labelled point is enough, if not the first
        ([255, 255, 255, 255], 255, 255),
    ],
)
def test_target_rules_by_hand(labels, any_rule, first_rule):
    for rule, expected in (("any", any_rule), ("first", first_rule)):
        sample = make_sample(
            scan_of(ONE_VOXEL), InputRule(9, 0.5, target=rule), np.array(labels, np.uint8)
        )
        assert sample["target"].tolist() == [expected]


def test_features_are_those_of_the_first_point_or_the_mean():
    scan = scan_of(ONE_VOXEL, [1.0, 0.0, 0.0, 0.0])
    first = make_sample(scan, InputRule(9, 0.5))["features"]
    mean = make_sample(scan, InputRule(9, 0.5, features="mean"))["features"]
    torch.testing.assert_close(first, torch.tensor([[0.1, 0.1, 0.1, 1.0]]))
    torch.testing.assert_close(mean, torch.tensor([[0.25, 0.25, 0.25, 0.25]]))


def test_unknown_rules_are_refused():
    with pytest.raises(ValueError, match="target: expected one of any, first, got 'last'"):
        InputRule(9, target="last")
    with pytest.raises(ValueError, match="features: expected one of first, mean"):
        InputRule(9, features="max")


points = st.lists(
    st.tuples(*[st.integers(-20, 20)] * 3, st.sampled_from([0, 1, 2, 255])), max_size=40
)


@settings(deadline=None)
@given(points)
def test_targets_equal_a_count_by_dictionary(rows):
    xyz = np.array([[x / 4, y / 4, z / 4] for x, y, z, _ in rows]).reshape(-1, 3)
    labels = np.array([label for *_, label in rows], np.uint8)
    sample = make_sample(scan_of(xyz), InputRule(3, 1.0), labels)
    votes: dict[tuple, Counter] = {}
    for x, y, z, label in rows:
        votes.setdefault((x // 4, y // 4, z // 4), Counter())[label] += 1
    assert len(sample["cells"]) == len(votes)
    for cell, target in zip(sample["cells"].tolist(), sample["target"].tolist(), strict=True):
        counts = votes[tuple(cell)]
        del counts[255]
        best = max(counts.values(), default=0)
        assert target == min((c for c, n in counts.items() if n == best > 0), default=255)


def test_answers_land_on_the_points_of_their_voxel_in_file_order():
    xyz = [[0.1, 0, 0], [-0.1, 0, 0], [0.2, 0.1, 0], [0.3, 0, 0]]
    answer = VoxelLabels((0, 0, 0), np.array([4, 255], np.uint8), 1)
    labels = answer_labels(scan_of(xyz), [answer], 0.25)
    assert labels.tolist() == [4, IGNORE, IGNORE, IGNORE]
    with pytest.raises(ValueError, match="holds 1 labels but the voxel has 2 points"):
        answer_labels(scan_of(xyz), [answer._replace(labels=answer.labels[:1])], 0.25)


def test_a_batch_keeps_scans_apart_and_points_with_their_voxels():
    scans = [scan_of(ONE_VOXEL), scan_of(np.zeros((0, 3))), scan_of([[0, 0, 0], [9, 9, 9]])]
    batch = collate([make_sample(s, InputRule(9, 0.5)) for s in scans])
    assert batch["splits"].tolist() == [0, 1, 1, 3]
    assert batch["num_points"].tolist() == [4, 0, 2]
    assert batch["point_to_voxel"].tolist() == [0, 0, 0, 0, 1, 2]


def test_a_sample_is_a_function_of_seed_epoch_and_scan(make_kitti):
    base = SemanticKITTI(make_kitti(scans=2), ["00"])

    def sample(seed, epoch, index):
        scans = TrainingScans(base, InputRule(19, 1.0), seed)
        scans.epoch = epoch
        return scans[index]["features"]

    assert torch.equal(sample(1, 2, 0), sample(1, 2, 0))
    assert not torch.equal(sample(1, 2, 0), sample(1, 3, 0))
    assert not torch.equal(sample(1, 2, 0), sample(2, 2, 0))


def test_only_answered_voxels_are_supervised(make_kitti):
    base = SemanticKITTI(make_kitti(scans=1), ["00"])
    scan = base.read(0)
    cells = np.floor(scan.xyz / np.float32(4.0)).astype(int)
    inside = (cells == cells[0]).all(1)
    answer = VoxelLabels(tuple(cells[0]), np.full(inside.sum(), 7, np.uint8), 1)
    rule = InputRule(19, 0.01)  # every point has a voxel of its own
    scans = TrainingScans(base, rule, 0, query_size=4.0, answers={"00/000000": [answer]})
    target = scans[0]["target"]
    assert (target == 7).sum() == inside.sum() and (target != 255).sum() == inside.sum()
    everything = TrainingScans(base, rule, 0)[0]["target"]
    assert (everything != 255).sum() == (scan.labels != 255).sum()
