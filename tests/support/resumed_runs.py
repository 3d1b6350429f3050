"""What the processes of tests/engine/test_resume.py run."""

from __future__ import annotations

import os
import re
import signal
import sys

import torch

from annotator3d.cli import main as cli
from annotator3d.engine.rounds import select_round as selection
from annotator3d.engine.training.runner import TrainLoop
from annotator3d.ledger.ledger import Ledger

kept: list[Exception] = []


def train(config: str, work_dir: str) -> int:
    """The command line, which tells each step, its scans and a random number."""
    taken = TrainLoop.run_iter

    def telling(self, index, data):
        ids, number = data["batch"]["ids"], torch.rand(1).item()
        print(f"step {self.epoch} {index} {ids} {number}", flush=True)
        taken(self, index, data)

    TrainLoop.run_iter = telling
    return cli.main(["train", config, "--work-dir", work_dir, "--resume"])


def same(a, b) -> bool:
    """Whether two parts of checkpoints agree to the last bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def steps_of(text: str) -> list[str]:
    return re.findall(r"^step .*$", text, re.MULTILINE)


def stop_at_step(config: str, work_dir: str, step: int, number: int) -> int:
    """A signal comes to all processes of this run during a step, as from a terminal or SLURM."""
    os.setsid()
    taken = TrainLoop.run_iter

    def stopping(self, index, data):
        if self.iter == step - 1:
            os.killpg(0, number)
        taken(self, index, data)

    TrainLoop.run_iter = stopping
    return train(config, work_dir)


def fail_at_step(config: str, work_dir: str, step: int) -> None:
    """A step fails, and the process ends as a script does."""
    taken = TrainLoop.run_iter

    def failing(self, index, data):
        taken(self, index, data)
        if self.iter == step:
            error = RuntimeError("the memory is broken")
            kept.append(error)  # as a debugger does: what it was raised through is not cleared up
            raise error

    TrainLoop.run_iter = failing
    sys.exit(train(config, work_dir))


def die_at_answer(config: str, work_dir: str, count: int) -> int:
    """SIGKILL comes when `count` answers are written."""
    record, left = Ledger.record, [count]

    def dying(self, query, answer):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return record(self, query, answer)

    Ledger.record = dying
    return train(config, work_dir)


def stop_while_selecting(config: str, work_dir: str, round: int) -> int:
    """SIGTERM comes after the first scan of a round has been scored."""
    pick = selection.pick_share

    def stopping(share, pool, asked, plan, *rest):
        if plan.number == round:
            os.kill(os.getpid(), signal.SIGTERM)
        return pick(share, pool, asked, plan, *rest)

    selection.pick_share = stopping
    return train(config, work_dir)
