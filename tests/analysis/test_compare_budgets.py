"""What arms are worth where they have spent as much as another one."""

from __future__ import annotations

import numpy as np
import pytest

from annotator3d.analysis.compare.compared_run import ComparedRun
from annotator3d.analysis.compare.equal_budgets import (
    base_of,
    best_table,
    worth_at_equal_budgets,
    worth_table,
)
from annotator3d.analysis.compare.picks import Pick
from annotator3d.analysis.compare.results import Results
from annotator3d.analysis.report.blocks import Cell
from annotator3d.analysis.runs import Evaluation, Run
from annotator3d.engine.config.experiment import Arm, Experiment, Task

pytest.importorskip("statsmodels", reason="the extra `compare` is not installed")

SEEDS = range(4)
AXES = ["voxels", "labelled_points"]


def a_run(scores: list[float], voxels: int, points: int) -> ComparedRun:
    """A run of a round for each score, with so many voxels a round, of so many points each."""
    zeros = np.zeros((2, 3), np.int64)
    evaluations = tuple(
        Evaluation(r, r, r == len(scores), score, {}, zeros, 0, 0, 0, 0)
        for r, score in enumerate(scores, start=1)
    )
    picks = tuple(
        Pick(r, f"scan {n}", (r, n, 0), points, {0: points}, 1.0, 2.0)
        for r in range(1, len(scores) + 1)
        for n in range(voxels)
    )
    return ComparedRun(Run(None, "al", "", 0, ("a", "b"), evaluations, {}), picks)


def results_of(runs: dict[str, list[ComparedRun]], controls: tuple[str, ...] = ()) -> Results:
    arms = {arm: Arm(control=arm in controls) for arm in runs}
    compare = [[arm, "random"] for arm in runs if arm != "random"]
    experiment = Experiment(
        "made", {"al": Task("al")}, arms, compare=compare, pairs=len(SEEDS), axes=AXES, test="t"
    )
    by_key = {("al", arm, seed): run for arm, own in runs.items() for seed, run in enumerate(own)}
    return Results(experiment, ("al",), by_key, (), (), {})


def test_the_same_curve_is_worth_more_where_it_costs_less():
    """Twice the points a voxel: level by voxels, behind by points."""
    rising = [10.0, 20.0, 30.0, 40.0]
    results = results_of(
        {
            "random": [a_run([s + seed for s in rising], 1, 10) for seed in SEEDS],
            "crowded": [a_run([s + seed for s in rising], 1, 20) for seed in SEEDS],
        }
    )
    by_voxels, by_points = worth_at_equal_budgets(results)
    assert (by_voxels.axis, by_points.axis) == ("voxels", "labelled_points")
    assert by_voxels.paired.mean == pytest.approx(0)
    # Random reaches 20 to 40 between 20 and 40 points, the other arm 10 to 20.
    assert by_points.paired.mean == pytest.approx(15 - 30)
    assert by_points.is_shown and not by_voxels.is_shown


def test_the_best_arm_is_named_and_whether_its_lead_is_shown():
    noise = [0.1, -0.2, 0.3, -0.1]
    runs = {
        "random": [a_run([10, 20], 1, 10) for _ in SEEDS],
        "better": [a_run([15 + n, 25 + n], 1, 10) for n in noise],
        "lucky": [a_run([12 + 40 * n, 22 + 40 * n], 1, 10) for n in noise],
        "far": [a_run([50, 60], 9, 10) for _ in SEEDS],  # never as few voxels as random
        "zero": [a_run([5, 5], 0, 0) for _ in SEEDS],
    }
    results = results_of(runs, controls=("zero",))
    worth = [w for w in worth_at_equal_budgets(results) if w.axis == "voxels"]
    assert [w.arm for w in worth] == ["better", "lucky", "far"]
    assert [w.is_shown for w in worth] == [True, False, False]
    assert worth[2].paired is None
    assert base_of(results.experiment) == "random"
    best = best_table(worth, "random").rows[0]
    assert best[0] == "al" and best[1].text == "better" and best[1].small.endswith("shown")
    assert "not" not in best[1].small and best[1].strong
    unshown = best_table([w for w in worth if w.arm == "lucky"], "random").rows[0][1]
    assert unshown.small.endswith("not shown") and not unshown.strong
    rows = worth_table(worth, "random").rows
    assert isinstance(rows[0][2], Cell) and rows[2][2] == "-"


def test_where_no_arm_is_above_the_base_the_base_is_named():
    runs = {
        "random": [a_run([10, 20], 1, 10) for _ in SEEDS],
        "worse": [a_run([5, 15 + seed], 1, 10) for seed in SEEDS],
    }
    worth = worth_at_equal_budgets(results_of(runs))
    assert best_table(worth, "random").rows == [["al", "random", "random"]]
