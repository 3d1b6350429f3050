"""How an answer is judged by what a network says of its points."""

import numpy as np
import pytest

from annotator3d.analysis.quality.model_check import check_answer
from annotator3d.analysis.quality.suspicion import describe_doubt, find_suspicious
from annotator3d.ledger.lineage import EventView
from annotator3d.ledger.records import Query
from annotator3d.ledger.schema import EventKind

RESPONSE = EventView(5, EventKind.ANSWER, "ann", None, b"", None, "1", "u")
CHANCES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]])


def judged(said, chances=CHANCES, effective=True, query=1):
    asked = Query(query, 1, "00/0", (11, 0, 4), 0, 0.0, 4)
    predicted = CHANCES.argmax(1).astype(np.uint8)
    return check_answer(asked, RESPONSE, effective, np.uint8(said), predicted, chances)


def test_the_mean_is_over_the_points_that_have_a_class():
    found = judged([0, 1, 255, 254])
    assert found.probability == pytest.approx(0.65) and found.agreement == 1.0
    found = judged([1, 1, 1, 1])
    assert found.probability == pytest.approx(0.25) and found.agreement == 0.25
    assert found.distance(0.25) == pytest.approx(np.hypot(2.875, 0.125))


def test_without_probabilities_only_agreement_is_told():
    assert judged([255, 255, 254, 255]) is None
    found = judged([0, 0, 255, 255], None)
    assert found.probability is None and found.agreement == 0.5


def test_the_worst_are_those_in_force_with_the_lowest_probability():
    low, lower, high = judged([1] * 4), judged([2] * 4, query=2), judged([0, 1, 2, 0], query=3)
    hidden, unknown = judged([2] * 4, effective=False), judged([2] * 4, None)
    everything = [low, lower, high, hidden, unknown]
    worst_first = sorted([low, lower], key=lambda j: j.probability)
    assert find_suspicious(everything, 0.5) == (worst_first, 3)
    assert high in find_suspicious(everything, 1.0)[0]


def test_the_reason_is_said_in_one_line():
    text = describe_doubt(judged([1, 1, 255, 1]), ["car", "road", "tree"], "epoch_4.pth")
    assert text == "epoch_4.pth gives road 26.7 % and predicts car, road, tree"
