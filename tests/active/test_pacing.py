"""A budget per hour over a stream: never exceeded, spent on the best, spread over the hour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator3d.active.pacing import Pacer


def stream(pacer: Pacer, scans: int, score) -> list[tuple[int, int, float]]:
    """(scan, asked, best score) of each scan."""
    told = []
    for scan in range(scans):
        if pacer.hour_is_over:
            pacer.begin_hour()
        offers = score(scan)
        told.append((scan, pacer.decide(offers), offers[0][0] if offers else 0.0))
    return told


OFFERS = st.lists(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1)), max_size=4).map(
        lambda offers: sorted(offers, reverse=True)
    ),
    max_size=150,
)


@settings(max_examples=100, deadline=None)
@given(OFFERS, st.integers(1, 30), st.integers(1, 60), st.integers(1, 3))
def test_no_hour_and_no_scan_gets_more_than_its_budget(offers, per_hour, scans_per_hour, per_scan):
    told = stream(Pacer(per_hour, scans_per_hour, per_scan), len(offers), offers.__getitem__)
    asked = [number for _, number, _ in told]
    for start in range(0, len(asked), scans_per_hour):
        assert sum(asked[start : start + scans_per_hour]) <= per_hour
    assert all(n <= min(per_scan, len(o)) for n, o in zip(asked, offers, strict=True))


@settings(max_examples=50, deadline=None)
@given(OFFERS, st.integers(0, 150))
def test_a_stream_that_was_stopped_goes_on_as_if_it_had_not_been(offers, stop):
    told = stream(Pacer(5, 40, 2), len(offers), offers.__getitem__)
    again = Pacer(5, 40, 2)
    for scan, asked, _ in told[:stop]:
        if again.hour_is_over:
            again.begin_hour()
        again.replay(offers[scan], asked)
    rest = stream(again, len(offers[stop:]), offers[stop:].__getitem__)
    assert [n for _, n, _ in rest] == [n for _, n, _ in told[stop:]]


@pytest.mark.parametrize("constant", [False, True], ids=["scores", "no scores"])
def test_the_budget_lasts_for_the_hour_and_goes_to_the_best(constant):
    rng = np.random.default_rng(1)
    scores = np.zeros(8000) if constant else rng.random(8000)
    chances = rng.random(8000)
    told = stream(Pacer(100, 2000, 1), 8000, lambda s: [(scores[s], chances[s])])
    for hour in range(4):
        here = told[2000 * hour : 2000 * (hour + 1)]
        spent = sum(n for _, n, _ in here)
        assert 90 <= spent <= 100
        assert 25 <= sum(n for _, n, _ in here[:1000]) <= 75
        if not constant:
            best = np.sort([s for _, _, s in here])[-200]
            assert np.mean([s >= best for _, n, s in here if n]) > 0.9


def test_the_threshold_follows_scores_that_fall():
    """After the network has learnt, all scores are a tenth: the budget is spent all the same."""
    rng = np.random.default_rng(2)
    scores = rng.random(6000) * np.where(np.arange(6000) < 3000, 1.0, 0.1)
    told = stream(Pacer(60, 3000, 1), 6000, lambda s: [(scores[s], rng.random())])
    assert sum(n for _, n, _ in told[3000:]) >= 50


@pytest.mark.parametrize("constant", [False, True], ids=["scores", "no scores"])
def test_a_small_budget_is_spent_over_the_whole_hour(constant):
    """5 of 20,000: far less than one in the window."""
    rng = np.random.default_rng(3)
    at = []
    for _ in range(8):
        scores, chances = rng.random(20_000) * (not constant), rng.random(20_000)
        told = stream(Pacer(5, 20_000, 1), 20_000, lambda s: [(scores[s], chances[s])])  # noqa: B023
        asked = [scan for scan, number, _ in told if number]
        assert 3 <= len(asked) <= 5
        at += asked
    assert np.mean([scan < 10_000 for scan in at]) > 0.3
