"""Which points of a voxel are asked about: drawn fairly, from the arguments alone."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from annotator3d.active.label_points import draw_points, with_label_points
from annotator3d.active.noisy_oracle import NoisyOracle
from annotator3d.active.oracle import answer_open_queries, get_oracle
from annotator3d.active.strategies import RandomSampling
from annotator3d.active.timing import after_answers, before_answers
from annotator3d.data.scan import Scan
from annotator3d.kernels.selection import VoxelPick
from annotator3d.ledger.effort import Effort, round_cost
from annotator3d.ledger.ledger import Ledger, Query

seeds, numbers = st.integers(0, 2**32), st.integers(1, 60)
cells = st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 3)


def pick_of(num_points, named=None):
    return VoxelPick((1, 2, 3), 1.0, num_points, np.arange(num_points) * 3 + 5, named)


@given(num_points=numbers, seed=seeds, scan=st.text(max_size=8), cell=cells)
def test_the_draw_is_an_order_of_all_points_that_depends_on_its_arguments_alone(
    num_points, seed, scan, cell
):
    order = draw_points(num_points, seed, scan, cell)
    assert sorted(order) == list(range(num_points))
    np.random.seed(0)
    random.seed(0)
    torch.manual_seed(0)
    draw_points(7, seed + 1, "other", (0, 0, 0))
    assert draw_points(num_points, seed, scan, [np.int32(i) for i in cell]) == order


@pytest.mark.parametrize("changed", ["seed", "scan", "x", "y", "z"])
def test_every_point_is_drawn_equally_often(changed):
    """Pearson's test at 1e-6, over voxels that differ in one argument only."""
    counts = np.zeros((7, 7), np.int64)  # place in the order, point
    for i in range(2100):
        seed, scan = (i, "00/0") if changed == "seed" else (3, "00/0")
        scan = f"00/{i}" if changed == "scan" else scan
        cell = [i if changed == axis else 4 for axis in "xyz"]
        counts[np.arange(7), draw_points(7, seed, scan, cell)] += 1
    expected = 2100 / 7
    statistic = ((counts - expected) ** 2 / expected).sum(1)
    assert (statistic < chi2.isf(1e-6, 6)).all(), counts


@given(num_points=numbers, seed=seeds, number=numbers)
def test_more_points_are_those_of_fewer_and_others(num_points, seed, number):
    def asked(count):
        found = with_label_points(pick_of(num_points), count, seed, "00/0")
        assert found.num_labels == min(count, num_points)
        return set(range(num_points) if found.label_points is None else found.label_points)

    fewer, more = asked(number), asked(number + 1)
    assert fewer <= more <= set(range(num_points))
    assert len(more) == min(number + 1, num_points)


def test_all_points_are_asked_about_by_default():
    pick = pick_of(4)
    assert with_label_points(pick, None, 0, "00/0") == pick
    assert pick.label_points is None and pick.num_labels == 4


def test_points_that_a_strategy_names_come_first():
    pick = pick_of(6, named=(3, 0))  # the best first
    assert with_label_points(pick, 1, 0, "00/0").label_points == (3,)
    assert with_label_points(pick, 2, 0, "00/0").label_points == (0, 3)
    drawn = [i for i in draw_points(6, 0, "00/0", (1, 2, 3)) if i not in (0, 3)]
    more = with_label_points(pick, 4, 0, "00/0")
    assert more.label_points == tuple(sorted([0, 3, *drawn[:2]]))
    assert with_label_points(pick, None, 0, "00/0").label_points is None  # the config says how many


@pytest.mark.parametrize("named", [(6,), (2, 2), (-1,)])
def test_a_strategy_names_points_of_the_voxel_only(named):
    with pytest.raises(
        ValueError, match=r"scan 00/0, cell \(1, 2, 3\): label_points must be places"
    ):
        with_label_points(pick_of(6, named), 1, 0, "00/0")


def crowded(scan_id="00/0"):
    generator = np.random.default_rng(5)
    xyz = generator.normal(0, 0.3, (300, 3)).astype(np.float32)
    labels = generator.choice(np.array([0, 1, 2, 255], np.uint8), 300)
    return Scan.from_raw(scan_id, xyz, np.zeros(300, np.float32), labels)


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("oracle", ["truth", "noisy"])
def test_oracles_answer_for_the_points_that_are_asked_about(tmp_path, oracle, number):
    scan = crowded()
    with Ledger.open(tmp_path / "ledger.sqlite", ["a", "b", "c"], "digest") as ledger:
        ledger.register_scan("00/0", "f", 300)
        picks = RandomSampling().query(scan.xyz, batch_size=20, scan_id="00/0")
        asked = [with_label_points(pick, number, 0, "00/0") for pick in picks]
        ledger.add_round(1, "random", 0, 20, {"00/0": asked})
        asking = get_oracle(oracle) if oracle == "truth" else NoisyOracle()
        assert answer_open_queries(ledger, asking, lambda scan_id: scan) == 20
        cells = np.floor(scan.xyz / np.float32(0.25)).astype(int)
        labelled = void = 0
        for query in ledger.queries():
            inside = [row for row, cell in enumerate(cells) if tuple(cell) == query.cell]
            kept = inside if query.label_points is None else [inside[i] for i in query.label_points]
            assert len(kept) == min(number, len(inside))
            assert ledger.current(query.id).labels.tolist() == scan.labels[kept].tolist()
            given = [label for label in scan.labels[kept].tolist() if label != 255]
            labelled, void = labelled + len(given), void + (not given)
            if oracle == "noisy" and number == 1:  # one point is one class: one key
                assert ledger.current(query.id).clicks == 1
        cost = round_cost(ledger, 1)
        assert cost.labelled_points == labelled and cost.void_voxels == void > 0


def test_the_time_of_an_answer_is_predicted_from_the_points_that_it_labels():
    whole = Query(1, 1, "00/0", (8, 0, 0), 0, 0.5, 16)
    few = replace(whole, label_points=(3, 9))
    assert before_answers([whole, few], 0.25)[:, 0].tolist() == [4, 1]
    assert after_answers([Effort(whole, "ann"), Effort(few, "ann")], 0.25)[:, 0].tolist() == [4, 1]
