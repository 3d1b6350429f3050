"""The model of seconds per answer: what it finds, what it predicts, how far off it says it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator3d.active.timing import (
    TimeModel,
    after_answers,
    before_answers,
    held_out,
    total_interval,
)
from annotator3d.ledger.effort import Effort
from annotator3d.ledger.records import Query


def people_of(count, random, names=("anna", "ben")):
    return random.choice(names, count).tolist()


def answers(count, random, spread=0.3):
    """Features [n, 2], people and seconds of answers whose times follow a known law."""
    features = random.uniform(0, 4, (count, 2))
    people = people_of(count, random)
    pace = np.where(np.array(people) == "ben", 1.5, 1.0)
    seconds = 6 * pace * 1.4 ** features[:, 0] * np.exp(random.normal(0, spread, count))
    return features, people, seconds


def test_the_factors_of_features_and_people_are_found():
    model = TimeModel(*answers(3000, np.random.default_rng(0)))
    # fitted to the logarithm of 1 + seconds, so a little nearer to 1 than for the seconds
    assert model.factors == pytest.approx([1.4, 1.0], abs=0.05)
    ben, anna = model.person_factors["ben"], model.person_factors["anna"]
    assert ben / anna == pytest.approx(1.5, abs=0.1) and anna < 1 < ben


@given(st.integers(0, 999), st.integers(2, 60), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_predictions_of_what_was_fitted_add_up_to_what_it_took(seed, count, columns):
    random = np.random.default_rng(seed)
    features, seconds = random.normal(0, 2, (count, columns)), random.exponential(9, count)
    features[:, 0] = 3  # a feature that does not vary, as where nothing was predicted
    people = people_of(count, random, ("a", "b", "c"))
    model = TimeModel(features, people, seconds)
    for who in (people, None):
        predicted = model.predict(features, who)
        assert (predicted >= 0).all()
        assert predicted.sum() >= seconds.sum() * (1 - 1e-9)  # more only by cutting at 0
        if predicted.min() > 0:
            assert predicted.sum() == pytest.approx(seconds.sum())


def test_somebody_unknown_takes_as_long_as_the_mean_person():
    random = np.random.default_rng(1)
    features, people, seconds = answers(1000, random)
    model = TimeModel(features, people, seconds)
    anna, ben = (model.predict(features[:1], [name])[0] for name in ("anna", "ben"))
    assert anna < model.predict(features[:1], ["zoe"])[0] < ben
    assert anna < model.predict(features[:1])[0] < ben


def test_a_person_with_few_answers_stays_near_the_mean():
    random = np.random.default_rng(2)
    features, seconds = random.uniform(0, 1, (200, 1)), np.full(200, 5.0)
    seconds[-1] = 50.0
    people = ["anna"] * 199 + ["ben"]
    assert TimeModel(features, people, seconds).person_factors["ben"] < 2


def test_held_out_errors_beat_the_mean_only_where_features_tell():
    random = np.random.default_rng(3)
    features, people, seconds = answers(600, random, spread=0.2)
    told = held_out(features, people, seconds)
    assert told.answer < 0.75 * told.answer_mean
    blind = held_out(random.normal(0, 1, features.shape), people, seconds)
    assert blind.answer == pytest.approx(blind.answer_mean, rel=0.15)
    assert 0 < told.total < 0.2 and 0 < told.total_mean < 0.2


def test_held_out_errors_are_those_of_stretches_that_were_left_out():
    """Somebody who gets faster: the stretches differ, and shuffled answers would hide it."""
    seconds = np.concatenate([np.full(40, s) for s in (16.0, 8.0, 4.0, 2.0, 1.0)])
    error = held_out(np.zeros((200, 1)), ["anna"] * 200, seconds)
    means = [seconds[np.arange(200) // 40 != fold].mean() for fold in range(5)]
    off = [abs(mean - s) for mean, s in zip(means, (16, 8, 4, 2, 1), strict=True)]
    assert error.answer_mean == pytest.approx(np.mean(off))
    relative = [o / s for o, s in zip(off, (16, 8, 4, 2, 1), strict=True)]
    assert error.total_mean == pytest.approx(np.mean(relative))


def test_the_interval_holds_the_total_about_as_often_as_it_says():
    random, hits, trials = np.random.default_rng(4), 0, 40
    for _ in range(trials):
        features, people, seconds = answers(160, random, spread=0.5)
        past, ahead = slice(0, 100), slice(100, None)
        low, high = total_interval(
            features[past], people[past], seconds[past], features[ahead], np.ones(60, int)
        )
        assert low < high
        hits += low <= seconds[ahead].sum() <= high
    assert hits >= 0.78 * trials  # 90 % but for what 40 trials leave open


def test_an_interval_is_repeatable_and_grows_with_the_waiting_answers():
    features, people, seconds = answers(100, np.random.default_rng(5))
    ahead = features[:10]
    once = total_interval(features, people, seconds, ahead, np.ones(10, int))
    assert once == total_interval(features, people, seconds, ahead, np.ones(10, int))
    twice = total_interval(features, people, seconds, ahead, np.full(10, 2))
    assert twice[0] > 1.6 * once[0] and twice[1] > 1.6 * once[1]


def test_features_are_points_range_and_classes():
    query = Query(1, 1, "a", (3, -4, 0), 0, 0.0, 8)
    metres = np.sqrt(3.5**2 + 3.5**2 + 0.5**2) * 0.5
    before = before_answers([query, query], 0.5, [3, None])
    assert before[0] == pytest.approx([3, metres / 10, 2, 1])
    assert before[1] == pytest.approx([3, metres / 10, 0, 0])
    assert before_answers([query], 0.5).tolist() == before[1:].tolist()
    work = Effort(query, "anna", answered=True, seconds=1.0, classes=2, proposal=False)
    assert after_answers([work], 0.5)[0] == pytest.approx([3, metres / 10, 1, 0, 1])
