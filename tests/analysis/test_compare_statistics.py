"""The numbers of a comparison, against other libraries, brute force and simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from annotator3d.analysis.compare.budget import area, common_budgets, common_range
from annotator3d.analysis.compare.calibration import false_alarms
from annotator3d.analysis.compare.families import holm, win_matrix
from annotator3d.analysis.compare.paired import (
    compare_pairs,
    detectable,
    pairs_needed,
    sign_flip_p,
)
from annotator3d.analysis.compare.sequential import look_at

pytest.importorskip("statsmodels", reason="the extra `compare` is not installed")

scores = st.floats(-50, 50, allow_nan=False).map(lambda value: round(value, 3))


@given(st.lists(scores, min_size=1, max_size=7))
def test_the_sign_flip_test_tries_every_sign(differences):
    seen = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    reached = sum(each >= seen - 1e-7 for each in sums)
    assert compare_pairs(differences).p_sign_flip == reached / len(sums)


@given(st.lists(scores, min_size=2, max_size=12))
def test_interval_and_t_test_are_those_of_scipy(differences):
    assume(np.ptp(differences) > 0.01)
    found, theirs = compare_pairs(differences), stats.ttest_1samp(differences, 0)
    interval = theirs.confidence_interval(0.95)
    assert found.p_t == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_one_pair_gives_no_interval_and_shows_nothing():
    found = compare_pairs([3.0])
    assert (found.sd, found.low, found.p_t, found.detectable) == (None, None, None, None)
    assert found.p_value("t") == 1.0 and found.p_value("sign-flip") == 1.0


def test_many_pairs_are_tested_with_drawn_signs_close_to_the_t_test():
    differences = np.random.default_rng(5).normal(0.4, 1, 30)
    found = compare_pairs(differences)
    assert found.p_sign_flip == pytest.approx(found.p_t, abs=0.01)
    assert found == compare_pairs(differences)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_its_procedure_rejects(p_values):
    order = np.argsort(p_values)
    rejected = set()
    for place, index in enumerate(order):  # Holm 1979, step by step
        if p_values[index] > 0.05 / (len(p_values) - place):
            break
        rejected.add(int(index))
    close = any(
        abs(p * (len(p_values) - place) - 0.05) < 1e-9 for place, p in enumerate(sorted(p_values))
    )
    assume(not close)
    assert {i for i, p in enumerate(holm(p_values)) if p <= 0.05} == rejected


@pytest.mark.parametrize("n", [2, 3, 5, 8, 20])
def test_the_detectable_difference_is_found_in_four_of_five_experiments(n):
    effect = detectable(2.0, n)
    t = stats.nct(n - 1, effect / 2.0 * np.sqrt(n))
    critical = stats.t.ppf(0.975, n - 1)
    assert t.sf(critical) + t.cdf(-critical) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("tests", [1, 2, 3, 6, 20])
def test_the_fewest_pairs_can_just_show_a_difference(tests):
    n = pairs_needed(tests, "sign-flip")
    smallest = compare_pairs([1.0 + i / 7 for i in range(n)]).p_sign_flip
    assert holm([smallest, *[1.0] * (tests - 1)])[0] <= 0.05
    assert n == 5 or 2 / 2 ** (n - 1) * tests > 0.05


curves = st.lists(st.tuples(st.floats(0.5, 20), st.floats(0, 100)), min_size=2, max_size=8).map(
    lambda steps: (np.cumsum([s for s, _ in steps]), np.array([y for _, y in steps]))
)


@given(curves, st.floats(0, 0.4), st.floats(0.6, 1))
def test_the_area_is_the_mean_height_of_the_curve(curve, first, last):
    x, y = curve
    low, high = x[0] + first * (x[-1] - x[0]), x[0] + last * (x[-1] - x[0])
    fine = np.linspace(low, high, 200_001)
    assert area(curve, low, high) == pytest.approx(np.interp(fine, x, y).mean(), abs=0.02)


def test_areas_are_taken_over_what_all_curves_share():
    one = (np.array([10.0, 20, 30]), np.array([1.0, 2, 3]))
    other = (np.array([15.0, 30, 45]), np.array([5.0, 5, 5]))
    assert common_range([one, other]) == (15, 30)
    assert common_budgets([one, other]).tolist() == [15, 20, 30]
    assert area(one, 15, 30) == pytest.approx(2.25) and area(other, 15, 30) == 5
    assert common_range([one, (np.array([40.0]), np.array([1.0]))]) is None


def test_an_arm_wins_at_the_budgets_at_which_it_is_significantly_better():
    better = np.array([[5.0, 1.0], [6.0, 2.0], [5.5, 0.0]])
    worse = np.array([[1.0, 1.5], [2.2, 1.0], [1.4, 0.5]])
    assert stats.ttest_rel(better[:, 0], worse[:, 0]).pvalue < 0.05
    assert stats.ttest_rel(better[:, 1], worse[:, 1]).pvalue > 0.05
    missing = np.full((3, 2), np.nan)
    wins = win_matrix({"better": better, "worse": worse, "missing": missing})
    assert wins.tolist() == [[0, 0.5, 0], [0, 0, 0], [0, 0, 0]]


def boundaries(differences: list[float], group: int, looks: int) -> list[float | None]:
    """By hand: groups of equal sums, largest first, as long as k / K of the level holds them."""
    open_signs = set(product((1, -1), repeat=group * looks))
    total, crossed, found = len(open_signs), 0, []
    for k in range(1, looks + 1):
        sums: dict[float, set] = {}
        for signs in open_signs:
            value = abs(sum(s * d for s, d in zip(signs, differences[: k * group], strict=False)))
            sums.setdefault(round(value, 6), set()).add(signs)
        boundary = None
        for value in sorted(sums, reverse=True):
            if crossed + len(sums[value]) > 0.05 * k / looks * total + 1e-9:
                break
            crossed += len(sums[value])
            boundary = value
            open_signs -= sums[value]
        found.append(boundary)
    return found


@given(st.lists(st.integers(-99, 99), min_size=12, max_size=12), st.sampled_from([3, 4]))
@settings(max_examples=25)
def test_each_look_spends_its_part_of_the_level_and_no_more(differences, looks):
    expected = boundaries([float(d) for d in differences], 12 // looks, looks)
    for look, boundary in zip(look_at(differences, 12 // looks, looks), expected, strict=False):
        assert look.boundary == (None if boundary is None else pytest.approx(boundary))
        assert look.shown == (boundary is not None and look.statistic >= boundary)


def family_wise_errors(arms: int, group: int, looks: int, experiments: int, draw) -> int:
    """Experiments under the null in which a difference is shown between any arm and reference."""
    wrong = 0
    for _ in range(experiments):
        reference = draw(group * looks)
        tests = [
            look_at(draw(group * looks) - reference, group, looks, comparisons=arms)
            for _ in range(arms)
        ]
        wrong += any(looks[-1].shown for looks in tests)
    return wrong


@pytest.mark.parametrize(("arms", "group", "looks"), [(1, 3, 3), (3, 4, 3)])
def test_looking_often_keeps_the_family_wise_error(arms, group, looks):
    random = np.random.default_rng(arms)
    experiments = 400
    wrong = family_wise_errors(arms, group, looks, experiments, random.standard_exponential)
    # More false claims than that would come once in a thousand tests if 5 % were kept.
    assert wrong <= stats.binom.ppf(0.999, experiments, 0.05)
    # A look after each group, each at 5 %, would not keep it: this test can fail.
    naive = 0
    for _ in range(experiments):
        draws = random.standard_exponential((arms + 1, group * looks))
        naive += any(
            sign_flip_p((arm - draws[0])[: group * k]) <= 0.05
            for arm in draws[1:]
            for k in range(1, looks + 1)
        )
    assert arms == 1 or naive > stats.binom.ppf(0.999, experiments, 0.05)


def test_a_clear_difference_is_shown_at_the_first_look_that_can_show_it():
    looks = look_at([3.0, 3.1, 2.9, 3.2, 3.3, 2.8, 3.0, 3.1, 2.7], group=3, looks=3)
    # Two of 8 signs are too many for 1/60; two of 64 are at most 2/60.
    assert [look.shown for look in looks] == [False, True]
    assert looks[0].boundary is None and looks[1].pairs == 6


def test_a_look_sees_the_same_before_and_after_the_next_group():
    differences = np.random.default_rng(2).normal(0.5, 1, 20)
    early = look_at(differences[:10], group=5, looks=4)
    assert look_at(differences, group=5, looks=4)[: len(early)] == early


@pytest.mark.parametrize("test", ["sign-flip", "t"])
def test_an_arm_against_itself_gives_few_false_alarms(test):
    found = false_alarms(np.random.default_rng(1).normal(20, 3, 16), test)
    assert (found.runs, found.pairs, found.tests) == (16, 8, 1000)
    assert found.low < found.rate < found.high and found.low <= 0.05
    interval = stats.binomtest(found.alarms, 1000).proportion_ci()
    assert (found.low, found.high) == (interval.low, interval.high)


def test_three_runs_are_too_few_to_calibrate():
    assert false_alarms([1.0, 2.0, 3.0], "t") is None
