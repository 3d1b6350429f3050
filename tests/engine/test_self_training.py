"""The adaptation before round 1: without labels, stopped without labels, the same when resumed."""

from __future__ import annotations

import json
import shutil

import distributed_runs as case
import numpy as np
import pytest
import torch
from processes import run_ranks
from resumed_runs import same
from several_ranks import Several
from stopped_runs import stopped_after, train_source
from tiny_runs import tiny_config

from annotator3d.data.batch import collate, make_sample
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.mixing.patches import with_patches
from annotator3d.data.scan import Scan
from annotator3d.engine import run as engine_run
from annotator3d.engine import self_training
from annotator3d.engine.build import input_rule, load_model
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.rounds.hook import WaitingForOracleError, weights_digest
from annotator3d.engine.run import train
from annotator3d.engine.training.checkpoint_file import read_checkpoint, read_weights
from annotator3d.engine.training.label_free import Look, look_at, score
from annotator3d.engine.training.runner import TrainLoop
from annotator3d.errors import ConfigError, RunStoppedError
from annotator3d.ledger.ledger import Ledger
from annotator3d.reporter import Reporter

ADAPT = {"epochs": 3, "lr_factor": 0.5, "stop": "none"}
TEACHER = {"floor": 0.05, "decay": 0.9}


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=200)


@pytest.fixture
def source(root, tmp_path):
    return train_source(root, tmp_path)


class Told(Reporter):
    def __init__(self):
        self.lines = []

    def info(self, text):
        self.lines.append(text)


def config_of(root, source, setting="asfda", adapt=ADAPT, **changes):
    changes.setdefault("schedule", {"epochs": 2})
    changes.setdefault("active", {"rounds_at": [0, 1]})
    training = {"adapt": dict(adapt), "teacher": dict(TEACHER)}
    return tiny_config(root, setting, init=source, training=training, **changes)


def ended(folder, epochs=2):
    """What a run leaves: network, ledger, what was adapted."""
    with Ledger.read(folder / "ledger.sqlite") as ledger:
        asked = ledger.export_canonical()
    last = read_checkpoint(folder / "checkpoints" / f"epoch_{epochs}.pth")
    card = json.loads((folder / "run.json").read_text())
    return asked, last["state_dict"], last["optimizer"], card.get("adaptation")


def adapted(folder):
    return read_checkpoint(folder / "adaptation" / "adapted.pth")


# What it is


@pytest.mark.parametrize("setting", ["asfda", "ada"])
def test_the_first_question_is_asked_of_the_adapted_network(root, source, tmp_path, setting):
    told = Told()
    train(config_of(root, source, setting), tmp_path / "run", reporter=told)
    train(config_of(root, source, setting, adapt={}), tmp_path / "plain")
    sources = []
    for name in ("run", "plain"):
        with Ledger.read(tmp_path / name / "ledger.sqlite") as ledger:
            sources.append(ledger.rounds()[0].source)
    assert sources[0] != sources[1]
    content = adapted(tmp_path / "run")
    weights = content["state_dict"]
    assert content["network"]["classes"][:2] == ["car", "bicycle"]
    model = load_model(config_of(root, source), 19, weights, "adapted.pth")
    assert sources[0] == weights_digest(model)
    assert content["adaptation"]["epochs"] == 3 and content["adaptation"]["steps"] == 6
    assert json.loads((tmp_path / "run" / "run.json").read_text())["adaptation"]["steps"] == 6
    assert any("6 steps in 3 epochs without a label" in line for line in told.lines)
    assert not list((tmp_path / "run" / "adaptation").glob("epoch_*.pth"))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2], "the schedule's epochs"
    assert read_checkpoint(tmp_path / "run/checkpoints/epoch_2.pth")["meta"]["iter"] == 4


def test_source_batches_are_learnt_beside_the_pseudo_labels_in_ada_alone(root, source, tmp_path):
    weights = []
    for setting in ("asfda", "ada"):
        train(config_of(root, source, setting), tmp_path / setting)
        weights.append(adapted(tmp_path / setting)["state_dict"])
    assert not same(*weights)


@pytest.mark.parametrize("setting", ["asfda", "ada"])
def test_the_control_uses_no_label_of_the_target(root, source, tmp_path, setting):
    """Once with the labels of the target and once with others."""
    control = {"active": {"rounds_at": []}, "data": {"val": None}}
    found = []
    for name in ("true", "garbage"):
        if name == "garbage":
            for path in (root / "sequences").glob("0[01]/labels/*.label"):
                path.write_bytes(np.full(path.stat().st_size // 4, 10, "<u4").tobytes())
        train(config_of(root, source, setting, **control), tmp_path / name)
        found.append((adapted(tmp_path / name), ended(tmp_path / name)))
    assert same(found[0][0], found[1][0])
    assert same(found[0][1], found[1][1])


# Mixing


MIX = {**ADAPT, "mix": True, "epochs": 2}


def labelled_scan(name, labels, seed):
    random = np.random.default_rng(seed)
    xyz = random.normal(0, 9, (len(labels), 3)).astype(np.float32)
    intensity = np.arange(len(labels), dtype=np.float32) + 1000 * seed
    return Scan(name, xyz, intensity, np.array(labels, np.uint8), np.arange(len(labels)), 9)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_patches_of_whole_classes_are_put_beside_all_points_of_a_scan(share):
    own = labelled_scan("own", [0, 255, 7], 1)
    other = labelled_scan("other", [1] * 6 + [2] * 7 + [3] * 8 + [255] * 9, 2)
    mixed = with_patches(own, other, share, np.random.default_rng(0))
    assert mixed.id == "own" and np.array_equal(mixed.xyz[:3], own.xyz)
    assert mixed.labels[:3].tolist() == own.labels.tolist()
    pasted = mixed.labels[3:]
    assert len(np.unique(pasted)) == {0.0: 1, 0.5: 1, 1.0: 3}[share]
    angles = {}
    for label in np.unique(pasted):
        assert (pasted == label).sum() == {1: 3, 2: 4, 3: 4}[label]
    for at, name in enumerate(
        mixed.intensity[3:].astype(int) - 2000, start=3
    ):  # which point it was
        before, after = other.xyz[name], mixed.xyz[at]
        assert mixed.labels[at] == other.labels[name]
        assert np.hypot(*after[:2]) == pytest.approx(np.hypot(*before[:2]), rel=1e-4)
        assert after[2] == before[2]
        turn = np.arctan2(after[1], after[0]) - np.arctan2(before[1], before[0])
        angles.setdefault(int(other.labels[name]), []).append(np.exp(1j * turn))
    assert all(np.ptp(np.array(each)) < 1e-3 for each in angles.values()), "a patch turns as one"
    if share == 1:
        assert len({np.round(each[0], 3) for each in angles.values()}) == 3


def test_a_scan_without_labels_has_no_patches():
    own, other = labelled_scan("own", [0, 1], 1), labelled_scan("other", [255] * 5, 2)
    assert len(with_patches(own, other, 1.0, np.random.default_rng(0))) == 2


def test_mixed_scans_are_trained_on_and_a_stopped_run_mixes_the_same(
    root, source, tmp_path, monkeypatch
):
    """With reading processes or without, and with other labels in the files of the target."""
    config = config_of(root, source, "ada", MIX, data={"val": None})
    train(config, tmp_path / "whole")
    plain = config_of(root, source, "ada", {**MIX, "mix": False}, data={"val": None})
    train(plain, tmp_path / "plain")
    whole = adapted(tmp_path / "whole")
    assert not same(whole["state_dict"], adapted(tmp_path / "plain")["state_dict"])
    taken = TrainLoop.run_iter

    def stopping(self, index, data):
        assert data["batch"]["scans"][0].labels is None, "no label of the target is read"
        taken(self, index, data)
        assert (data["batch"]["target"] != 255).any() and "raw" not in data["batch"]
        if self.iter == 3:
            self.stop.number = 15

    with monkeypatch.context() as patched:
        patched.setattr(TrainLoop, "run_iter", stopping)
        with pytest.raises(RunStoppedError):
            train(config, tmp_path / "broken")
    for path in (root / "sequences").glob("0[01]/labels/*.label"):
        path.write_bytes(np.full(path.stat().st_size // 4, 10, "<u4").tobytes())
    config.schedule.workers = 2
    with monkeypatch.context() as patched:
        patched.setattr(engine_run, "make_runner", lambda context: 1 / 0)
        with pytest.raises(ZeroDivisionError):  # the phase is over, and so is this test
            train(config, tmp_path / "broken", resume=True)
    assert same(adapted(tmp_path / "broken"), whole)


def test_there_is_nothing_to_mix_with_without_source_scans(root, source):
    with pytest.raises(ConfigError, match="training.adapt.mix: asfda has no source scans"):
        config_of(root, source, "asfda", MIX)


# When it stops


def look(*classes, shares=None, entropy=0.5):
    counted = np.bincount(classes, minlength=4) / len(classes)
    return Look(counted if shares is None else np.array(shares), entropy, [np.array(classes)])


def test_the_score_is_entropy_and_divergence_from_the_start():
    start = look(0, 1, 2, 3, shares=[0.4, 0.3, 0.2, 0.1])
    same_again = score(1, start, look(0, 1, 2, 3, shares=[0.4, 0.3, 0.2, 0.1], entropy=0.25))
    assert same_again.cost == pytest.approx(0.25) and same_again.changed == 0
    other = score(1, start, look(0, 0, 2, 3, shares=[0.5, 0.25, 0.125, 0.125]))
    by_hand = 0.4 * np.log(0.8) + 0.3 * np.log(1.2) + 0.2 * np.log(1.6) + 0.1 * np.log(0.8)
    assert other.drift == pytest.approx(by_hand / np.log(4)) and other.drift > 0
    assert (other.changed, other.classes) == (0.25, 3)
    gone = score(1, start, look(0, 0, 0, 0, shares=[1, 0, 0, 0], entropy=0.0))
    assert gone.cost > 0.5 + 1, "all one class is surer than anything, and worse"


def test_any_number_of_processes_looks_alike(root, source):
    config = config_of(root, source)
    model, rule = load_model(config, 19, read_weights(source), source), input_rule(config, 19)
    pool = SemanticKITTI(root, ["00", "01", "03"])
    looks = [look_at(model, pool, rule, Several(0, n), lambda *_: None) for n in (1, 2, 5)]
    for other in looks[1:]:
        assert np.array_equal(looks[0].shares, other.shares) and looks[0].entropy == other.entropy
        assert all(map(np.array_equal, looks[0].classes, other.classes))
    assert looks[0].shares.sum() == pytest.approx(1, abs=1e-5)
    logits = [model.eval()(make_batch(pool, i, rule)) for i in range(len(pool))]
    p = torch.cat(logits).softmax(1).double()
    entropy = -(p * p.log2()).sum(1).mean() / np.log2(19)
    assert looks[0].entropy == pytest.approx(entropy.item(), abs=1e-5)
    assert looks[0].shares == pytest.approx(p.mean(0).detach().numpy(), abs=1e-5)


def make_batch(pool, index, rule):
    return collate([make_sample(pool.read(index), rule)])


@pytest.mark.parametrize(
    ("costs", "far", "kept", "epochs"),
    [
        ([5, 4, 3, 4, 5, 1], None, 2, 4),
        ([1, 2, 3, 0, 0, 0], None, 0, 2),
        ([5, 4, 3, 2, 1, 0], None, 5, 5),
        ([5, 4, 1, 3, 4, 4], 2, 3, 5),
    ],
    ids=["in the middle", "before it began", "never", "one is too far"],
)
def test_it_ends_when_no_epoch_is_better_and_keeps_the_best(
    root, source, tmp_path, monkeypatch, costs, far, kept, epochs
):
    made, teachers = self_training.score, {}

    def fake(epoch, start, now):
        found = made(epoch, start, now)
        object.__setattr__(found, "entropy", costs[epoch] - found.drift)
        object.__setattr__(found, "changed", 0.3 if epoch == far else 0.2)
        return found

    watched = self_training.Judge.__call__

    def watching(self, finished):
        network = self.teaching.teacher.network
        teachers[finished] = {n: v.clone() for n, v in network.state_dict().items()}
        watched(self, finished)

    monkeypatch.setattr(self_training, "score", fake)
    monkeypatch.setattr(self_training.Judge, "__call__", watching)
    adapt = {"epochs": 5, "stop": "entropy", "patience": 2, "agreement": 0.8}
    told = Told()
    train(config_of(root, source, adapt=adapt), tmp_path / "run", reporter=told)
    content = adapted(tmp_path / "run")
    summary = content["adaptation"]
    assert (summary["kept_epoch"], summary["epochs"]) == (kept, epochs)
    assert summary["steps"] == 2 * epochs and sorted(teachers) == list(range(epochs + 1))
    assert same(content["state_dict"], teachers[kept])
    assert any("kept is the network as it was before" in line for line in told.lines) == (not kept)


# Stopped and killed


@pytest.mark.parametrize("step", [1, 2, 5])
@pytest.mark.parametrize("setting", ["asfda", "ada"])
def test_a_phase_stopped_at_any_step_ends_with_the_same_bits(
    root, source, tmp_path, monkeypatch, step, setting
):
    config = config_of(root, source, setting)
    train(config, tmp_path / "whole")
    with stopped_after(step):
        train(config, tmp_path / "broken")
    assert not (tmp_path / "broken" / "checkpoints").exists()
    told = Told()
    train(config, tmp_path / "broken", resume=True, reporter=told)
    assert any("adaptation: continuing from epoch_" in line for line in told.lines)
    assert same(adapted(tmp_path / "broken"), adapted(tmp_path / "whole"))
    assert same(ended(tmp_path / "broken"), ended(tmp_path / "whole"))


def test_a_run_killed_after_the_phase_does_not_train_it_again(root, source, tmp_path, monkeypatch):
    config = config_of(root, source)
    train(config, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(engine_run, "make_runner", lambda context: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(config, tmp_path / "broken")
    monkeypatch.setattr(self_training, "_train", None)  # calling it would fail
    train(config, tmp_path / "broken", resume=True)
    assert same(ended(tmp_path / "broken"), ended(tmp_path / "whole"))
    shutil.rmtree(tmp_path / "broken" / "adaptation")  # over: nothing needs it any more
    longer = config_of(root, source, schedule={"epochs": 3})
    train(longer, tmp_path / "broken", resume=True)
    assert ended(tmp_path / "broken", 3)[3]["steps"] == 6, "what was told stays in run.json"


def test_what_the_first_question_depends_on_cannot_change_any_more(root, source, tmp_path):
    config = config_of(root, source, active={"rounds_at": [0, 1], "oracle": "person"})
    with pytest.raises(WaitingForOracleError):
        train(config, tmp_path / "run")
    for key, other in (("adapt", {**ADAPT, "epochs": 2}), ("teacher", {**TEACHER, "floor": 0.2})):
        changed = config_of(root, source, active={"rounds_at": [0, 1], "oracle": "person"})
        for name, value in other.items():
            setattr(getattr(changed.training, key), name, value)
        with pytest.raises(ValueError, match=f"another config .training.{key}"):
            train(changed, tmp_path / "run", resume=True)


def test_several_processes_adapt_alike(root, source, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config_of(root, source, "ada")))
    codes = run_ranks(2, case.train, path, tmp_path / "run", log=tmp_path / "log")
    assert codes == [0, 0], "".join(p.read_text() for p in tmp_path.glob("log.*"))
    assert len({p.read_text() for p in tmp_path.glob("run.weights.*")}) == 1
    assert adapted(tmp_path / "run")["adaptation"]["steps"] == 3  # each of two processes


# What is refused


@pytest.mark.parametrize("setting", ["al", "source_only", "target_only"])
def test_it_is_refused_where_there_is_no_network_to_adapt(root, setting):
    with pytest.raises(ConfigError, match=r"training.adapt.epochs: .* no source network"):
        tiny_config(root, setting, training={"adapt": ADAPT})


def test_a_class_that_is_never_predicted_does_no_harm(root, source, tmp_path):
    content = read_checkpoint(source)
    bias = next(name for name in content["state_dict"] if name.endswith("head.bias"))
    content["state_dict"][bias][5] = -1e4
    torch.save(content, tmp_path / "never.pth")
    train(config_of(root, str(tmp_path / "never.pth")), tmp_path / "run")
    assert all(np.isfinite(s["drift"]) for s in adapted(tmp_path / "run")["adaptation"]["scores"])


@pytest.mark.parametrize(("sequence", "key"), [("0[01]", "data.train"), ("03", "data.source")])
def test_an_empty_domain_is_refused_before_anything_is_trained(
    root, source, tmp_path, sequence, key
):
    for path in (root / "sequences").glob(f"{sequence}/*/*.*"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=f"{key}: .* scans have errors.* it has no points"):
        train(config_of(root, source, "ada"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
