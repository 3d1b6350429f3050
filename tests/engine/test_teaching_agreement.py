"""`training.agreement`, through a run: what predictions teach, what is kept, said and refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading

import numpy as np
import pytest
import taught_streets as streets
from taught_streets import (
    Stopping,
    Words,
    config_over,
    from_a_source,
    labels_in,
    same,
    weights,
)
from thread_world import run_ranks

from annotator3d.cli import main as cli
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.taught_labels import Kind, read_taught
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.config.schema import AgreementConfig, TrainingConfig
from annotator3d.engine.run import train
from annotator3d.engine.teaching.renew import Teaching
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError

PLAIN = {"cell": 1.0, "scans": 2, "metres": 3.0, "others": 2}
SELF = {"rounds_at": [0, 1], "voxel_size": 1.0, "queries_per_scan": 4, "first_round": "self"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return streets.make_streets(tmp_path_factory.mktemp("streets") / "sim")


@pytest.fixture(scope="module")
def ran(made, tmp_path_factory):
    """A finished run whose rounds both stored predictions, and what it said."""
    work_dir, said = tmp_path_factory.mktemp("ran") / "run", Words()
    config = config_over(made, {"agreement": PLAIN}, active=SELF)
    train(config, work_dir, reporter=said)
    return WorkDir(work_dir), said.lines


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "sim")


def answers_of(work_dir, up_to_round=2):
    with work_dir.ledger() as ledger:
        return ledger.labels_by_scan(up_to_round=up_to_round)


def wanted(made, work_dir, answers, round):
    dataset = SemanticKITTI(made, ["00", "01"])
    folder, moves = work_dir.rounds / str(round), dataset.taxonomy.moves
    return streets.expected_of_predictions(dataset, made, folder, answers, 1.0, PLAIN, moves)


def test_a_run_is_taught_what_the_slow_reference_makes_of_the_newest_predictions(made, ran):
    work_dir, _ = ran
    answers = answers_of(work_dir)
    newest, before = (wanted(made, work_dir, answers, round) for round in (2, 1))
    assert sum(map(len, newest.values())) > 200 and newest != before
    for scan_id, labels in newest.items():
        assert labels_in(work_dir.taught, scan_id) == labels
        assert labels_in(work_dir.taught, scan_id, Kind.AGREEMENT) == labels


def test_its_purity_is_told_kept_and_shown(made, ran):
    work_dir, said = ran
    dataset, counts = SemanticKITTI(made, ["00", "01"]), np.zeros(3, int)
    for scan_id in dataset.ids:
        truth = dataset[scan_id].labels
        for row, label in labels_in(work_dir.taught, scan_id).items():
            counts += [1, truth[row] != 255, truth[row] == label]
    record = json.loads(work_dir.teachings(2).read_text())
    names = ("agreement", "agreement_judged", "agreement_right")
    assert [sum(record[name]) for name in names] == counts.tolist() and counts[2] > 0
    share = f"{100 * counts[2] / counts[1]:.1f} % ({counts[1]:,} known points)"
    assert f"round 2: purity of the points that predictions taught {share}" in said
    (line,) = [line for line in said if line.startswith("round 2: predictions taught")]
    assert f"{counts[0]:,} points" in line and "those of 10 of 10 scans took part" in line
    assert not any("same place" in line for line in said)  # answers were to teach nothing
    assert cli.main(["report", str(work_dir.path)]) == 0
    page = (work_dir.path / "report.html").read_text()
    assert "What predictions taught" in page
    row = [r"10 of 10", str(record["agreement_scans"][0]), f"{counts[0]:,}"]
    assert re.search(r"\s*".join(f"<td[^>]*>{cell}</td>" for cell in row), page)
    section = page[page.rindex("What predictions taught") :]
    for name, points in zip(record["classes"], record["agreement"], strict=True):
        row = rf"<td[^>]*>{name}</td>\s*<td[^>]*>{points:,}</td>"
        assert points == 0 or re.search(row, section)
    assert "What the answers taught" not in page


def test_records_of_earlier_versions_are_shown_as_they_were(made, tmp_path):
    levers = {"propagate": {"cell": 0.5, "scans": 2, "metres": 3.0}, "agreement": PLAIN}
    train(config_over(made, levers, active=SELF), tmp_path / "run")
    path = WorkDir(tmp_path / "run").teachings(2)
    record = json.loads(path.read_text())
    assert cli.main(["report", str(tmp_path / "run")]) == 0
    page = (tmp_path / "run/report.html").read_text()
    assert "What the answers taught" in page and "What predictions taught" in page
    later = {"by_answers", "by_predictions", "pool", "refuted", "predicted"}
    earlier = {k: v for k, v in record.items() if k not in later and "agreement" not in k}
    for number in (1, 2):
        WorkDir(tmp_path / "run").teachings(number).write_text(json.dumps(earlier))
    assert cli.main(["report", str(tmp_path / "run")]) == 0
    page = (tmp_path / "run/report.html").read_text()
    assert f"<td>{np.sum(record['taught']):,}</td>" in page
    assert "What the answers taught" in page and "What predictions taught" not in page


def test_rounds_without_predictions_teach_nothing_and_say_so_once_each(made, tmp_path):
    said, found = Words(), {}
    active = {"strategy": "random", "rounds_at": [0, 2]}
    longer = {"epochs": 4, "batch_size": 4}
    for name, levers in (("on", {"agreement": PLAIN}), ("off", {})):
        train(
            config_over(made, levers, active=active, schedule=longer),
            tmp_path / name,
            reporter=said,
        )
        found[name] = weights(tmp_path / name, 4)
    lines = [line for line in said.lines if "training.agreement teaches nothing" in line]
    assert [line[:8] for line in lines] == ["round 1:", "round 2:"]
    assert same(found["on"], found["off"])


def test_a_scan_that_the_newest_round_did_not_ask_about_has_no_part_in_it(made, tmp_path):
    active = {**SELF, "rounds_at": [0], "max_queries": 8}
    said = Words()
    train(
        config_over(made, {"agreement": {**PLAIN, "others": 1}}, active=active),
        tmp_path / "run",
        reporter=said,
    )
    work_dir = WorkDir(tmp_path / "run")
    stored = {p.stem.replace("_", "/") for p in (work_dir.rounds / "1").glob("0*_0*.npz")}
    assert 0 < len(stored) < 10
    assert any(f"those of {len(stored)} of 10 scans took part" in line for line in said.lines)
    for scan_id in SemanticKITTI(made, ["00", "01"]).ids:
        assert scan_id in stored or not labels_in(work_dir.taught, scan_id)


def test_weights_follow_the_lever_and_nothing_else(made, tmp_path):
    runs = {
        "off": ({}, {}),
        "on": ({"agreement": PLAIN}, {}),
        "workers": ({"agreement": PLAIN}, {"workers": 2}),
        "light": ({"agreement": {**PLAIN, "weight": 0.01}}, {}),
    }
    found = {}
    for name, (levers, schedule) in runs.items():
        changes = {"schedule": {"epochs": 2, "batch_size": 2, **schedule}, "active": SELF}
        train(config_over(made, levers, **changes), tmp_path / name)
        found[name] = weights(tmp_path / name)
    assert same(found["on"], found["workers"])
    assert not same(found["on"], found["off"]) and not same(found["on"], found["light"])
    with WorkDir(tmp_path / "on").ledger() as ledger:
        assert len(ledger.events()) == len(ledger.queries()) == 80  # nothing taught is an answer
    config = config_over(made, {"agreement": PLAIN}, active=SELF)
    for step in (3, 7):  # of the first round's epoch, of the second's
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / f"broken{step}", reporter=Stopping(step))
        shutil.rmtree(tmp_path / f"broken{step}" / "taught")
        train(config, tmp_path / f"broken{step}", resume=True)
        assert same(found["on"], weights(tmp_path / f"broken{step}"))


@pytest.mark.parametrize("setting", ["asfda", "ada"])
def test_it_works_from_a_source_and_beside_one(made, tmp_path, setting):
    on, off = from_a_source(made, tmp_path, setting, {"agreement": PLAIN})
    assert not same(on, off)
    assert labels_in(WorkDir(tmp_path / "on").taught, "00/000001", Kind.AGREEMENT)


def teaching(root, folder, rounds, **keys):
    dataset = SemanticKITTI(root, ["00", "01"], labels="optional")
    levers = TrainingConfig(agreement=AgreementConfig(**{**PLAIN, **keys}))
    return Teaching(dataset, levers, folder, rounds, 1.0)


def test_only_what_changed_is_made_again(made, ran, root, tmp_path):
    work_dir, _ = ran
    rounds, answers = shutil.copytree(work_dir.rounds, tmp_path / "rounds"), answers_of(work_dir)
    lever = teaching(root, tmp_path / "taught", rounds)
    assert lever.renew(answers, round=2).made == 10
    assert lever.renew(answers, round=2).made == 0
    assert lever.renew(answers, round=1).made == 10
    assert lever.renew(answers, round=2).made == 10
    path = rounds / "2" / "00_000000.npz"
    os.utime(path, ns=(0, 0))  # written again
    assert lever.renew(answers, round=2).made == 3  # 0, 1 and 2
    path.unlink()
    found = lever.renew(answers, round=2)
    assert found.made == 3 and found.audit.predicted[0] == 9
    first, *rest = answers["01/000004"]
    corrected = first._replace(labels=np.full_like(first.labels, 8))
    assert lever.renew({**answers, "01/000004": [corrected, *rest]}, round=2).made == 3
    streets.move(root, "01", 0, 0.1)
    moved = teaching(root, tmp_path / "taught", rounds)
    assert moved.renew(answers, round=2).made == 5
    assert teaching(root, tmp_path / "taught", rounds, weight=0.1).renew(answers, round=2).made == 0


def test_the_labels_are_the_same_for_any_number_of_processes(made, ran, tmp_path):
    work_dir, _ = ran
    answers, rounds = answers_of(work_dir), work_dir.rounds
    whole = teaching(made, tmp_path / "alone", rounds).renew(answers, round=2)
    shared = run_ranks(
        3,
        lambda world: teaching(made, tmp_path / "shared", rounds).renew(
            answers, world=world, round=2
        ),
    )
    assert shared.files.keys() == whole.files.keys() and len(whole.files) > 5
    for scan_id, file in whole.files.items():
        a, b = (read_taught(f.path, file.key) for f in (file, shared.files[scan_id]))
        assert a.keys() == b.keys() and all(
            np.array_equal(a[k], b[k], equal_nan=k == "fits") for k in a
        )


def test_processes_that_see_other_predictions_are_refused(made, ran, tmp_path):
    work_dir, _ = ran
    copy = shutil.copytree(work_dir.rounds, tmp_path / "copy")
    (copy / "2" / "00_000003.npz").unlink()

    def work(world):
        rounds = work_dir.rounds if world.is_first else copy
        try:
            teaching(made, tmp_path / f"taught{world.rank}", rounds).renew(
                answers_of(work_dir), world=world, round=2
            )
        except (ValueError, threading.BrokenBarrierError) as error:
            return str(error)

    words = run_ranks(2, work)
    assert "stored predictions of process 1" in words and "round 2; let all processes" in words


def test_without_ground_truth_nobody_knows_how_good_it_is(ran, root, tmp_path):
    work_dir, _ = ran
    for path in root.glob("sequences/*/labels/*.label"):
        path.unlink()
    lever = teaching(root, tmp_path / "taught", work_dir.rounds)
    found = lever.renew(answers_of(work_dir), round=2)
    assert found.audit.agreement.sum() > 200 and found.audit.agreement_judged.sum() == 0
    assert "nobody knows" in found.describe(80)[-1]


def test_scans_without_poses_are_refused_and_some_of_them_told(root, tmp_path):
    config = config_over(root, {"agreement": PLAIN}, active=SELF)
    (root / "sequences/01/poses.txt").unlink()
    said = Words()
    train(config, tmp_path / "half", reporter=said)
    assert any(
        line.startswith("training.agreement: 5 scans of 10 without a pose") for line in said.lines
    )
    assert not labels_in(WorkDir(tmp_path / "half").taught, "01/000002")
    (root / "sequences/00/poses.txt").unlink()
    with pytest.raises(ConfigError) as error:
        train(config, tmp_path / "none")
    assert "training.agreement: none of the 10 scans of data.train has a pose" in str(error.value)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("keys", "changes", "words"),
    [
        ({}, {"setting": "target_only"}, "training.agreement: setting target_only"),
        ({}, {"setting": "source_only"}, "training.agreement: setting source_only"),
        ({}, {"active": {"when": "online"}}, "training.agreement: online selection"),
        ({"others": 5, "scans": 2}, {}, "training.agreement.others: 5 other scans"),
        ({"other": 2}, {}, "unknown key 'training.agreement.other': did you mean 'others'"),
        ({"weight": 0}, {}, "training.agreement.weight: expected a weight above 0"),
    ],
)
def test_levers_that_cannot_act_are_refused_in_words(made, keys, changes, words):
    with pytest.raises(ConfigError) as error:
        config_over(made, {"agreement": {**PLAIN, **keys}}, **changes)
    assert words in str(error.value)


def test_classes_that_move_are_refused(made, tmp_path):
    with pytest.raises(ConfigError, match=r"training.agreement.classes: 'car' is a class that mov"):
        train(config_over(made, {"agreement": {"classes": ["car"]}}), tmp_path / "run")


def test_the_command_line_turns_it_on_and_gives_its_keys(made, tmp_path):
    (tmp_path / "config.yaml").write_text(dump_config(config_over(made, {})))
    command = ["train", str(tmp_path / "config.yaml"), "--work-dir", str(tmp_path / "run")]
    assert cli.main([*command, "--set", "training.agreement.cell=0.5"]) == 0
    assert WorkDir(tmp_path / "run").config().training.agreement == AgreementConfig(cell=0.5)
    assert config_over(made, {"agreement": True}).training.agreement == AgreementConfig()
