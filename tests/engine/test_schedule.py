"""Optimisation: published and own learning rates, clipping, accumulation, averages, warnings."""

from __future__ import annotations

import json
import math

import pytest
import torch
from mmengine.optim import scheduler
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.engine.build import build_model
from annotator3d.engine.config.load import dump_config, make_config
from annotator3d.engine.config.schema import ScheduleConfig
from annotator3d.engine.evaluation import evaluate_checkpoint
from annotator3d.engine.rounds import hook as rounds
from annotator3d.engine.rounds.hook import weights_digest
from annotator3d.engine.run import train
from annotator3d.engine.training.averaging import TRAINED
from annotator3d.engine.training.optim import describe_batch, learning_rate, optimiser
from annotator3d.engine.training.runner import TrainLoop
from annotator3d.errors import ConfigError
from annotator3d.reporter import Reporter

SGD = {"type": "SGD", "lr": 1.0}


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)


def rates(schedule, steps):
    """Learning rate of each step, from mmengine's schedulers, for a full rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    phases = [
        getattr(scheduler, phase.pop("type"))(optimizer, **phase)
        for phase in learning_rate(schedule, steps)
    ]
    found = []
    for _ in range(schedule.epochs * steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for phase in phases:
            phase.step()
    return found


@pytest.mark.parametrize(("epochs", "steps", "final"), [(10, 600, 0.0255), (50, 100, 0.0020)])
def test_the_published_cosine_ends_where_the_released_code_ends(epochs, steps, final):
    found = rates(ScheduleConfig(epochs=epochs, cosine="published"), steps)
    assert found[-1] == pytest.approx(final, abs=0.00005)
    for step, rate in enumerate(found):
        if step < steps:  # linear over epoch 0
            wanted = 0.001 + 0.999 * step / (steps - 1)
        else:  # by all steps, not by those after the warm-up
            angle = math.pi * (step - steps) / (epochs * steps)
            wanted = 0.001 + 0.999 * 0.5 * (1 + math.cos(angle))
        assert rate == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("epochs", [10, 50])
def test_by_default_the_cosine_ends_at_its_floor(epochs):
    found = rates(ScheduleConfig(epochs=epochs), 200)
    assert found[-1] == pytest.approx(0.001, abs=1e-5)
    assert found[100 + epochs * 100] == pytest.approx(0.5005, abs=1e-3)  # half of what is left


def weights_of(folder, key="state_dict", epoch=4):
    path = folder / "checkpoints" / f"epoch_{epoch}.pth"
    return torch.load(path, weights_only=True)[key]


def change(before, after, names):
    return math.sqrt(sum(float(((after[n] - before[n]) ** 2).sum()) for n in names))


@pytest.mark.parametrize("limit", [0.01, None])
def test_the_gradient_is_clipped_to_its_norm(root, tmp_path, monkeypatch, limit):
    """With plain SGD at rate 1 the weights move by the gradient: by at most the limit."""
    moves = []
    step = TrainLoop.run_iter

    def watch(self, index, data):
        before = {n: p.detach().clone() for n, p in self.runner.model.named_parameters()}
        step(self, index, data)
        after = dict(self.runner.model.named_parameters())
        moves.append(change(before, {n: p.detach() for n, p in after.items()}, before))

    monkeypatch.setattr(TrainLoop, "run_iter", watch)
    schedule = {"epochs": 2, "optimizer": SGD, "clip_norm": limit, "warmup_epochs": 0.0}
    train(tiny_config(root, "target_only", schedule=schedule), tmp_path / "run")
    assert moves[0] == pytest.approx(0.01, rel=1e-3) if limit else moves[0] > 0.1
    assert limit is None or max(moves) < 0.0101


class Counter:
    """Counts updates, and remembers the weights after each."""

    def __init__(self, monkeypatch):
        self.updates, self.per_epoch, self.states = 0, [], []
        inner, run_epoch = torch.optim.SGD.step, TrainLoop.run_epoch

        def step(optimizer, *args, **kwargs):
            self.updates += 1
            return inner(optimizer, *args, **kwargs)

        def epoch(loop):
            before = self.updates
            run_epoch(loop)
            self.per_epoch.append(self.updates - before)

        run_iter = TrainLoop.run_iter

        def iteration(loop, index, data):
            before = self.updates
            run_iter(loop, index, data)
            if self.updates > before:
                state = loop.runner.model.state_dict()
                self.states.append({n: v.clone() for n, v in state.items()})

        monkeypatch.setattr(torch.optim.SGD, "step", step)
        monkeypatch.setattr(TrainLoop, "run_epoch", epoch)
        monkeypatch.setattr(TrainLoop, "run_iter", iteration)


def test_accumulated_gradients_make_one_update_within_an_epoch(root, tmp_path, monkeypatch):
    seen = Counter(monkeypatch)
    schedule = {"batch_size": 1, "accumulate": 3, "optimizer": {**SGD, "lr": 0.01}}
    train(tiny_config(root, "target_only", schedule=schedule), tmp_path / "run")
    assert seen.per_epoch == [2] * 4  # 4 batches: 3 and 1


def test_the_update_of_accumulated_batches_is_that_of_their_mean_loss(root, tmp_path, monkeypatch):
    """A hand-made step: the mean of the batches' gradients, from the same start."""
    batches, model = [], None
    step = TrainLoop.run_iter

    def watch(self, index, data):
        nonlocal model
        if model is None:
            model = {n: v.clone() for n, v in self.runner.model.state_dict().items()}
        batches.append(data["batch"])
        step(self, index, data)

    monkeypatch.setattr(TrainLoop, "run_iter", watch)
    optimizer = {"type": "SGD", "lr": 0.5}
    schedule = {"epochs": 1, "batch_size": 2, "accumulate": 2, "optimizer": optimizer}
    schedule |= {"warmup_epochs": 0.0, "clip_norm": None, "cosine": "published"}
    config = tiny_config(root, "target_only", schedule=schedule)
    train(config, tmp_path / "run")
    assert len(batches) == 2
    twin = build_model(config, 19).train()
    twin.load_state_dict(model)
    (sum(sum(twin(batch, mode="loss").values()) for batch in batches) / 2).backward()
    rate = rates(ScheduleConfig(**schedule), 2)[1]
    end = weights_of(tmp_path / "run", epoch=1)
    for name, parameter in twin.named_parameters():
        wanted = parameter.detach() - 0.5 * rate * parameter.grad
        torch.testing.assert_close(end[name], wanted, atol=1e-6, rtol=1e-4)


def test_averaged_weights_are_evaluated_saved_and_select(root, tmp_path, monkeypatch):
    seen, sources = Counter(monkeypatch), []
    select = rounds.select_round

    def watch(ledger, pool, plan, *args, **kwargs):
        sources.append(plan.source)
        return select(ledger, pool, plan, *args, **kwargs)

    monkeypatch.setattr(rounds, "select_round", watch)
    optimizer = {"type": "SGD", "lr": 0.05}
    schedule = {"ema": 0.6, "optimizer": optimizer, "evaluate_at": [], "keep_checkpoints": 4}
    schedule |= {"batch_size": 1, "accumulate": 2}  # averaged per update, not per batch
    config = tiny_config(root, schedule=schedule, active={"rounds_at": [0, 2]})
    train(config, tmp_path / "run")
    average = dict(seen.states[0])
    for state in seen.states[1:]:
        for name, value in state.items():
            if value.is_floating_point():
                average[name] = 0.6 * average[name] + 0.4 * value
    saved, trained = weights_of(tmp_path / "run"), weights_of(tmp_path / "run", TRAINED)
    for name, value in saved.items():
        assert torch.equal(trained[name], seen.states[-1][name])
        if value.is_floating_point():
            torch.testing.assert_close(value, average[name], atol=1e-6, rtol=1e-5)
    assert not all(torch.equal(saved[n], trained[n]) for n in saved)

    # The network that a user loads is the one that was reported on, and the one that asked.
    checkpoint = str(tmp_path / "run" / "checkpoints" / "epoch_4.pth")
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    again = evaluate_checkpoint(config, checkpoint, None, Reporter())
    assert again["confusion"] == line["confusion"]
    at_round_2 = build_model(config, 19)
    at_round_2.load_state_dict(weights_of(tmp_path / "run", epoch=2))
    assert sources == ["none", weights_digest(at_round_2)]


@pytest.mark.parametrize("extra", [{"ema": 0.7}, {"accumulate": 3, "batch_size": 1}])
def test_a_run_that_was_stopped_ends_with_the_same_weights_and_average(
    root, tmp_path, monkeypatch, extra
):
    config = tiny_config(root, schedule={"optimizer": {**SGD, "lr": 0.05}, **extra})
    train(config, tmp_path / "whole")
    run_epoch = TrainLoop.run_epoch

    def fail(self):
        if self._epoch == 2:
            raise RuntimeError("power failure")
        run_epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(TrainLoop, "run_epoch", fail)
        with pytest.raises(RuntimeError, match="power failure"):
            train(config, tmp_path / "broken")
    train(config, tmp_path / "broken", resume=True)
    for key in ("state_dict", TRAINED)[: 1 + ("ema" in extra)]:
        expected, got = (weights_of(tmp_path / f, key) for f in ("whole", "broken"))
        assert all(torch.equal(value, got[name]) for name, value in expected.items())


def test_effective_batch_and_rate_are_said_and_another_batch_warned_of():
    def lines(processes=1, setting="al", **schedule):
        return describe_batch(make_config({"setting": setting, "schedule": schedule}), processes)

    assert lines() == ["batch: 16 scans per update; learning rate 0.16"]
    said, warning = lines(processes=4)
    assert said.startswith("batch: 16 scans x 4 processes = 64 per update")
    assert "64 scans, but the learning rate 0.16 is meant for 16" in warning
    assert "schedule.optimizer.lr=0.64 " in warning
    (said,) = lines(processes=2, batch_size=4, accumulate=2, reference_batch=16)
    assert said.startswith("batch: 4 scans x 2 processes x 2 accumulated = 16 per update")
    assert len(lines(batch_size=8, reference_batch=16)) == 2
    (said,) = lines(setting="ada", batch_size=8, source_batch_size=4)
    assert said.startswith("batch: 8 scans and 4 of the source per update")
    assert "learning rate 0.001" in lines(optimizer={"type": "AdamW"})[0]  # torch's own default


def test_the_command_line_shows_batch_and_warning(root, tmp_path, capsys):
    config = tiny_config(root, "target_only", schedule={"epochs": 1, "reference_batch": 16})
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert main(["train", str(path), "--work-dir", str(tmp_path / "run")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "batch: 2 scans per update; learning rate 0.01" in shown
    assert "warning: an update sees 2 scans, but the learning rate 0.01 is meant for 16" in shown


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_mixed_precision_needs_cuda(root, tmp_path, capsys, precision):
    with pytest.raises(ConfigError, match=f"schedule.precision: {precision} needs a CUDA device"):
        make_config({"device": "cpu", "schedule": {"precision": precision}})
    schedule = ScheduleConfig(precision=precision)
    assert optimiser(schedule)["type"] == "AmpOptimWrapper"
    with pytest.raises(ConfigError, match="this run trains on cpu; choose schedule.precision=fp32"):
        optimiser(schedule, torch.device("cpu"))
    if not torch.cuda.is_available():  # device: auto
        path = tmp_path / "config.yaml"
        config = tiny_config(root, "target_only", device="auto", schedule={"precision": precision})
        path.write_text(dump_config(config))
        assert main(["train", str(path), "--work-dir", str(tmp_path / "run")]) == 2
        assert not (tmp_path / "run").exists()
        assert "needs a CUDA device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"cosine": "half"}, "schedule.cosine: expected full or published, got 'half'"),
        ({"precision": "fp8"}, "schedule.precision: expected fp32, fp16 or bf16, got 'fp8'"),
        ({"accumulate": 0}, "schedule.accumulate: expected at least 1"),
        ({"reference_batch": 0}, "schedule.reference_batch: expected at least 1"),
        ({"ema": 1.0}, "schedule.ema: expected a decay between 0 and 1, got 1.0"),
        ({"ema": 0}, "schedule.ema: expected a decay between 0 and 1, got 0"),
    ],
)
def test_values_that_make_no_sense_are_refused(schedule, words):
    with pytest.raises(ConfigError, match=words):
        make_config({"schedule": schedule})


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["MinkUNet", "SPVCNN"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_run_in_mixed_precision_learns_and_resumes(root, tmp_path, precision, name):
    pytest.importorskip("spconv")
    backbone = {"type": name, "planes": [8, 8, 16, 16, 8], "blocks": 1}
    config = tiny_config(
        root, device="cuda", model={"backbone": backbone}, schedule={"precision": precision}
    )
    record = train(config, tmp_path / "run")
    weights = weights_of(tmp_path / "run")
    assert all(v.isfinite().all() and v.dtype != torch.float16 for v in weights.values())
    assert record.final()["final"]
    (tmp_path / "run" / "checkpoints" / "epoch_4.pth").unlink()
    train(config, tmp_path / "run", resume=True)
