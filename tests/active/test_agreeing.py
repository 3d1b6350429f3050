"""What predictions teach, where scans agree, against a slow reference that goes point by point."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from posed import STATIC, pose, scan_of

from annotator3d.active.propagation.agreement import Agreed, AgreementRule, agree, ballot
from annotator3d.active.propagation.lesson import lesson
from annotator3d.active.propagation.places import to_world
from annotator3d.active.propagation.surface import SurfaceRule
from annotator3d.active.propagation.teaching import TeachingRule, Witness
from annotator3d.data.taught_labels import Kind


def reference(scans, number, cell, others):
    """Row -> label for a scan of (xyz, pose, predicted, answers, answered); points refuted."""
    said, answers = defaultdict(lambda: defaultdict(Counter)), defaultdict(set)
    for k, (xyz, matrix, predicted, given_to, _) in enumerate(scans):
        for place, label, answer in zip(to_world(xyz, matrix), predicted, given_to, strict=True):
            key = tuple(math.floor(v / cell) for v in place)
            if label != 255:
                said[key][k][int(label)] += 1
            if answer != 255:
                answers[key].add(int(answer))
    taught, refuted = {}, 0
    xyz, matrix, predicted, _, answered = scans[number]
    for row, place in enumerate(to_world(xyz, matrix)):
        key, label = tuple(math.floor(v / cell) for v in place), int(predicted[row])
        here = said[key]
        if answered[row] or not STATIC[label] or len(here.keys() - {number}) < others:
            continue
        if all(
            counts[label] > max([n for c, n in counts.items() if c != label], default=0)
            for counts in here.values()
        ):
            if answers[key] <= {label}:
                taught[row] = label
            else:
                refuted += 1
    return taught, refuted


def some_scan(random, points=60):
    xyz = random.uniform(-2, 2, (int(random.integers(0, points)), 3)).astype(np.float32)
    n = len(xyz)
    likely = random.choice([0, 3], p=[0.8, 0.2])  # scans often agree
    predicted = np.where(random.random(n) < 0.8, likely, random.choice([0, 1, 3, 255], n))
    answered = random.random(n) < 0.15
    answers = np.where(answered & (random.random(n) < 0.7), random.choice([0, 0, 1, 3], n), 255)
    matrix = pose(*random.uniform(-0.5, 0.5, 3), turn=random.uniform(0, 6))
    return xyz, matrix, predicted.astype(np.uint8), answers.astype(np.uint8), answered


def agreed_on(scans, number, cell, others):
    ballots = [ballot(xyz, matrix, said, to, cell) for xyz, matrix, said, to, _ in scans]
    xyz, matrix, predicted, _, answered = scans[number]
    own = ballots.pop(number)
    rule = AgreementRule(cell, others, STATIC)
    found = agree(xyz, matrix, predicted, answered, own, ballots, rule)
    again = agree(xyz, matrix, predicted, answered, own, ballots[::-1], rule)
    assert np.array_equal(found.rows, again.rows) and found.refuted == again.refuted
    assert (np.diff(found.rows) > 0).all()
    return dict(zip(found.rows.tolist(), found.labels.tolist(), strict=True)), found.refuted


@settings(max_examples=80)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.sampled_from([0.5, 1.0, 4.0]),
    st.integers(1, 3),
)
def test_points_are_taught_what_all_scans_predict_at_their_place(seed, count, cell, others):
    random = np.random.default_rng(seed)
    scans = [some_scan(random) for _ in range(count)]
    assert agreed_on(scans, 0, cell, others) == reference(scans, 0, cell, others)


PLACE = np.array([[1.1, 0.1, 0.1]] * 3, np.float32)
NOBODY = np.full(3, 255, np.uint8)


def saying(*predicted, answers=NOBODY, answered=None):
    answers = np.array(answers, np.uint8)
    answered = answers != 255 if answered is None else np.array(answered)
    return PLACE, pose(), np.array(predicted, np.uint8), answers, answered


def test_a_place_needs_enough_scans_a_majority_in_each_and_no_answer_against_it():
    road = saying(1, 1, 1)
    assert agreed_on([road, road, road], 0, 0.5, 2) == ({0: 1, 1: 1, 2: 1}, 0)
    assert agreed_on([road, road], 0, 0.5, 2) == ({}, 0)
    silent = saying(255, 255, 255)
    assert agreed_on([road, road, silent], 0, 0.5, 2) == ({}, 0)
    assert agreed_on([road, road, road, saying(0, 0, 1)], 0, 0.5, 2) == ({}, 0)
    assert agreed_on([road, road, road, saying(0, 255, 1)], 0, 0.5, 2) == ({}, 0)  # a tie
    assert agreed_on([saying(1, 0, 1), road, road], 0, 0.5, 2) == ({0: 1, 2: 1}, 0)
    assert agreed_on([saying(3, 3, 3)] * 3, 0, 0.5, 2) == ({}, 0)  # moves
    answered = saying(1, 1, 1, answers=[1, 255, 255])
    assert agreed_on([answered, road, road], 0, 0.5, 2) == ({1: 1, 2: 1}, 0)
    against = saying(1, 1, 1, answers=[0, 255, 255])
    assert agreed_on([against, road, road], 0, 0.5, 2) == ({}, 2)
    assert agreed_on([road, road, road, saying(*NOBODY, answers=[0, 255, 255])], 0, 0.5, 2) == (
        {},
        3,
    )
    ignored = saying(1, 1, 1, answered=[True, False, False])
    assert agreed_on([ignored, road, road], 0, 0.5, 2) == ({1: 1, 2: 1}, 0)


def test_points_at_no_place_that_a_number_can_name_say_nothing():
    far = np.array([[1.1, 0.1, 0.1], [3e38, 0, 0], [-4e9, 1, 1]], np.float32)
    scan = far, pose(), np.ones(3, np.uint8), np.array([255, 255, 0], np.uint8), far[:, 0] < 0
    assert agreed_on([scan, scan, scan], 0, 0.001, 2) == ({0: 1}, 0)


def test_what_answers_teach_stays_and_where_they_differ_predictions_have_no_say():
    step = 0.05
    xyz = np.array([[i * step, j * step, 0] for i in range(30) for j in range(30)], np.float32)
    answers = np.full(len(xyz), 255, np.uint8)
    answers[(np.abs(xyz[:, :2] - [0.7, 0.7]) < 0.06).all(1)] = 1
    differ, place = (
        int(np.argmin(np.linalg.norm(xyz - [x, y, 0], axis=1)))
        for x, y in ((0.85, 0.7), (0.1, 0.1))
    )
    other = Witness(pose(), xyz[[differ, place]], np.array([2, 2], np.uint8))
    has = answers != 255
    rows = np.flatnonzero(~has)
    truth = np.full(len(xyz), 1, np.uint8)
    truth[:300] = 0
    truth[-30:] = 255
    parts = {}
    for agreed in (None, Agreed(rows, np.zeros(len(rows), np.uint8), 7)):
        parts[agreed is None] = lesson(
            scan_of(xyz, truth), answers, has, Witness(pose(), xyz[has], answers[has]), [other], 4,
            TeachingRule(0.02, None, STATIC), SurfaceRule(0.3, 15.0), agreed=agreed,
        )  # fmt: skip
    without, found = parts[True], parts[False]
    added = found.taught.kinds == Kind.AGREEMENT
    assert np.array_equal(found.taught.rows[~added], without.taught.rows)
    assert np.array_equal(found.taught.labels[~added], without.taught.labels)
    assert set(found.taught.rows) == set(rows) - {differ} and place in without.taught.rows
    audit, more = found.audit, found.taught.rows[added]
    assert audit.agreement.tolist() == [len(more), 0, 0, 0]
    assert audit.agreement_judged.tolist() == [(truth[more] != 255).sum(), 0, 0, 0]
    assert audit.agreement_right.tolist() == [(truth[more] == 0).sum(), 0, 0, 0]
    assert (audit.refuted[0], audit.predicted[0], audit.agreement_scans[0]) == (7, 1, 1)
    assert without.audit.predicted[0] == 0 and np.array_equal(audit.taught, without.audit.taught)
