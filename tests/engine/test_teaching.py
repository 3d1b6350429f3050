"""`training.propagate` and `training.surface`, through a run: what is taught, kept and refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import taught_streets as streets
import torch
import yaml
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
from annotator3d.data.scan import VoxelLabels, rows_of_cell
from annotator3d.data.taught_labels import read_taught
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.config.schema import PropagateConfig, SurfaceConfig, TrainingConfig
from annotator3d.engine.run import train
from annotator3d.engine.teaching.renew import Teaching
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.models.segmentor import Segmentor

PLAIN = {"cell": 0.5, "scans": 2, "metres": 3.0, "occlusion": None}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return streets.make_streets(tmp_path_factory.mktemp("streets") / "sim")


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "sim")


@pytest.fixture(scope="module")
def ran(made, tmp_path_factory):
    """A finished run with both levers, and what it said."""
    work_dir, said = tmp_path_factory.mktemp("ran") / "run", Words()
    train(config_over(made, {"propagate": PLAIN, "surface": True}), work_dir, reporter=said)
    return WorkDir(work_dir), said.lines


def test_a_run_teaches_what_the_slow_reference_makes_of_ledger_scans_and_poses(made, tmp_path):
    train(config_over(made, {"propagate": PLAIN}), tmp_path / "run")
    work_dir, dataset = WorkDir(tmp_path / "run"), SemanticKITTI(made, ["00", "01"])
    with work_dir.ledger() as ledger:
        answers = ledger.labels_by_scan()
    moves = dataset.taxonomy.moves
    wanted = streets.expected(dataset, made, answers, 1.0, 0.5, 2, 3.0, moves)
    assert sum(map(len, wanted.values())) > 200
    for scan_id, labels in wanted.items():
        assert labels_in(work_dir.taught, scan_id) == labels


def test_the_purity_that_is_told_is_that_of_the_ground_truth(made, ran):
    work_dir, said = ran
    dataset = SemanticKITTI(made, ["00", "01"])
    counts = np.zeros((2, 2), int)
    for scan_id in dataset.ids:
        truth = dataset[scan_id].labels
        for kind in (0, 1):
            for row, label in labels_in(work_dir.taught, scan_id, kind).items():
                counts[kind] += [truth[row] != 255, truth[row] == label]
    record = json.loads(work_dir.teachings(2).read_text())
    assert np.sum(record["judged"]) == counts[0, 0] > 0
    assert np.sum(record["right"]) == counts[0, 1] > 0.8 * counts[0, 0]
    assert sum(record["surface_judged"]) == counts[1, 0] > 0
    assert sum(record["surface_right"]) == counts[1, 1]
    words = f"{100 * counts[0, 1] / counts[0, 0]:.1f} % ({counts[0, 0]:,} known points)"
    assert any(f"at the same place {words}" in line for line in said)
    assert any("points an answer" in line and "80 answers" in line for line in said)


def test_the_report_shows_how_many_points_an_answer_taught(ran, tmp_path):
    work_dir, _ = ran
    assert cli.main(["report", str(work_dir)]) == 0
    page = (work_dir.path / "report.html").read_text()
    record = json.loads(work_dir.teachings(2).read_text())
    taught = np.sum(record["taught"]) + np.sum(record["surface"])
    assert "What the answers taught" in page and f"<td>{taught / 80:.1f}</td>" in page
    assert "1:1" not in page and "between the sensors" in page


def test_nothing_that_is_taught_is_an_answer(made, ran, tmp_path):
    work_dir, _ = ran
    with work_dir.ledger() as ledger:
        asked = {(q.scan, q.cell) for q in ledger.queries()}
        labelled = sum(int((v.labels != 255).sum()) for _, v in ledger.labels())
        events = len(ledger.events())
    assert len(asked) == events == 80
    record = json.loads(work_dir.teachings(2).read_text())
    assert sum(record["answered"]) == labelled


def test_weights_follow_the_levers_and_not_the_processes_that_read(made, tmp_path):
    runs = {
        "off": ({}, {}),
        "on": ({"propagate": PLAIN}, {}),
        "workers": ({"propagate": PLAIN}, {"workers": 2}),
        "light": ({"propagate": {**PLAIN, "weight": 0.01}}, {}),
    }
    found = {}
    for name, (training, schedule) in runs.items():
        train(
            config_over(made, training, schedule={"epochs": 2, "batch_size": 2, **schedule}),
            tmp_path / name,
        )
        found[name] = weights(tmp_path / name)
    assert same(found["on"], found["workers"])
    assert not same(found["on"], found["off"]) and not same(found["on"], found["light"])


@pytest.mark.parametrize("setting", ["asfda", "ada"])
def test_it_works_from_a_source_and_beside_one(made, tmp_path, setting):
    on, off = from_a_source(made, tmp_path, setting, {"propagate": PLAIN})
    assert not same(on, off)
    assert labels_in(WorkDir(tmp_path / "on").taught, "00/000001")


@pytest.mark.parametrize("recipe", ["lasermix", "balanced", "paste"])
def test_a_mixed_scan_brings_its_taught_points_along(made, tmp_path, recipe):
    """Each labelled voxel of a mix without augmentation is one of a label that is known there."""
    config = config_over(
        made, {"propagate": PLAIN, "mix": recipe}, schedule={"augmentation": None, "epochs": 1},
        active={"rounds_at": [0]},
    )  # fmt: skip
    batches = []
    original = Segmentor._loss

    def watching(self, batch, source):
        if "weight" in batch:  # the trial before the run has none
            batches.append({k: batch[k].clone() for k in ("target", "weight")})
        return original(self, batch, source)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Segmentor, "_loss", watching)
        train(config, tmp_path / "run")
    target, weight = (torch.cat([batch[k] for batch in batches]) for k in ("target", "weight"))
    assert set(weight.tolist()) == {1.0, 0.5}
    assert ((weight == 0.5) <= (target != 255)).all() and ((weight == 1) & (target != 255)).any()


@pytest.mark.realdata
def test_on_real_scans_almost_all_that_is_taught_is_right(kitti_root, tmp_path):
    dataset = SemanticKITTI(kitti_root, ["00"])
    levers = TrainingConfig(propagate=PropagateConfig(), surface=SurfaceConfig())
    random, answers = np.random.default_rng(0), {}
    for scan_id in dataset.ids[:10]:
        scan = dataset[scan_id]
        cells = np.floor(scan.xyz / np.float32(0.25)).astype(int)
        picked = cells[random.choice(len(cells), 10)].tolist()
        answers[scan_id] = [
            VoxelLabels(tuple(c), scan.labels[rows_of_cell(scan.xyz, c, 0.25)], 1) for c in picked
        ]
    found = Teaching(dataset, levers, tmp_path, tmp_path / "rounds", 0.25).renew(answers)
    for right, judged, least in (
        (found.audit.right, found.audit.judged, 0.97),
        (found.audit.surface_right, found.audit.surface_judged, 0.9),
    ):
        assert judged.sum() > 1000 and right.sum() / judged.sum() > least
    assert found.misfits(dataset.ids) == []


@pytest.mark.parametrize("lost", [False, True])
def test_a_run_that_ended_at_any_step_goes_on_as_if_it_had_not(made, tmp_path, lost):
    config = config_over(made, {"propagate": PLAIN, "surface": True})
    train(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "broken", reporter=Stopping(7))
    if lost:  # made again from the ledger
        shutil.rmtree(tmp_path / "broken" / "taught")
    train(config, tmp_path / "broken", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def teaching(root, folder, surface=False, **keys):
    dataset = SemanticKITTI(root, ["00", "01"], labels="optional")
    levers = TrainingConfig(propagate=PropagateConfig(**{**PLAIN, **keys}), surface=surface)
    return Teaching(dataset, levers, folder, folder / "rounds", 1.0), dataset


def some_answers(dataset, seed=0):
    random, answers = np.random.default_rng(seed), {}
    for scan_id in dataset.ids:
        scan = dataset[scan_id]
        cells = np.floor(scan.xyz)
        picked = np.unique(cells[random.choice(len(cells), 6)], axis=0)
        answers[scan_id] = [
            VoxelLabels(tuple(map(int, c)), scan.labels[(cells == c).all(1)], 1) for c in picked
        ]
    return answers


def test_only_what_changed_is_made_again(root, tmp_path):
    made, dataset = teaching(root, tmp_path / "taught")
    answers = some_answers(dataset)
    assert made.renew(answers).made == 10
    assert made.renew(answers).made == 0
    first, *rest = answers["00/000000"]
    corrected = first._replace(labels=np.full_like(first.labels, 8))
    assert made.renew({**answers, "00/000000": [corrected, *rest]}).made == 3  # 0, 1 and 2
    assert made.renew(answers).made == 3
    streets.move(root, "01", 4, 0.1)
    again, _ = teaching(root, tmp_path / "taught")
    assert again.renew(answers).made == 3
    weighted, _ = teaching(root, tmp_path / "taught", weight=0.25)
    assert weighted.renew(answers).made == 0


def test_the_labels_are_the_same_for_any_number_of_processes(root, tmp_path):
    alone, dataset = teaching(root, tmp_path / "alone")
    answers = some_answers(dataset)
    whole = alone.renew(answers)
    shared = run_ranks(
        3, lambda world: teaching(root, tmp_path / "shared")[0].renew(answers, world=world)
    )
    assert shared.files.keys() == whole.files.keys() and len(whole.files) == 10
    for scan_id, file in whole.files.items():
        a, b = (read_taught(f.path, file.key) for f in (file, shared.files[scan_id]))
        assert a.keys() == b.keys() and all(
            np.array_equal(a[k], b[k], equal_nan=k == "fits") for k in a
        )


def test_without_ground_truth_independent_answers_say_how_good_it_is(root, tmp_path):
    with_truth, dataset = teaching(root, tmp_path / "with", cell=1.0)
    answers = some_answers(dataset)
    known = with_truth.renew(answers)
    for path in root.glob("sequences/*/labels/*.label"):
        path.unlink()
    without, _ = teaching(root, tmp_path / "without", cell=1.0)
    found = without.renew(answers)
    assert found.audit.judged.sum() == 0 and found.audit.checked.sum() > 0
    assert np.array_equal(found.audit.taught, known.audit.taught)
    assert np.array_equal(found.audit.agreed, known.audit.agreed)
    assert any("by answers about other scans" in line for line in found.describe(60))
    lonely = without.renew({"00/000000": answers["00/000000"]})
    assert any("nobody knows" in line for line in lonely.describe(6))


@pytest.mark.parametrize("metres", [2.0, -5.0])
def test_a_pose_that_jumps_is_named(root, tmp_path, metres):
    fine, dataset = teaching(root, tmp_path / "fine", scans=10, metres=20.0)
    answers = some_answers(dataset)
    assert fine.renew(answers).misfits(dataset.ids) == []
    streets.move(root, "00", 2, metres)
    jumping, _ = teaching(root, tmp_path / "jumping", scans=10, metres=20.0)
    named = jumping.renew(answers).misfits(dataset.ids)
    assert named and all("00/000002" in words for words in named)


def test_a_run_warns_of_poses_that_do_not_fit(root, tmp_path):
    streets.move(root, "01", 2, 3.0)
    said = Words()
    train(
        config_over(root, {"propagate": {**PLAIN, "metres": 20.0}}), tmp_path / "run", reporter=said
    )
    (line,) = {line for line in said.lines if line.startswith("warning: poses")}
    assert "01/000002" in line and "poses.txt" in line
    assert cli.main(["report", str(tmp_path / "run")]) == 0
    assert "Poses do not fit" in (tmp_path / "run/report.html").read_text()


def refused(config, work_dir):
    with pytest.raises((ConfigError, ValueError)) as error:
        train(config, work_dir)
    assert not work_dir.exists()
    return str(error.value)


def test_scans_without_poses_are_refused_and_some_of_them_told(root, tmp_path):
    config = config_over(root, {"propagate": PLAIN})
    (root / "sequences/01/poses.txt").unlink()
    said = Words()
    train(config, tmp_path / "half", reporter=said)
    assert any("5 scans of 10 without a pose" in line for line in said.lines)
    assert not labels_in(WorkDir(tmp_path / "half").taught, "01/000002")
    (root / "sequences/00/poses.txt").unlink()
    words = refused(config, tmp_path / "none")
    assert "training.propagate: none of the 10 scans of data.train has a pose" in words
    train(config_over(root, {"surface": True}), tmp_path / "surface")  # needs none


def test_poses_that_stretch_are_refused(root, tmp_path):
    path = root / "sequences/00/poses.txt"
    lines = path.read_text().splitlines()
    lines[1] = " ".join(str(2 * float(v)) for v in lines[1].split())
    path.write_text("\n".join(lines) + "\n")
    words = refused(config_over(root, {"propagate": PLAIN}), tmp_path / "run")
    assert "the pose of scan 00/000001" in words and "stretches" in words


def test_a_class_list_that_says_nothing_of_motion_is_asked_about(root, tmp_path):
    stock = yaml.safe_load(dump_taxonomy_of(root))
    del stock["moves"]
    path = tmp_path / "stock.yaml"
    path.write_text(yaml.safe_dump(stock))
    config = config_over(root, {"propagate": PLAIN})
    config.data.train["taxonomy"] = str(path)
    words = refused(config, tmp_path / "run")
    assert "does not say which classes move" in words and "name the classes that stay" in words
    config.training.propagate.classes = ["road", "building"]
    train(config, tmp_path / "named")
    names = list(stock["class_names"].values())
    record = json.loads(WorkDir(tmp_path / "named").teachings(2).read_text())
    taught = {names[c] for c in np.flatnonzero(np.sum(record["taught"], 1))}
    assert taught and taught <= {"road", "building"}


def dump_taxonomy_of(root):
    from annotator3d.data.taxonomy import dump_taxonomy

    return dump_taxonomy(SemanticKITTI(root, ["00"]).taxonomy)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (["raod"], "unknown class 'raod': did you mean 'road'"),
        (["car"], "'car' is a class that moves"),
    ],
)
def test_classes_that_cannot_be_taught_are_refused(root, tmp_path, classes, words):
    config = config_over(root, {"propagate": {**PLAIN, "classes": classes}})
    assert words in refused(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("training", "changes", "words"),
    [
        (
            {"propagate": True},
            {"setting": "target_only"},
            "training.propagate: setting target_only",
        ),
        ({"surface": True}, {"setting": "target_only"}, "training.surface: setting target_only"),
        (
            {"propagate": True},
            {"active": {"when": "online"}},
            "training.propagate: online selection",
        ),
        ({"propagate": {"cell": 2.0}}, {}, "training.propagate.cell: 2 m is larger than"),
        (
            {"propagate": {"scan": 2}},
            {},
            "unknown key 'training.propagate.scan': did you mean 'scans'",
        ),
        ({"surface": {"degrees": 120}}, {}, "training.surface.degrees: expected degrees above 0"),
        ({"propagate": "far"}, {}, "training.propagate: expected a table"),
    ],
)
def test_levers_that_cannot_act_are_refused_in_words(made, training, changes, words):
    with pytest.raises(ConfigError) as error:
        config_over(made, training, **changes)
    assert words in str(error.value)


def test_the_command_line_turns_it_on_and_gives_its_keys(made, tmp_path):
    (tmp_path / "config.yaml").write_text(dump_config(config_over(made, {})))
    sets = [
        "training.propagate.cell=0.25",
        "training.surface=true",
    ]
    command = ["train", str(tmp_path / "config.yaml"), "--work-dir", str(tmp_path / "run")]
    assert cli.main([*command, *(w for s in sets for w in ("--set", s))]) == 0
    kept = WorkDir(tmp_path / "run").config().training
    assert kept.propagate == PropagateConfig(cell=0.25) and kept.surface == SurfaceConfig()
