"""What a run will not learn, and whether its predictions still change: without any label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_runs import tiny_config

from annotator3d.active import pool_predictions
from annotator3d.active.outlook import advice, confusion, kappa, stability, unlearnt
from annotator3d.active.pool_predictions import SAMPLE, PoolPredictions
from annotator3d.cli import main as cli
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.engine.run import train
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.ledger import Ledger

CLASSES = 3


def predicted(*scans: list[int]) -> PoolPredictions:
    found = PoolPredictions.empty(CLASSES)
    for number, classes in enumerate(scans):
        found.add(f"00/{number:06d}", np.array(classes, np.uint8))
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0, 1, 2, 255]), max_size=200), min_size=1, max_size=5))
def test_points_and_scans_of_each_class_are_counted(scans):
    found = predicted(*scans)
    assert found.points.tolist() == [sum(s.count(c) for s in scans) for c in range(CLASSES)]
    assert found.scans.tolist() == [sum(c in s for s in scans) for c in range(CLASSES)]
    half = len(scans) // 2
    joined = predicted(*scans[:half])
    rest = PoolPredictions.empty(CLASSES)
    for number, classes in enumerate(scans[half:], start=half):
        rest.add(f"00/{number:06d}", np.array(classes, np.uint8))
    joined.join(rest)
    assert joined.points.tolist() == found.points.tolist()
    assert {k: v.tolist() for k, v in joined.samples.items()} == {
        k: v.tolist() for k, v in found.samples.items()
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=SAMPLE))
def test_kappa_is_that_of_the_definition(pairs):
    """Two scans of SAMPLE points show every point; agreement by chance is counted pair by pair."""
    old, new = (np.resize(side, SAMPLE).tolist() for side in zip(*pairs, strict=True))
    table = confusion(predicted(old), predicted(new))
    agreed = np.mean(np.equal(old, new))
    by_chance = np.mean([a == b for a in old for b in new])
    assert table.sum() == SAMPLE and np.trace(table) / SAMPLE == pytest.approx(agreed)
    expected = 1.0 if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)
    assert kappa(table) == pytest.approx(expected)


def test_points_without_a_prediction_and_scans_of_one_round_are_not_compared():
    before, now = predicted([0] * 64, [1] * 64), predicted([0] * 32 + [255] * 32)
    assert confusion(before, now).tolist() == [[32, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert confusion(before, PoolPredictions.empty(CLASSES)).sum() == 0


def test_advice_needs_three_rounds_and_stops_at_stable_predictions(tmp_path):
    rng = np.random.default_rng(0)
    scans = rng.integers(0, CLASSES, (40, SAMPLE))
    for round in range(1, 7):
        if round <= 3:  # a quarter of the points changes
            where = rng.random(scans.shape) < 0.25
            scans = np.where(where, rng.integers(0, CLASSES, scans.shape), scans)
        pool_predictions.store(tmp_path, round, predicted(*scans.tolist()))
    found = stability(tmp_path, range(1, 7))
    assert [each.round for each in found] == [2, 3, 4, 5, 6]
    assert [each.kappa for each in found[2:]] == [1.0, 1.0, 1.0]
    assert "too few" in advice(found[:2], None)
    assert advice(found[:3], None).startswith("Go on") and advice(found, 2.0).startswith("Stop")
    words = advice(found[:3], 2.0)
    assert "of about 2.0 h" in words and "an hour" in words


def test_rounds_of_another_class_list_or_without_a_network_are_not_compared(tmp_path):
    pool_predictions.store(tmp_path, 1, predicted([0] * 9))
    other = predicted([0] * 9)
    other.taxonomy = 2
    pool_predictions.store(tmp_path, 2, other)
    pool_predictions.store(tmp_path, 4, predicted([0] * 9))
    assert stability(tmp_path, [1, 2, 3, 4]) == []


def test_a_damaged_file_is_named(tmp_path):
    pool_predictions.store(tmp_path, 1, predicted([0]))
    (path,) = tmp_path.rglob("classes.npz")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"classes\.npz"):
        pool_predictions.read(tmp_path, 1)


def test_training_says_which_classes_no_answer_holds(make_kitti, tmp_path, capsys):
    root = make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)
    train(tiny_config(root), tmp_path / "al")
    work_dir = WorkDir(tmp_path / "al")
    names = SemanticKITTI(root, ["00"]).taxonomy.names
    with work_dir.ledger() as ledger:
        held = np.concatenate([answer.labels for _, answer in ledger.responses()])
        missing = unlearnt(ledger, pool_predictions.read(work_dir.rounds, 3), 3)
    assert [each.name for each in missing] == [n for c, n in enumerate(names) if c not in held]
    assert missing and all(each.queries == 12 and each.of == 4 for each in missing)
    assert cli.main(["report", str(tmp_path / "al")]) == 0
    page = (tmp_path / "al" / "report.html").read_text()
    assert "Is another round worth it?" in page and f"{missing[0].name} (0 of 12 answers" in page


def test_selecting_says_what_the_answers_lack(make_kitti, tmp_path, capsys):
    root = make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)
    config = str(tmp_path / "al" / "config.yaml")
    train(tiny_config(root), tmp_path / "al")
    (checkpoint,) = (tmp_path / "al" / "checkpoints").glob("epoch_4.pth")
    command = ["select", config, "--work-dir", str(tmp_path / "more")]
    command += ["--checkpoint", str(checkpoint), "--set", "active.oracle=person"]
    assert cli.main(command) == 0
    assert "not learnt so far" not in capsys.readouterr().out  # nothing is answered
    with Ledger.open_existing(tmp_path / "more" / "ledger.sqlite") as ledger:
        for query in ledger.open_queries():
            ledger.answer(query.id, np.zeros(query.num_points, np.uint8), annotator="a")
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "not learnt so far: bicycle (0 of 4 answers, predicted in" in said
