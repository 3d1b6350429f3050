"""Class means of voxels, and what scans of one place in the world say together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator3d.active.class_means import MeansOfScans, means_of_voxels, store_means
from annotator3d.data.scan_source import Pose

SIZE, CLASSES = 0.5, 4


def scan(seed: int, points: int = 60):
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(-1.5, 1.5, (points, 3)).astype(np.float32)
    return xyz, torch.from_numpy(rng.normal(0, 3, (points, CLASSES)).astype(np.float32))


def by_hand(xyz, logits):
    """Cell -> mean probabilities, to one step of 1 / 255."""
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    cells = [tuple(c) for c in np.floor(xyz / np.float32(SIZE)).astype(int).tolist()]
    return {c: p[[i for i, d in enumerate(cells) if d == c]].mean(0) for c in set(cells)}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_means_are_those_of_the_points(seed, by_rows):
    xyz, logits = scan(seed)
    rows = torch.randint(0, 5, (len(xyz),), generator=torch.Generator().manual_seed(seed))
    cells, means = means_of_voxels(
        xyz, SIZE, logits[:5] if by_rows else logits, rows if by_rows else None
    )
    wanted = by_hand(xyz, logits[:5][rows] if by_rows else logits)
    assert {tuple(c) for c in cells.tolist()} == wanted.keys()
    for cell, mean in zip(cells.tolist(), means, strict=True):
        assert np.abs(mean / 255 - wanted[tuple(cell)]).max() <= 0.5 / 255 + 1e-5


def test_classes_have_no_means():
    with pytest.raises(ValueError, match="logits"):
        means_of_voxels(scan(0)[0], SIZE, torch.zeros(60, dtype=torch.uint8), None)


@pytest.fixture
def stored(tmp_path):
    """Three scans of round 2; the second one is a metre further, the third of another drive."""
    means = MeansOfScans(tmp_path, SIZE)
    scans = {}
    for number, name in enumerate(("00/000000", "00/000001", "01/000000")):
        scans[name] = scan(number)
        store_means(
            means.file(2, name), *means_of_voxels(scans[name][0], SIZE, scans[name][1], None)
        )
    ahead = np.eye(4)
    ahead[0, 3] = 1.0
    poses = {
        "00/000000": Pose("00", np.eye(4)),
        "00/000001": Pose("00", ahead),
        "01/000000": Pose("01", np.eye(4)),
    }
    return means, scans, poses


def entropy(p):
    p = p[p > 0]
    return -(p * np.log2(p)).sum()


def test_scans_of_one_place_are_averaged_and_others_are_not(stored):
    means, scans, poses = stored
    here, there = (by_hand(*scans[name]) for name in ("00/000000", "00/000001"))
    cells = np.array(sorted(here), np.int32)
    found = means.agreement(2, "00/000000", list(scans)[1:], cells, poses.get)
    both = 0
    for i, cell in enumerate(sorted(here)):
        other = there.get((cell[0] - 2, *cell[1:]))  # a metre is two cells
        seen = [here[cell]] if other is None else [here[cell], other]
        both += len(seen) == 2
        assert found.scans[i] == len(seen)
        assert np.abs(found.means[i] - np.mean(seen, axis=0)).max() < 0.01
        assert abs(found.entropy[i] - np.mean([entropy(p) for p in seen])) < 0.08
    assert 0 < both < len(cells)


def test_a_scan_without_a_pose_agrees_with_itself(stored):
    means, scans, poses = stored
    cells = np.array(sorted(by_hand(*scans["00/000000"])), np.int32)
    found = means.agreement(2, "00/000000", ["00/000001"], cells, lambda scan: None)
    assert (found.scans == 1).all()


def test_the_round_before_is_found_by_cell_and_may_be_missing(stored):
    means, scans, _ = stored
    wanted = by_hand(*scans["00/000001"])
    cells = np.array(sorted(wanted), np.int32)[::-1].copy()
    found = means.of_round(2, "00/000001", cells)
    assert np.abs(found - [wanted[tuple(c)] for c in cells.tolist()]).max() < 0.01
    assert means.of_round(1, "00/000001", cells) is None
    with pytest.raises(ValueError, match="another scan"):
        means.of_round(2, "00/000001", cells + 100)
