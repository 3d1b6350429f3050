"""Oracles, class lists and the options of a session, through the door."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_runs import tiny_config

import annotator3d as a3d


@pytest.fixture
def question():
    """A query about four points of a scan of two classes."""
    xyz = np.full((6, 3), 0.1, np.float32)
    labels = np.uint8([0, 0, 1, 255, 1, 1])
    scan = a3d.Scan.from_raw("00/000000", xyz, np.zeros(6, np.float32), labels)
    query = a3d.Query(1, 1, scan.id, (0, 0, 0), 0, 0.5, 4)
    return query, scan, np.array([0, 1, 2, 3])


def test_the_ground_truth_answers_each_point(question):
    query, scan, points = question
    answer = a3d.GroundTruthOracle().answer(query, scan, points)
    assert isinstance(answer, a3d.Answer) and answer.labels.tolist() == [0, 0, 1, 255]
    unlabelled = a3d.Scan.from_raw("00/000000", scan.xyz, scan.intensity)
    for oracle in (a3d.GroundTruthOracle(), a3d.NoisyOracle()):
        with pytest.raises(ValueError, match="00/000000 has no label file"):
            oracle.answer(query, unlabelled, points)


def test_a_person_answers_later_and_a_simulated_one_errs(question):
    assert a3d.HumanOracle().answer(*question) is None
    perfect = a3d.NoisyOracle().answer(*question)
    assert perfect.labels.tolist() == [0, 0, 1, 255] and perfect.seconds > 0
    hasty = a3d.NoisyOracle(confusion={"car": {"road": 1.0}}, class_names=["car", "road"])
    assert hasty.answer(*question).labels.tolist() == [1, 1, 1, 255]
    with pytest.raises(a3d.ConfigError, match="unknown class 'cat'.*did you mean 'car'"):
        a3d.NoisyOracle(confusion={"cat": {"road": 0.1}}, class_names=["car", "road"])


def test_class_lists_are_known_by_name():
    taxonomy = a3d.load_taxonomy("semantickitti19")
    assert isinstance(taxonomy, a3d.Taxonomy) and len(taxonomy.names) == 19
    with pytest.raises(ValueError, match="did you mean 'semantickitti19'"):
        a3d.load_taxonomy("semantickitti18")


def test_a_session_takes_options_and_can_be_a_review(tmp_path, make_kitti):
    root = make_kitti(sequences=("00", "01"), scans=1)
    run = a3d.Run.from_config(tiny_config(root, active={"strategy": "random"}), tmp_path / "run")
    run.select()
    with pytest.raises(a3d.ConfigError, match="order"):
        run.session("anna", options=a3d.SessionOptions(order="alphabetical"))
    with run.session("anna", options=a3d.SessionOptions(order="score")) as session:
        assert isinstance(session, a3d.LabelSession)
        session.assign("car")
    with run.session("ben", review=a3d.Criteria()) as review:
        assert review.current.id == 1 or review.current.id == 2
        assert review.to_review == 1
