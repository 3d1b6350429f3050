"""What is asked depends on scan, prediction, earlier questions, strategy and seed: nothing else."""

import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator3d.active.budget import by_scan, rank_round, scan_seed
from annotator3d.active.selector import PickRule, Scores, select_by_scores
from annotator3d.active.strategies import STRATEGIES, VoxelConfusion, get_strategy
from annotator3d.kernels.grouping import voxelize
from annotator3d.kernels.selection import VoxelPick
from annotator3d.registry import fill

fill(STRATEGIES)
NAMES = [n for n in sorted(STRATEGIES.module_dict) if not get_strategy(n).asks_for_more]
FUSED = [n for n in NAMES if get_strategy(n).fused]
CLASSES = 4


def cap_round(picks, limit, seed, round):
    """What a round with a limit asks about."""
    return by_scan(rank_round(picks, seed, round)[:limit])


def scene(points=300, seed=0, spread=1.5):
    random = np.random.default_rng(seed)
    xyz = random.normal(0, spread, (points, 3)).astype(np.float32)
    logits = torch.from_numpy(random.normal(0, 2, (points, CLASSES)).astype(np.float32))
    return xyz, logits


LIMITS = ("voxel_size", "max_range", "min_points")


def select(xyz, prediction, strategy="vcd", scan_id="08/000001", seed=3, budget=5, **more):
    limits = {name: more.pop(name) for name in LIMITS if name in more}
    found = get_strategy(strategy, **limits).select(
        xyz,
        prediction,
        scan_id=scan_id,
        random_state=seed,
        batch_size=budget,
        num_classes=CLASSES,
        **more,
    )
    return found.picks


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), points=st.integers(0, 60), budget=st.integers(0, 12))
def test_what_every_strategy_promises(name, seed, points, budget):
    xyz, logits = scene(points, seed, spread=0.4)
    before = xyz.copy(), logits.clone()
    picks = select(xyz, logits, name, budget=budget)
    cells = np.floor(xyz / np.float32(0.25)).astype(np.int64)
    occupied = Counter(map(tuple, cells.tolist()))

    assert len(picks) == min(budget, len(occupied))  # exactly the budget
    assert len({pick.cell for pick in picks}) == len(picks)
    for pick in picks:
        rows = np.flatnonzero((cells == pick.cell).all(1))
        assert pick.point_indices.tolist() == rows.tolist() and pick.num_points == len(rows) > 0
    scores = [pick.utility for pick in picks]
    assert scores == sorted(scores, reverse=True)

    assert select(xyz, logits, name, budget=budget) == picks  # again: the same
    torch.manual_seed(seed)
    np.random.seed(seed)
    order = np.random.default_rng(seed).permutation(points)
    assert select(xyz[order], logits[order], name, budget=budget) == picks

    asked = np.array([pick.cell for pick in picks], np.int32).reshape(-1, 3)
    again = select(xyz, logits, name, budget=budget, exclude=asked)
    assert len(again) == min(budget, len(occupied) - len(picks))
    assert not {pick.cell for pick in again} & {pick.cell for pick in picks}
    both = select(xyz, logits, name, budget=2 * budget)
    assert picks + again == both  # two small rounds ask what one large one asks

    assert np.array_equal(xyz, before[0]) and torch.equal(logits, before[1])


def test_vcd_asks_the_voxel_in_which_the_prediction_disagrees():
    xyz = np.array([[0.1, 0.1, 0.1]] * 4 + [[-0.1, 0.1, 0.1]] * 4, np.float32)
    labels = np.array([1, 1, 1, 1, 0, 2, 1, 2], np.uint8)
    (pick,) = VoxelConfusion().query(xyz, labels)
    assert pick.cell == (-1, 0, 0)  # floor, not truncation
    assert pick.utility == pytest.approx(1.5, abs=1e-9) and pick.point_indices.tolist() == [
        4,
        5,
        6,
        7,
    ]


@pytest.mark.parametrize("name", ["vcd", "margin"])
def test_ties_are_broken_by_seed_and_scan_not_by_place(name):
    """A prediction that is the same everywhere must not ask for the same corner of each scan."""
    xyz, _ = scene(2000, spread=5)
    same = torch.zeros(2000, CLASSES)
    first = [select(xyz, same, name, f"scan {i}", budget=1)[0].cell for i in range(40)]
    assert len(set(first)) > 30
    seeds = [select(xyz, same, name, seed=i, budget=1)[0].cell for i in range(40)]
    assert len(set(seeds)) > 30
    assert select(xyz, None, "random") == select(xyz, same, "vcd")


def test_random_draws_every_voxel_equally_often():
    xyz = np.array([[i * 0.25 + 0.1, 0, 0] for i in range(8) for _ in range(i + 1)], np.float32)
    drawn = Counter(select(xyz, None, "random", seed=s, budget=1)[0].cell[0] for s in range(800))
    chi2 = sum((drawn[i] - 100) ** 2 / 100 for i in range(8))
    assert chi2 < 24.3  # 7 degrees of freedom, 0.1 %; the seeds are fixed, so it cannot flicker


def test_range_and_size_filters():
    xyz = np.array(
        [[1, 1, 50], [3.01, 4.01, 0], [3.01, 4.01, 0.01], [30, 0, 0], [30, 0, 0.01]], np.float32
    )
    cells = {pick.cell for pick in select(xyz, None, "random", max_range=6)}
    assert cells == {(4, 4, 200), (12, 16, 0)}  # height does not count
    centre = float(np.hypot(3.125, 4.125))
    for limit, kept in ((centre + 1e-6, True), (centre - 1e-6, False)):
        picked = select(xyz, None, "random", max_range=limit)
        assert ((12, 16, 0) in {pick.cell for pick in picked}) == kept
    cells = {pick.cell for pick in select(xyz, None, "random", min_points=2)}
    assert cells == {(12, 16, 0), (120, 0, 0)}


def test_other_voxel_sizes_are_honoured_by_cells_and_by_the_range():
    xyz = np.array([[-0.5, 3.2, 1.0]], np.float32)
    (pick,) = select(xyz, None, "random", voxel_size=1.0, max_range=3.6)
    assert pick.cell == (-1, 3, 1)
    assert select(xyz, None, "random", voxel_size=1.0, max_range=3.5) == []


def test_cells_asked_are_compared_in_full():
    xyz, logits = scene()
    first = select(xyz, logits, budget=1)
    x, y, z = first[0].cell
    near = np.array([[x, y, z + 1], [y, x, z], [x, y, -z - 1], [-x - 1, y, z]], np.int32)
    near = near[(near != first[0].cell).any(1)]
    assert select(xyz, logits, budget=1, exclude=near) == first


def both_ways(xyz, name, **arguments):
    """In one pass of the kernels, and step by step by a strategy that they do not know."""
    limits = {key: arguments.pop(key) for key in LIMITS if key in arguments}
    known = get_strategy(name, **limits)

    class Unknown(type(known)):
        def utilities(self, *args):
            return super().utilities(*args)

    assert known.fused and Unknown.fused is None
    arguments = {"scan_id": "08/000001", "num_classes": CLASSES} | arguments
    found = [strategy.select(xyz, **arguments) for strategy in (known, Unknown(**limits))]
    return [
        (s.picks, [p.point_indices.tolist() for p in s.picks], s.point_utilities) for s in found
    ]


@pytest.mark.parametrize("name", FUSED)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    points=st.integers(0, 80),
    budget=st.integers(0, 9),
    shared=st.booleans(),
    limits=st.fixed_dictionaries(
        {},
        optional={
            "max_range": st.sampled_from([0.5, 1.0]),
            "min_points": st.sampled_from([1, 2, 3]),
            "voxel_size": st.sampled_from([0.05, 0.5]),
        },
    ),
)
def test_one_pass_and_step_by_step_choose_the_same(name, seed, points, budget, shared, limits):
    xyz, logits = scene(points, seed, spread=0.5)
    arguments = {"random_state": seed, "batch_size": budget, "prediction": logits} | limits
    if shared:  # the rows of a network's voxels
        arguments["rows"] = np.random.default_rng(seed).integers(0, 9, points)
        arguments["prediction"] = scene(9, seed)[1]
    (picks, rows, scores), slow = both_ways(xyz, name, **arguments)
    assert picks == slow[0] and rows == slow[1] and np.array_equal(scores, slow[2])
    asked = np.array([pick.cell for pick in picks], np.int32).reshape(-1, 3)
    again = both_ways(xyz, name, **arguments, exclude=asked)
    assert again[0][:2] == again[1][:2] and not {p.cell for p in again[0][0]} & set(
        p.cell for p in picks
    )


@pytest.mark.realdata
@pytest.mark.parametrize("name", FUSED)
def test_one_pass_and_step_by_step_choose_the_same_in_real_scans(name, kitti_root):
    file = sorted(kitti_root.glob("sequences/*/velodyne/*.bin"))[0]
    xyz = np.fromfile(file, np.float32).reshape(-1, 4)[:, :3]
    logits = torch.randn(len(xyz), CLASSES, generator=torch.Generator().manual_seed(0))
    limits = {"max_range": 40.0, "min_points": 2}
    arguments = {"random_state": 1, "batch_size": 50, "prediction": logits}
    fast, slow = both_ways(xyz, name, **arguments, **limits)
    assert len(fast[0]) == 50 and fast[:2] == slow[:2] and np.array_equal(fast[2], slow[2])


def test_rows_of_a_network_are_the_same_as_their_logits_point_by_point():
    xyz, logits = scene()
    rows = torch.from_numpy(np.random.default_rng(0).integers(0, 300, 300))
    for name in NAMES:
        by_rows = select(xyz, logits, name, rows=rows)
        assert by_rows == select(xyz, logits[rows], name) and len(by_rows) == 5
    labels = logits.argmax(1).numpy().astype(np.uint8)
    by_rows = select(xyz, labels, rows=rows)
    assert by_rows == select(xyz, labels[rows.numpy()])
    scores = logits[:, 0].abs()
    by_rows = select(xyz, scores, "entropy", rows=rows)
    assert by_rows == select(xyz, scores[rows], "entropy")


@pytest.mark.parametrize("rows", [np.full(300, 300), np.full(300, -1), np.zeros(299, np.int64)])
@pytest.mark.parametrize("one_pass", [True, False])
def test_rows_that_are_none_are_refused(rows, one_pass):
    xyz, logits = scene()
    given = logits if one_pass else logits[:, 0]
    with pytest.raises(ValueError, match="08/000001: (rows|values): expected"):
        select(xyz, given, strategy="entropy", rows=rows)


def test_the_viewer_gets_the_score_of_the_voxel_of_each_point():
    xyz, logits = scene()
    picks, points = VoxelConfusion().query(xyz, logits, batch_size=5, return_utilities=True)
    assert points.dtype == np.float32 and points.shape == (300,) and len(picks) == 5
    for pick in picks:
        assert points[pick.point_indices] == pytest.approx(pick.utility)
        assert points.max() >= pick.utility >= 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"prediction": None},
        {"prediction": np.zeros(300, np.float32)},
        {"prediction": torch.full((300, CLASSES), float("nan"))},
        {"prediction": torch.zeros(299, CLASSES)},
        {"exclude": np.zeros((2, 2), np.int32)},
        {"exclude": np.zeros((2, 3), np.float32)},
    ],
)
def test_errors_name_the_scan(wrong):
    xyz, logits = scene()
    with pytest.raises(ValueError, match="08/000001"):
        select(xyz, **({"prediction": logits} | wrong))


def test_the_seed_of_a_scan_is_the_same_in_every_process():
    code = "from annotator3d.active.budget import scan_seed; print(scan_seed(5, '08/000123'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == scan_seed(5, "08/000123")
    seeds = {scan_seed(seed, scan) for seed in range(30) for scan in ("1", "11", "01/1", "")}
    assert len(seeds) == 120 and all(0 <= seed < 2**63 for seed in seeds)


def pick_of(cell, score):
    return VoxelPick((cell, 0, 0), score, 1, np.array([0]))


def test_a_limited_round_keeps_the_best_of_all_scans():
    picks = {
        "b": [pick_of(0, 3.0), pick_of(1, 1.0)],
        "a": [pick_of(0, 2.0), pick_of(1, 2.0), pick_of(2, 0.5)],
        "c": [],
    }
    kept = cap_round(picks, 3, seed=0, round=1)
    assert kept == {"a": picks["a"][:2], "b": picks["b"][:1]} and list(kept) == ["a", "b"]
    assert cap_round(picks, None, seed=0, round=1) == {"a": picks["a"], "b": picks["b"]}
    assert cap_round(picks, 0, seed=0, round=1) == {}


@given(
    st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=4)
    ),
    st.integers(0, 12),
    st.integers(0, 3),
)
def test_a_limited_round_does_not_depend_on_how_the_scans_were_gathered(scores, limit, seed):
    picks = {
        scan: [pick_of(i, score) for i, score in enumerate(sorted(values, reverse=True))]
        for scan, values in scores.items()
    }
    kept = cap_round(picks, limit, seed, 1)
    assert cap_round(dict(reversed(picks.items())), limit, seed, 1) == kept
    every = sorted((s for values in scores.values() for s in values), reverse=True)
    assert sorted((p.utility for ps in kept.values() for p in ps), reverse=True) == every[:limit]
    for scan, ps in kept.items():
        assert ps == picks[scan][: len(ps)]  # the scan's first


def test_a_limited_round_of_equal_scores_is_spread_over_the_scans():
    picks = {f"{i:02d}": [pick_of(j, 0.0) for j in range(5)] for i in range(20)}
    kept = [cap_round(picks, 10, seed, 1) for seed in range(6)]
    assert all(len(scans) == 10 for scans in kept)  # one each before any gets a second
    assert len({tuple(scans) for scans in kept}) == 6


def test_a_total_limit_reaches_other_scans_in_every_round():
    """Ties must not favour the same scans: random would ask the same few for ever."""
    pick = [VoxelPick((0, 0, 0), 0.0, 1, np.array([0]))]
    picks = {f"{i:03d}": pick for i in range(200)}
    rounds = [set(cap_round(picks, 20, 0, number)) for number in range(1, 6)]
    assert all(len(chosen) == 20 for chosen in rounds)
    assert len(set.union(*rounds)) > 60


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    points=st.integers(0, 60),
    budget=st.integers(0, 9),
    values=st.lists(st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=200),
    asked=st.booleans(),
)
def test_each_stratum_gives_what_it_would_give_alone(seed, points, budget, values, asked):
    xyz, _ = scene(points, seed, spread=0.4)
    voxels = voxelize(torch.from_numpy(xyz), 0.25)
    exclude = voxels.cells[: 3 * asked].numpy()
    rule = PickRule(budget, exclude, seed, "08/000001", 0.25, None, 1)
    strata = torch.tensor(values, dtype=torch.float64).repeat(len(voxels) * 3)[: len(voxels) * 3]
    strata = strata.reshape(-1, 3)
    scores = Scores(torch.zeros(len(voxels), dtype=torch.float64), strata)
    found = select_by_scores(voxels, scores, rule).strata
    assert len(found) == 3
    for picks, column in zip(found, strata.unbind(1), strict=True):
        outside = voxels.cells[column == -math.inf].numpy()
        alone = replace(rule, exclude=np.concatenate([exclude, outside]))
        expected = select_by_scores(voxels, Scores(column.clamp(min=-9)), alone).picks
        assert list(picks) == expected
        assert [p.point_indices.tolist() for p in picks] == [
            p.point_indices.tolist() for p in expected
        ]
