"""Rules of the loop, through `train`: settings, budgets, source batches, first round, refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.optim import scheduler
from tiny_runs import tiny_config

from annotator3d.engine.config.load import find_config, load_config
from annotator3d.engine.config.schema import ScheduleConfig
from annotator3d.engine.prediction import predict_raw
from annotator3d.engine.rounds.hook import WaitingForOracleError
from annotator3d.engine.rounds.select_only import select_only
from annotator3d.engine.run import train
from annotator3d.engine.training.optim import learning_rate
from annotator3d.engine.training.runner import TrainLoop
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)


@pytest.fixture
def source(root, tmp_path):
    config = tiny_config(root, "source_only", schedule={"epochs": 1})
    record = train(config, tmp_path / "source")
    return str(record.work_dir.checkpoints / "epoch_1.pth")


def queries_of(work_dir, round=None):
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        return [(q.scan, q.cell) for q in ledger.queries(round)]


def test_five_files_a_run_leaves_and_what_they_say(root, tmp_path):
    record = train(tiny_config(root, "al"), tmp_path / "al")
    card = json.loads((tmp_path / "al" / "run.json").read_text())
    assert card["state"] == "done" and card["setting"] == "al"
    assert card["ledger"]["voxels"] == card["ledger"]["answered"] == 12
    assert [meter["voxels"] for meter in card["rounds"]] == [4, 4, 4]
    assert all(meter["classes_per_voxel"] >= 1 for meter in card["rounds"])
    last = record.final()
    assert (last["epoch"], last["round"], last["final"], last["voxels"]) == (4, 3, True, 12)
    assert sum(map(sum, last["confusion"])) == sum(last["points_per_class"].values())
    lines = list(map(json.loads, (tmp_path / "al" / "metrics.jsonl").read_text().splitlines()))
    assert [(line["epoch"], line["voxels"]) for line in lines] == [(1, 4), (2, 8), (4, 12)]
    queried = {scan.replace("/", "_") for scan, _ in queries_of(tmp_path / "al", 2)}
    kept = {p.stem for p in (tmp_path / "al" / "rounds" / "2").glob("*.npz")}
    assert kept == queried
    with np.load(tmp_path / "al" / "rounds" / "2" / "00_000000.npz") as kept:
        assert kept["prediction"].shape == kept["score"].shape == (300,)


def test_the_budget_is_exact_and_no_voxel_is_asked_twice(root, tmp_path):
    train(tiny_config(root, active={"queries_per_scan": 2, "max_queries": 5}), tmp_path / "al")
    for number in (1, 2, 3):
        asked = queries_of(tmp_path / "al", number)
        scans = [scan for scan, _ in asked]
        assert len(asked) == 5 and max(map(scans.count, scans)) <= 2
        kept = {p.stem for p in (tmp_path / "al" / "rounds" / str(number)).glob("*.npz")}
        assert kept == ({scan.replace("/", "_") for scan in scans} if number > 1 else set())
    everything = queries_of(tmp_path / "al")
    assert len(set(everything)) == len(everything) == 15


def test_al_asks_the_same_first_voxels_whatever_the_strategy(root, tmp_path):
    for strategy in ("random", "vcd", "entropy", "margin"):
        config = tiny_config(root, active={"strategy": strategy, "rounds_at": [0]})
        train(config, tmp_path / strategy)
    first = queries_of(tmp_path / "random", 1)
    assert all(queries_of(tmp_path / s, 1) == first for s in ("vcd", "entropy", "margin"))
    config = tiny_config(root, active={"first_round": "self", "rounds_at": [0]})
    train(config, tmp_path / "self")
    assert queries_of(tmp_path / "self", 1) != first


@pytest.mark.parametrize("setting", ["asfda", "ada"])
def test_without_a_source_checkpoint_nothing_is_begun(root, tmp_path, setting):
    with pytest.raises(ValueError, match=f"init: {setting} starts from a source checkpoint"):
        train(tiny_config(root, setting), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_network_is_refused(root, tmp_path, source):
    config = tiny_config(root, "asfda", init=source)
    config.model.backbone["planes"] = [8, 4, 8, 8, 4]
    with pytest.raises(ValueError, match="do not fit the network of the config"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_would_run_code_is_refused(root, tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("code ran",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    config = tiny_config(root, "asfda", init=str(tmp_path / "evil.pth"))
    with pytest.raises(ValueError, match="is not a checkpoint of tensors"):
        train(config, tmp_path / "run")


def test_source_batches_stop_at_their_epoch(root, tmp_path, source, monkeypatch):
    seen = []
    step = TrainLoop.run_iter

    def watch(self, index, data):
        seen.append((self._epoch, "source" in data))
        step(self, index, data)

    monkeypatch.setattr(TrainLoop, "run_iter", watch)
    train(tiny_config(root, "ada", init=source), tmp_path / "ada")
    assert {epoch for epoch, mixed in seen if mixed} == {0, 1, 2}
    assert {epoch for epoch, mixed in seen if not mixed} == {3}


def test_zero_labels_train_without_a_single_query(root, tmp_path, source):
    config = tiny_config(root, "ada", init=source, active={"rounds_at": []})
    record = train(config, tmp_path / "zero")
    assert queries_of(tmp_path / "zero") == [] and record.final()["voxels"] == 0
    start = torch.load(source, weights_only=True)["state_dict"]
    end = torch.load(record.work_dir.checkpoints / "epoch_4.pth", weights_only=True)["state_dict"]
    assert all(v.isfinite().all() for v in end.values() if v.is_floating_point())
    assert any(not torch.equal(start[k], end[k]) for k in start)


def test_batch_norm_is_adapted_to_the_pool_before_round_1(root, tmp_path, source, monkeypatch):
    from annotator3d.engine.rounds import hook as rounds

    seen = {}
    select = rounds.select_round

    def watch(ledger, pool, plan, *args, **kwargs):
        if plan.number == 1:
            seen["source"] = plan.source
        return select(ledger, pool, plan, *args, **kwargs)

    monkeypatch.setattr(rounds, "select_round", watch)
    digests = []
    for adapt in (True, False):
        config = tiny_config(root, "asfda", init=source, active={"rounds_at": [0]})
        config.model.adapt_bn = adapt
        train(config, tmp_path / f"asfda{adapt}")
        digests.append(seen["source"])
    assert digests[0] != digests[1], "the weights that score round 1 must differ"


def test_a_work_dir_is_never_mixed_up(root, tmp_path):
    config = tiny_config(root, schedule={"epochs": 3})
    train(config, tmp_path / "al")
    with pytest.raises(ValueError, match="already holds a run"):
        train(config, tmp_path / "al")
    with pytest.raises(ValueError, match="another config .seed: 0, now 1"):
        train(replace(config, seed=1), tmp_path / "al", resume=True)
    record = train(config, tmp_path / "al", resume=True)
    assert record.final()["final"]


def test_a_person_is_waited_for_and_asked_nothing_twice(root, tmp_path):
    config = tiny_config(root, active={"oracle": "person", "rounds_at": [0, 1]})
    with pytest.raises(WaitingForOracleError) as waiting:
        train(config, tmp_path / "al")
    assert waiting.value.open_queries == 4
    before = queries_of(tmp_path / "al")
    with pytest.raises(WaitingForOracleError):
        train(config, tmp_path / "al", resume=True)
    assert queries_of(tmp_path / "al") == before
    with Ledger.read(tmp_path / "al" / "ledger.sqlite") as ledger:
        names, digest, size = ledger.taxonomy_names, ledger.taxonomy_digest, ledger.voxel_size
    with Ledger.open(tmp_path / "al" / "ledger.sqlite", names, digest, size) as ledger:
        for query in ledger.open_queries():
            ledger.answer(query.id, np.zeros(query.num_points, np.uint8), annotator="test")
    with pytest.raises(WaitingForOracleError):
        train(config, tmp_path / "al", resume=True)  # now the second round waits
    assert len(queries_of(tmp_path / "al")) == 8


def test_points_that_are_not_finite_count_as_missed(root):
    from annotator3d.data.datasets.sequences import SemanticKITTI
    from annotator3d.engine.build import build_model, input_rule
    from annotator3d.engine.prediction import evaluate

    path = root / "sequences" / "02" / "velodyne" / "000000.bin"
    raw = np.fromfile(path, "<f4").reshape(-1, 4)
    raw[5, 0] = np.nan
    raw.tofile(path)
    config = tiny_config(root)
    dataset, model = SemanticKITTI(root, ["02"]), build_model(config, 19)
    rule = input_rule(config, 19)
    predicted = predict_raw(model, dataset.read(0), rule)
    assert len(predicted) == 300 and (np.flatnonzero(predicted == 255) == [5]).all()
    labelled = sum(int((dataset.read(i).raw_labels != 255).sum()) for i in range(2))
    confusion = evaluate(model, dataset, rule)
    assert confusion.sum() == labelled
    assert confusion[:, -1].sum() == int(dataset.read(0).raw_labels[5] != 255)


def test_checkpoints_without_their_ledger_are_refused(root, tmp_path):
    config = tiny_config(root)
    train(config, tmp_path / "al")
    (tmp_path / "al" / "checkpoints" / "epoch_4.pth").unlink()
    for path in (tmp_path / "al").glob("ledger.sqlite*"):
        path.unlink()
    with pytest.raises(ValueError, match="does not hold round 1 of epoch 0; restore the ledger"):
        train(config, tmp_path / "al", resume=True)


def test_a_round_of_other_settings_is_not_taken_for_ones_own(root, tmp_path):
    other = tiny_config(root, active={"queries_per_scan": 3, "strategy": "random"})
    select_only(other, tmp_path / "al")
    with pytest.raises(ValueError, match="a run of another config"):
        train(tiny_config(root), tmp_path / "al", resume=True)
    (tmp_path / "al" / "config.yaml").unlink()
    with pytest.raises(ValueError, match="holds a round 1 with budget 3, this run has 1"):
        train(tiny_config(root), tmp_path / "al", resume=True)


def test_select_keeps_out_of_the_folder_of_a_training_run(root, tmp_path):
    config = tiny_config(root, active={"strategy": "random"})
    train(config, tmp_path / "al")
    with pytest.raises(ConfigError, match="belongs to a training run"):
        select_only(config, tmp_path / "al")


def test_a_list_that_a_crash_left_unwritten_is_written_by_the_next_call(root, tmp_path):
    config = tiny_config(root, active={"strategy": "random"})
    first = select_only(config, tmp_path / "w")
    text = first.listing.read_text()
    first.listing.unlink()  # as if the process had died before it
    assert select_only(config, tmp_path / "w") == first and first.listing.read_text() == text
    assert select_only(config, tmp_path / "w").round == 2


def test_two_processes_do_not_work_in_one_folder(root, tmp_path):
    config = tiny_config(root)
    with (
        WorkDir(tmp_path / "al").lock(),
        pytest.raises(ValueError, match="another process is working in"),
    ):
        train(config, tmp_path / "al")
    train(config, tmp_path / "al")


def test_scans_without_labels_or_points_are_said(root, tmp_path):
    for path in (root / "sequences" / "02" / "labels").glob("*.label"):
        np.zeros(300, "<u4").tofile(path)
    with pytest.raises(ValueError, match="data.val has no labelled points"):
        train(tiny_config(root), tmp_path / "al")


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_the_full_learning_rate_is_reached_whatever_the_steps_per_epoch(steps):
    schedule = ScheduleConfig(epochs=6)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    phases = [
        getattr(scheduler, phase.pop("type"))(optimizer, **phase)
        for phase in learning_rate(schedule, steps)
    ]
    rates = []
    for _ in range(6 * steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for phase in phases:
            phase.step()
    assert max(rates) > 0.85 and rates[-1] < 0.3


def test_a_dataset_that_makes_itself_takes_no_data_root(tmp_path):
    config = load_config(find_config("al/streets_demo"))
    with pytest.raises(ConfigError, match="--data-root: data.train is SimulatedStreets"):
        train(config, tmp_path / "al", data_root=str(tmp_path))


def test_vcd_from_point_scores_is_refused_with_what_to_do(root, tmp_path):
    for scan in ("00/000000", "00/000001", "01/000000", "01/000001"):
        path = tmp_path / "theirs" / f"{scan}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.zeros(300, np.float32))
    with pytest.raises(ValueError, match="scan 00/000000: strategy 'vcd' counts predicted classes"):
        select_only(tiny_config(root), tmp_path / "w", predictions=str(tmp_path / "theirs"))
