"""Confusion matrix and mIoU against hand counts and a slow twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator3d.engine.metrics import confusion_matrix, iou_from_confusion


def test_hand_computed_case():
    truth = np.array([0, 0, 0, 1, 1, 255, 2], np.uint8)
    predicted = np.array([0, 0, 1, 1, 255, 0, 0], np.uint8)
    confusion = confusion_matrix(truth, predicted, 4)
    assert confusion.tolist() == [[2, 1, 0, 0, 0], [0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0] * 5]
    iou, mean = iou_from_confusion(confusion)
    # class 0: 2 / (3 + 1); class 1: 1 / (2 + 1); class 2: 0 / 1; class 3 is absent.
    assert iou[:3] == pytest.approx([0.5, 1 / 3, 0.0])
    assert math.isnan(iou[3])
    assert mean == pytest.approx((0.5 + 1 / 3) / 3)


def test_a_point_without_prediction_is_a_miss():
    confusion = confusion_matrix(np.array([0, 0], np.uint8), np.array([0, 255], np.uint8), 1)
    assert iou_from_confusion(confusion)[1] == pytest.approx(0.5)


def test_predictions_of_an_absent_class_still_count_as_misses():
    confusion = confusion_matrix(np.array([0, 0], np.uint8), np.array([0, 1], np.uint8), 2)
    iou, mean = iou_from_confusion(confusion)
    assert iou[0] == mean == pytest.approx(0.5)
    assert math.isnan(iou[1])


def test_rare_classes_can_be_left_out_by_their_number_of_points():
    confusion = np.array([[100, 0, 0], [1, 1, 0]])
    iou, mean = iou_from_confusion(confusion, min_points=3)
    assert math.isnan(iou[1]) and mean == pytest.approx(100 / 101)


def test_nothing_to_count_has_no_mean():
    assert math.isnan(iou_from_confusion(np.zeros((2, 3), np.int64))[1])


labels = st.lists(st.tuples(st.sampled_from([0, 1, 2, 255]), st.sampled_from([0, 1, 2, 255])))


@given(labels)
def test_iou_equals_sets_of_points(pairs):
    truth = np.array([t for t, _ in pairs], np.uint8)
    predicted = np.array([p for _, p in pairs], np.uint8)
    iou, _ = iou_from_confusion(confusion_matrix(truth, predicted, 3))
    for c in range(3):
        real = {i for i, (t, _) in enumerate(pairs) if t == c}
        said = {i for i, (t, p) in enumerate(pairs) if p == c and t != 255}
        if real:
            assert iou[c] == pytest.approx(len(real & said) / len(real | said))
        else:
            assert math.isnan(iou[c])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="truth has 2 points, predicted has 1"):
        confusion_matrix(np.zeros(2, np.uint8), np.zeros(1, np.uint8), 3)
    with pytest.raises(ValueError, match="predicted: class 7 is out of range 0..2"):
        confusion_matrix(np.zeros(1, np.uint8), np.full(1, 7, np.uint8), 3)
