"""Folds and seeds pooled: every number here is worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from annotator3d.analysis.pooled import markdown, paired_differences, pool_runs
from annotator3d.analysis.runs import Evaluation, Run

CLASSES = ("car", "road", "pole", "truck")
# Ground truth of fold 0: 100 car, 100 road.  Of fold 1: 100 car, 4 pole.  Never a truck.


def run(arm, seed, fold, confusion, voxels=40, points=300):
    evaluation = Evaluation(
        epoch=9,
        round=5,
        final=True,
        miou=0.0,
        iou_per_class={},
        confusion=np.array(confusion, dtype=np.int64),
        voxels=voxels,
        points=points,
        labelled_points=points,
        void_queries=0,
    )
    work_dir = Path("/".join([*arm, f"seed{seed}", f"fold{fold}"]))
    return Run(work_dir, arm[0], arm[1], seed, CLASSES, (evaluation,), {})


def fold_0(car_hits):
    """Missed cars are predicted as road; every road point is right."""
    return [[car_hits, 100 - car_hits, 0, 0, 0], [0, 100, 0, 0, 0], [0] * 5, [0] * 5]


def fold_1(pole_hits):
    """Missed poles have no prediction at all; every car point is right."""
    return [[100, 0, 0, 0, 0], [0] * 5, [0, 0, pole_hits, 0, 4 - pole_hits], [0] * 5]


HITS = {  # arm -> seed -> (car hits in fold 0, pole hits in fold 1)
    ("source_only", "none"): {0: (0, 0), 1: (0, 0)},
    ("ada", "zero_label"): {0: (50, 0), 1: (50, 0)},
    ("ada", "random"): {0: (50, 2), 1: (100, 2)},
    ("ada", "vcd"): {0: (100, 2), 1: (100, 4)},
}


def make_grid():
    grid = {}
    for arm, seeds in HITS.items():
        for seed, (car, pole) in seeds.items():
            grid[(*arm, seed, 0)] = run(arm, seed, 0, fold_0(car), points=300 + 10 * seed)
            grid[(*arm, seed, 1)] = run(arm, seed, 1, fold_1(pole), points=300 + 10 * seed)
    return grid


def test_folds_are_added_up_before_the_iou_is_taken():
    pooled = pool_runs(make_grid())
    random = {result.arm: result for result in pooled.arms}["ada", "random"]
    # Seed 0: car 150 of 200 found, none invented: 150/200.  Road 100 found, 50 invented: 100/150.
    # Pole 2 of 4: 2/4.  Truck is in no ground truth, so it does not count.
    car, road, pole = 150 / 200, 100 / 150, 2 / 4
    np.testing.assert_allclose(random.iou[0], [100 * car, 100 * road, 100 * pole, np.nan])
    assert random.miou[0] == pytest.approx(100 * (car + road + pole) / 3)
    # Only car (200 points) and road (100 points) have at least 100 test points; pole has 4.
    assert random.miou_frequent[0] == pytest.approx(100 * (car + road) / 2)
    assert random.miou[1] == pytest.approx(100 * (1 + 1 + pole) / 3)
    assert pooled.test_points.tolist() == [200, 100, 4, 0]


def test_differences_are_paired_by_seed():
    found = {(d.arm, d.other): d for d in paired_differences(pool_runs(make_grid()))}
    vcd, random = ("ada", "vcd"), ("ada", "random")
    source, zero = ("source_only", "none"), ("ada", "zero_label")
    pairs = {(vcd, random), (vcd, source), (vcd, zero), (random, source), (random, zero)}
    assert set(found) == pairs
    # mIoU of three classes.  vcd: (1 + 1 + .5) / 3, then 1.  random: (.75 + 2/3 + .5) / 3, .8333.
    seed_0 = 100 * ((1 + 1 + 0.5) - (0.75 + 2 / 3 + 0.5)) / 3
    seed_1 = 100 * (3 - 2.5) / 3
    assert found[vcd, random].miou == pytest.approx((seed_0, seed_1))
    assert found[vcd, random].miou_frequent == pytest.approx((100 * (2 - 0.75 - 2 / 3) / 2, 0))
    # Source-only: car 100 of 200, road 100 of 200 predicted, pole 0.
    assert found[vcd, source].miou[1] == pytest.approx(100 * (3 - 0.5 - 0.5) / 3)


def test_a_zero_label_arm_is_compared_with_its_own_setting_only():
    grid = {}
    for arm in [("al", "random"), ("ada", "random"), ("ada", "zero_label")]:
        grid[(*arm, 0, 0)] = run(arm, 0, 0, fold_0(50))
    pairs = [(d.arm, d.other) for d in paired_differences(pool_runs(grid))]
    assert pairs == [(("ada", "random"), ("ada", "zero_label"))]


def test_the_tables_hold_spread_budgets_and_the_classes_left_out():
    text = markdown(pool_runs(make_grid()))
    # random: 63.889 and 83.333: mean 73.6, sample deviation 19.444 / sqrt(2) = 13.7
    random_row = next(row for row in text.splitlines() if row.startswith("| ada | random |"))
    assert "| 73.6 +- 13.7 | 63.9 to 83.3 |" in random_row
    assert random_row.endswith("| 40 | 305 (300 to 310) |")
    difference = next(row for row in text.splitlines() if "ada vcd - ada random" in row)
    assert "| +19.4 | +16.7 | +18.1 +- 2.0 | +16.7 to +19.4 |" in difference
    assert "Without a test point, in no mIoU: truck." in text
    assert "only in the plain mIoU: pole (4)." in text
    assert "One seed" not in text
    columns = {row.count("|") for row in text.split("\n\n")[-2].splitlines()}
    assert len(columns) == 1


def test_one_seed_gives_no_ranking_and_no_deviation():
    text = markdown(pool_runs({key: r for key, r in make_grid().items() if key[2] == 0}))
    assert "One seed: no ranking." in text
    assert "+- " not in text.split("| setting")[1]


def test_a_missing_run_is_named_and_nothing_is_averaged_without_it():
    grid = make_grid()
    del grid["ada", "vcd", 1, 0]
    with pytest.raises(ValueError, match="1 of 16 runs are missing: ada vcd seed 1 fold 0"):
        pool_runs(grid)
    with pytest.raises(ValueError, match="got none"):
        pool_runs({})


def test_runs_of_a_fold_that_were_tested_on_other_points_are_refused():
    grid = make_grid()
    grid["ada", "vcd", 1, 0] = run(("ada", "vcd"), 1, 0, fold_1(4))
    with pytest.raises(ValueError, match="both fold 0 but were tested on different points"):
        pool_runs(grid)
