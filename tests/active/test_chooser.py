"""The chooser of a round: quotas, spacing, and that the order of its input does not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator3d.active.chooser import Candidates, Limits, Spacing, choose, class_quotas

SCANS = ["00/000000", "00/000001", "01/000000"]
WORLDS = ["00", "00", "01"]


def candidates(rows, moves=None) -> Candidates:
    """From (scan, stratum, utility, x) of each; ranks are those within a scan and stratum."""
    ranks, cells = [], []
    for i, (scan, stratum, utility, _) in enumerate(rows):
        same = [r for r in rows if r[:2] == (scan, stratum)]
        earlier = [r[:3] for r in rows[:i]].count((scan, stratum, utility))
        ranks.append(sum(r[2] > utility for r in same) + earlier)
        cells.append([round(rows[i][3] * 4), 0, 0])
    scan, stratum, utility, x = zip(*rows, strict=True) if rows else ((), (), (), ())
    n = len(rows)
    return Candidates(
        np.array(scan, np.int32),
        np.array(stratum, np.int32),
        np.array(ranks, np.int32),
        np.array(utility, np.float64),
        np.array(cells, np.int32).reshape(n, 3),
        np.ones(n, np.int32),
        np.column_stack([np.array(x, np.float64), np.zeros((n, 2))]),
        np.zeros(n, bool) if moves is None else np.array(moves, bool),
    )


def chosen(rows, limits, **keywords):
    found = choose(candidates(rows), SCANS, WORLDS, limits, 0, 1, **keywords)
    return [rows[row] for row in found.tolist()]


ROWS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([-1, 0, 1]),
        st.floats(0, 3, width=16),
        st.integers(0, 40).map(lambda n: n / 4),
    ),
    max_size=40,
    unique=True,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 12), st.integers(1, 4), st.sampled_from([None, 0.3, 2.0]))
def test_no_limit_is_passed_and_nothing_is_left_that_would_fit(rows, budget, per_scan, spacing):
    quotas = ((1, 2), (0, 3))
    found = chosen(rows, Limits(budget, per_scan, spacing, quotas))
    assert len(found) <= budget
    voxels = {(scan, x) for scan, _, _, x in found}
    assert len(voxels) == len(found)
    for scan in range(3):
        assert sum(s == scan for s, _ in voxels) <= per_scan

    def too_near(a, b):
        return spacing is not None and WORLDS[a[0]] == WORLDS[b[0]] and abs(a[1] - b[1]) < spacing

    assert not any(too_near(a, b) for a in voxels for b in voxels if a != b)
    for stratum, quota in quotas:
        assert sum(row[1] == stratum for row in found) <= quota
    if len(found) < budget:
        for scan, stratum, _, x in rows:
            fits = sum(s == scan for s, _ in voxels) < per_scan and (scan, x) not in voxels
            if stratum == -1 and fits:
                assert any(too_near((scan, x), other) for other in voxels)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms(use_true_random=False), st.integers(0, 12))
def test_the_order_of_the_candidates_does_not_matter(rows, random, budget):
    limits = Limits(budget, 2, 1.0, ((0, 2),))
    whole = candidates(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    mixed = Candidates(*(getattr(whole, name)[order] for name in Candidates.__dataclass_fields__))
    found = choose(whole, SCANS, WORLDS, limits, 0, 1)
    again = choose(mixed, SCANS, WORLDS, limits, 0, 1)
    same = [(whole.scan[r], *whole.cell[r], whole.utility[r]) for r in found]
    assert [(mixed.scan[r], *mixed.cell[r], mixed.utility[r]) for r in again] == same


def test_places_of_earlier_rounds_keep_their_distance_in_their_world_only():
    taken = Spacing(5.0)
    taken.take("00", (0.0, 0.0, 0.0))
    rows = [(0, -1, 3.0, 4.75), (1, -1, 2.0, 5.0), (2, -1, 1.0, 0.0)]
    assert chosen(rows, Limits(3, 3, 5.0), taken=taken) == rows[1:]


def test_strata_choose_before_the_rest_and_in_their_order():
    rows = [(0, -1, 9.0, 0.0), (0, 1, 5.0, 1.0), (1, 0, 1.0, 2.0), (1, 0, 0.5, 3.0)]
    quotas = ((0, 1), (1, 1))
    assert chosen(rows, Limits(3, 3, None, quotas)) == [rows[2], rows[1], rows[0]]


def test_equal_scans_take_turns_from_round_to_round():
    rows = [(scan, -1, 0.0, 0.0) for scan in range(3)]
    first = {
        choose(candidates(rows), SCANS, WORLDS, Limits(1, 1), 0, round)[0] for round in range(20)
    }
    assert len(first) == 3


@pytest.mark.parametrize(
    ("frequencies", "budget", "share", "quotas"),
    [
        ([5, 0, 2, 9], 10, 0.6, [(2, 2), (0, 2), (3, 2)]),
        ([5, 0, 2, 9], 10, 0.5, [(2, 2), (0, 2), (3, 1)]),  # the odd one to the rarest
        ([0, 0], 10, 1.0, []),
        ([3, 3], 4, 0.0, [(0, 0), (1, 0)]),
    ],
)
def test_quotas_are_equal_and_the_rarest_class_comes_first(frequencies, budget, share, quotas):
    assert class_quotas(np.array(frequencies), budget, share) == quotas
