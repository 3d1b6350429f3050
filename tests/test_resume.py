"""Kill a run with SIGKILL wherever it hurts and resume it: same ledger, bit-equal weights."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from engine_case import tiny_config

from annotator3d.active.ledger import Ledger
from annotator3d.engine.config import dump_config

# Runs the command line, but kills its own process at the n-th of the events that matter:
# statements on the ledger, training steps, and the moments around the writing of a checkpoint.
CHILD = textwrap.dedent(
    """
    import os, signal, sys
    from annotator3d.active.ledger import Ledger
    from annotator3d.engine import runner, run
    from annotator3d import cli

    left = int(sys.argv[1])

    def event():
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(owner, name):
        inner = getattr(owner, name)
        def wrapped(*args, **kwargs):
            event()
            result = inner(*args, **kwargs)
            event()
            return result
        setattr(owner, name, wrapped)

    around(Ledger, "add_round")
    around(Ledger, "record")
    around(runner.TrainLoop, "run_iter")
    around(runner.A3dRunner, "save_checkpoint")
    around(os, "replace")
    around(run, "evaluate")
    sys.exit(cli.main(sys.argv[2:]))
    """
)


def run_child(kill_at: int, arguments: list[str]) -> int:
    process = subprocess.run(
        [sys.executable, "-c", CHILD, str(kill_at), *arguments],
        capture_output=True,
        text=True,
        timeout=250,
        env={**__import__("os").environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode in (0, -signal.SIGKILL), process.stderr[-2000:]
    return process.returncode


def outcome(work_dir):
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        canonical = ledger.export_canonical()
    weights = torch.load(work_dir / "checkpoints" / "epoch_4.pth", weights_only=True)
    lines = map(json.loads, (work_dir / "metrics.jsonl").read_text().splitlines())
    return canonical, weights, {line["epoch"]: line for line in lines}


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("setting", ["al", "ada"])
def test_a_run_killed_again_and_again_ends_as_the_unbroken_one(tmp_path, make_kitti, setting):
    root = make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)
    init = None
    if setting == "ada":
        source = tmp_path / "source.yaml"
        source.write_text(dump_config(tiny_config(root, "source_only", schedule={"epochs": 1})))
        assert run_child(0, ["train", str(source), "--work-dir", str(tmp_path / "source")]) == 0
        init = str(tmp_path / "source" / "checkpoints" / "epoch_1.pth")
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(tiny_config(root, setting, init=init)))

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run_child(0, ["train", str(path), "--work-dir", str(whole)]) == 0
    deaths = 0
    # Each start gets a little further before it dies, then the last one runs to the end.
    for kill_at in (3, 9, 14, 17, 25, 38, 10**9):
        code = run_child(kill_at, ["train", str(path), "--work-dir", str(broken), "--resume"])
        deaths += code == -signal.SIGKILL
        if code == 0:
            break
    assert deaths >= 4, "the run must have been killed for the test to mean anything"

    expected, got = outcome(whole), outcome(broken)
    assert got[0] == expected[0]
    for part in ("state_dict", "optimizer", "param_schedulers"):
        assert same(got[1][part], expected[1][part]), part
    assert got[2].keys() == expected[2].keys()
    assert all(got[2][epoch] == line for epoch, line in expected[2].items())
