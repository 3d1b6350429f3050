"""End a run anywhere and resume it: the same ledger, bit-equal weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import resumed_runs as case
import torch
from processes import ended, start
from resumed_runs import same
from tiny_runs import tiny_config

from annotator3d.engine.config.load import dump_config
from annotator3d.engine.run import train
from annotator3d.engine.training.signals import StopSignal
from annotator3d.ledger.ledger import Ledger

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=3, points=200)


def run(function, *args, log):
    code = ended(start(function, *args, env={}, log=log))
    return code, log.read_text()


def outcome(work_dir, epochs=4):
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        canonical = ledger.export_canonical()
    last = torch.load(work_dir / "checkpoints" / f"epoch_{epochs}.pth", weights_only=True)
    lines = map(json.loads, (work_dir / "metrics.jsonl").read_text().splitlines())
    return canonical, last, {line["epoch"]: line for line in lines}


def assert_same(got, expected):
    assert got[0] == expected[0]
    for part in ("state_dict", "optimizer", "param_schedulers"):
        assert same(got[1][part], expected[1][part]), part
    assert got[2] == expected[2]


@pytest.mark.parametrize(("kills", "processes"), [(16, 1), (4, 2)])
def test_runs_killed_at_random_moments_end_as_the_untouched_one(kills, processes):
    script = [str(TOOLS / "kill_runs.py"), "--kills", str(kills), "--processes", str(processes)]
    done = subprocess.run([sys.executable, *script], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert f"{kills} kills in" in done.stdout


CASES = {
    "in the middle of an epoch": ("al", 5, {}),
    "with source batches": ("ada", 4, {"batch_size": 1}),
    "while gradients are accumulated": ("al", 3, {"batch_size": 1, "accumulate": 2}),
    "with averaged weights": ("al", 3, {"ema": 0.9}),
    "with processes that read scans": ("al", 2, {"workers": 2}),
    "at the end of an epoch that is not saved": ("al", 3, {"checkpoint_every": 4}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_signal_saves_the_place_and_nothing_is_trained_twice(root, tmp_path, name):
    setting, step, schedule = CASES[name]
    number = signal.SIGINT if setting == "ada" else signal.SIGTERM
    init, log = None, tmp_path / "log"
    if setting == "ada":
        source = tmp_path / "source.yaml"
        source.write_text(dump_config(tiny_config(root, "source_only", schedule={"epochs": 1})))
        assert run(case.train, str(source), str(tmp_path / "source"), log=log)[0] == 0
        init = str(tmp_path / "source" / "checkpoints" / "epoch_1.pth")
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(tiny_config(root, setting, init=init, schedule=schedule)))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    code, text = run(case.train, str(path), str(whole), log=log)
    assert code == 0, text
    steps = case.steps_of(text)

    code, text = run(case.stop_at_step, str(path), str(broken), step, int(number), log=log)
    assert code == 128 + number, text
    taken = case.steps_of(text)
    place = sorted((broken / "checkpoints").glob("*.pth"))[-1].name
    assert f"saved as {place}" in text and "continue with the same command and --resume" in text
    assert json.loads((broken / "run.json").read_text())["state"] == "stopped"
    code, text = run(case.train, str(path), str(broken), log=log)
    assert code == 0 and f"continuing from {place}" in text, text
    # Each step once, on the same scans, with the same random numbers.
    assert taken + case.steps_of(text) == steps
    assert_same(outcome(broken), outcome(whole))


def test_a_signal_while_scans_are_scored_ends_the_run_before_its_round(root, tmp_path):
    path, log = tmp_path / "config.yaml", tmp_path / "log"
    path.write_text(dump_config(tiny_config(root)))
    assert run(case.train, str(path), str(tmp_path / "whole"), log=log)[0] == 0
    broken = tmp_path / "broken"
    code, text = run(case.stop_while_selecting, str(path), str(broken), 2, log=log)
    assert code == 143 and "saved as epoch_1.pth" in text, text
    with Ledger.read(broken / "ledger.sqlite") as ledger:
        assert [entry.number for entry in ledger.rounds()] == [1]
    assert run(case.train, str(path), str(broken), log=log)[0] == 0
    assert_same(outcome(broken), outcome(tmp_path / "whole"))


def test_a_failing_run_does_not_wait_for_its_reading_processes(root, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(tiny_config(root, schedule={"workers": 2})))
    script = f"import resumed_runs; resumed_runs.fail_at_step({str(path)!r}, 'al', 3)"
    failed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,  # it would wait for ever
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[1] / "support"),
            "OMP_NUM_THREADS": "1",
        },
    )
    assert failed.returncode == 1 and "the memory is broken" in failed.stderr


def test_what_no_result_depends_on_may_change_between_two_starts(root, tmp_path):
    config = tiny_config(root, schedule={"epochs": 3})
    train(config, tmp_path / "al")
    moved = root.rename(tmp_path / "elsewhere")
    changes = {"epochs": 3, "keep_checkpoints": 5, "checkpoint_every": 2}
    other = tiny_config(moved, schedule=changes, device="auto", logs=["csv"], name="renamed")
    assert train(other, tmp_path / "al", resume=True).final()["final"]
    with pytest.raises(ValueError, match="another config .schedule.batch_size: 2, now 1"):
        train(
            tiny_config(moved, schedule={**changes, "batch_size": 1}), tmp_path / "al", resume=True
        )


def test_other_data_are_refused_with_what_differs(root, tmp_path):
    config = tiny_config(root, schedule={"epochs": 3})
    train(config, tmp_path / "al")
    folder = root / "sequences" / "00"
    scan = folder / "velodyne" / "000002.bin"
    whole = scan.read_bytes()
    scan.write_bytes(whole + whole[:16])
    labels = folder / "labels" / "000002.label"
    labels.write_bytes(labels.read_bytes() + labels.read_bytes()[:4])
    with pytest.raises(ValueError, match="the pool dataset .* as many scans, but other ids or"):
        train(config, tmp_path / "al", resume=True)
    scan.unlink(), labels.unlink()
    with pytest.raises(ValueError, match="the pool dataset .* 6 scans then, 5 now"):
        train(config, tmp_path / "al", resume=True)


def test_a_second_signal_does_not_wait():
    before = signal.getsignal(signal.SIGINT)
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 1)  # the handler runs here at the latest
    assert signal.getsignal(signal.SIGINT) == before


def test_below_torchrun_a_signal_may_come_twice(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.number == signal.SIGINT
