"""The query strategies through the door: numpy and tensors alike, and refusals that say why."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import annotator3d as a3d

CLASSES = 4
STRATEGIES = [a3d.VoxelConfusion, a3d.VoxelEntropy, a3d.VoxelMargin, a3d.RandomSampling]


@pytest.fixture
def scene():
    random = np.random.default_rng(0)
    xyz = random.uniform(-3, 3, (400, 3)).astype(np.float32)
    return xyz, random.normal(0, 2, (400, CLASSES)).astype(np.float32)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_arrays_and_tensors_give_the_same_picks(strategy, scene):
    xyz, logits = scene
    best = strategy(voxel_size=1.0).query(xyz, logits, batch_size=2)
    known = [pick.cell for pick in best]
    given = [
        (xyz, logits, known),
        (torch.tensor(xyz), torch.tensor(logits), torch.tensor(known)),
        (xyz, torch.tensor(logits), np.array(known)),
    ]
    found = [
        strategy(voxel_size=1.0).query(
            points, prediction, batch_size=6, exclude=cells, return_utilities=True
        )
        for points, prediction, cells in given
    ]
    picks, utilities = found[0]
    assert len(picks) == 6 and not {pick.cell for pick in picks} & set(known)
    assert utilities.shape == (400,) and utilities.dtype == np.float32
    for others, again in found[1:]:
        assert others == picks and np.array_equal(again, utilities)
    for pick in picks:
        assert isinstance(pick, a3d.VoxelPick) and isinstance(pick.point_indices, np.ndarray)
        inside = np.flatnonzero((np.floor(xyz) == pick.cell).all(1))
        assert pick.point_indices.tolist() == inside.tolist() and pick.num_points == len(inside)
        assert utilities[pick.point_indices] == pytest.approx(pick.utility, abs=1e-6)


def test_one_pick_is_the_default_and_the_random_state_breaks_ties(scene):
    xyz, logits = scene
    (pick,) = a3d.VoxelConfusion().query(xyz, logits)
    assert pick in a3d.VoxelConfusion().query(xyz, logits, batch_size=3)
    first = [a3d.RandomSampling().query(xyz, random_state=seed)[0].cell for seed in range(20)]
    assert len(set(first)) > 10
    assert a3d.RandomSampling().query(xyz, random_state=3)[0].cell == first[3]


def test_the_limits_of_a_strategy_are_its_arguments(scene):
    xyz, logits = scene
    near = a3d.VoxelEntropy(voxel_size=1.0, max_range=2.0, min_points=3)
    picks = near.query(xyz, logits, batch_size=500)
    assert picks and all(pick.num_points >= 3 for pick in picks)
    assert all(np.hypot(pick.cell[0] + 0.5, pick.cell[1] + 0.5) <= 2 for pick in picks)


def test_the_mean_of_a_voxel_differs_from_its_maximum():
    xyz = np.zeros((2, 3), np.float32)
    logits = np.array([[0.0, 0], [90.0, 0]], np.float32)  # undecided, certain
    values = {
        (kind, reduce): kind(reduce=reduce).query(xyz, logits)[0].utility
        for kind in (a3d.VoxelEntropy, a3d.VoxelMargin)
        for reduce in ("max", "mean")
    }
    assert list(values.values()) == pytest.approx([1, 0.5, -1, -0.5], abs=1e-6)


def test_class_ids_and_scores_of_points_are_predictions_too(scene):
    xyz, logits = scene
    classes = logits.argmax(1).astype(np.uint8)
    by_class = a3d.VoxelConfusion(voxel_size=1.0).query(xyz, classes, batch_size=3)
    assert by_class == a3d.VoxelConfusion(voxel_size=1.0).query(xyz, logits, batch_size=3)
    for dtype in (np.uint16, np.uint32):  # as .label files have them
        wide = classes.astype(dtype)
        assert a3d.VoxelConfusion(voxel_size=1.0).query(xyz, wide, batch_size=3) == by_class
    doubt = np.arange(400, dtype=np.float32)
    (pick,) = a3d.VoxelEntropy(voxel_size=1.0).query(xyz, doubt)
    assert 399 in pick.point_indices and pick.utility == 399


def test_a_strategy_of_ones_own_writes_utilities_alone(scene):
    class Crowded(a3d.QueryStrategy):
        name = "crowded"
        needs_model = False

        def utilities(self, voxels, prediction, num_classes):
            return voxels.counts.double()

    xyz, _ = scene
    (pick,) = Crowded(voxel_size=1.0).query(xyz)
    counts = np.unique(np.floor(xyz), axis=0, return_counts=True)[1]
    assert pick.utility == pick.num_points == counts.max()


def test_numbers_and_views_of_numpy_are_taken_as_they_are(scene):
    xyz, logits = scene
    picks = a3d.VoxelEntropy().query(xyz[::-1].copy(), logits[::-1].copy(), batch_size=2)
    number = np.int64(2)
    found = a3d.VoxelEntropy().query(xyz[::-1], np.asfortranarray(logits[::-1]), batch_size=number)
    assert found == picks
    one = a3d.RandomSampling().query(xyz, random_state=np.int64(3))
    assert one == a3d.RandomSampling().query(xyz, random_state=3)


def with_nan(logits):
    wrong = logits.copy()
    wrong[7, 1] = np.nan
    return wrong


@pytest.mark.parametrize("strategy", STRATEGIES[:3])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda xyz, logits: (xyz, None), "needs a prediction"),
        (lambda xyz, logits: (xyz, with_nan(logits)), "finite"),
        (lambda xyz, logits: (xyz, logits[:-1]), "400"),
        (lambda xyz, logits: (xyz, logits[None]), r"prediction: expected \[N, C\] or \[N\], got"),
        (lambda xyz, logits: (xyz.astype(float), logits), r"xyz: expected \[N, 3\] float32, got"),
        (lambda xyz, logits: (xyz[:, :2], logits), r"xyz: expected \[N, 3\] .* \[400, 2\]"),
        (lambda xyz, logits: (with_nan(xyz), logits), "finite|NaN"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_scan_is_named(strategy, change, words, scene):
    xyz, logits = change(*scene)
    with pytest.raises(ValueError, match=f"(?s)^scan 00/000007: .*({words})"):
        strategy().query(xyz, logits, scan_id="00/000007")


def test_arguments_that_do_not_exist_are_refused(scene):
    with pytest.raises(ValueError, match="reduce: expected 'max' or 'mean', got 'sum'"):
        a3d.VoxelEntropy(reduce="sum")
    with pytest.raises(ValueError, match=r"exclude: expected cells \[Q, 3\] of integers"):
        a3d.RandomSampling().query(scene[0], exclude=[(0.5, 0, 0)])
    with pytest.raises(ValueError, match="exclude: expected cells that fit 32 bits"):
        a3d.RandomSampling().query(scene[0], exclude=[(1 << 32, 0, 0)])
    with pytest.raises(ValueError, match="random_state: expected an integer, got a RandomState"):
        a3d.RandomSampling().query(scene[0], random_state=np.random.RandomState(0))
    for wrong, words in ((2.5, "an integer, got 2.5"), (-1, "at least 0, got -1")):
        with pytest.raises(ValueError, match=f"batch_size: expected {words}"):
            a3d.RandomSampling().query(scene[0], batch_size=wrong)


@pytest.mark.parametrize("wrong", [-1, 256, 300])
def test_train_ids_that_do_not_exist_are_named(wrong, scene):
    ids = np.zeros(400, np.int64)
    ids[:3] = wrong
    with pytest.raises(ValueError, match=rf"prediction: expected .*, got {wrong} at 3 points"):
        a3d.VoxelConfusion().query(scene[0], ids)


def test_a_strategy_that_gives_too_few_utilities_is_refused(scene):
    class Short(a3d.QueryStrategy):
        def utilities(self, voxels, prediction, num_classes):
            return torch.zeros(len(voxels) - 1)

    with pytest.raises(ValueError, match="'Short' must give one utility for each voxel"):
        Short().query(*scene)
