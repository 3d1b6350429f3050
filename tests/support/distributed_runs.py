"""What the processes of tests/engine/test_distributed.py run."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from tiny_runs import BACKBONE
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from annotator3d.cli import main as cli
from annotator3d.data.batch import collate
from annotator3d.engine import preparation, run
from annotator3d.engine.config.load import load_config
from annotator3d.engine.distributed import joined
from annotator3d.engine.rounds import select_round as selection
from annotator3d.engine.rounds.hook import RoundHook, weights_digest
from annotator3d.engine.training.runner import TrainLoop, wrap
from annotator3d.engine.training.teacher_hook import TeacherHook
from annotator3d.models.minkunet import MinkUNet
from annotator3d.models.segmentor import Segmentor
from annotator3d.registry import BACKBONES


def train_frozen(config: Path, work_dir: Path, workers: int) -> int:
    """A run whose batch norms do not change in training: at a learning rate of 0 nothing does."""
    build = preparation.build_model

    def frozen(*args, **kwargs):
        model = build(*args, **kwargs)
        for norm in model.modules():
            if isinstance(norm, _BatchNorm):
                norm.momentum = 0.0
        return model

    pick = selection.pick_share

    def counted(share, *args):
        with open(f"{work_dir}.scored", "a") as file:
            file.write(f"{len(share)}\n")
        return pick(share, *args)

    preparation.build_model, selection.pick_share = frozen, counted
    run.train(load_config(config, [f"schedule.workers={workers}"]), work_dir)
    return 0


def train(config: Path, work_dir: Path, resume: bool = False) -> int:
    """A run after which each process leaves a digest of its weights."""
    whole = TrainLoop.run

    def watched(self):
        model = whole(self)
        digest = weights_digest(self.runner.network)
        work_dir.with_name(f"{work_dir.name}.weights.{os.environ.get('RANK')}").write_text(digest)
        return model

    TrainLoop.run = watched
    run.train(load_config(config), work_dir, resume=resume)
    return 0


def train_with_teacher(config: Path, work_dir: Path) -> int:
    """A run after which each process leaves a digest of its teacher and of what it counted."""
    average = TeacherHook.after_train_epoch

    def watched(self, runner):
        thresholds = [value.hex() for value in self.teacher.thresholds.values.tolist()]
        found = [weights_digest(self.teacher.network), *thresholds, str(self.teacher.counts)]
        with open(f"{work_dir}.teacher.{os.environ.get('RANK', 0)}", "a") as file:
            file.write("\n".join(found))
        average(self, runner)

    TeacherHook.after_train_epoch = watched
    run.train(load_config(config), work_dir)
    return 0


def killed(rank: int, step: int, *arguments: str) -> int:
    """The command line; a process dies after a step."""
    return _signalled(signal.SIGKILL, rank, step, arguments)


def stopped(rank: int, step: int, *arguments: str) -> int:
    """The command line; a process gets SIGTERM after a step."""
    return _signalled(signal.SIGTERM, rank, step, arguments)


def _signalled(number: int, rank: int, step: int, arguments: tuple[str, ...]) -> int:
    taken = TrainLoop.run_iter

    def watched(self, index, data):
        taken(self, index, data)
        if self.iter == step and os.environ.get("RANK", "0") == str(rank):
            os.kill(os.getpid(), number)

    TrainLoop.run_iter = watched
    return cli.main(list(arguments))


def train_on_own_data(config: Path, work_dir: Path, roots: list[Path]) -> int:
    """Each process finds another dataset, as on machines with disks of their own."""
    root = str(roots[int(os.environ["RANK"])])
    arguments = ["train", str(config), "--work-dir", str(work_dir), "--data-root", root]
    return cli.main(arguments)


def train_with_a_lost_label(config: Path, work_dir: Path) -> int:
    """Rank 1 loses the labels of a scan before the second epoch."""
    check = RoundHook.check_labels

    def lossy(self):
        if os.environ["RANK"] == "1" and self.training.epoch == 1:
            del self.training.answers["01/000001"]
        check(self)

    RoundHook.check_labels = lossy
    return cli.main(["train", str(config), "--work-dir", str(work_dir)])


@BACKBONES.register_module()
class HalfUsed(MinkUNet):
    """A backbone from elsewhere, with a layer that no step uses."""

    unused_parameters = True

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.spare = torch.nn.Linear(3, 3)


def gradients(samples: Path, path: Path) -> int:
    """Gradients of the cross-entropy of this process's share of the samples."""
    samples = torch.load(samples, weights_only=True)
    with joined(torch.device("cpu")) as world:
        torch.manual_seed(0)
        model = Segmentor(BACKBONE, 5, lovasz=0.0)
        wrapped = wrap(model, torch.device("cpu"), world)
        wrapped.eval()  # batch norm with fixed statistics: each process would have its own
        losses = wrapped(collate(world.share(samples)), mode="loss")
        sum(losses.values()).backward()
        if world.is_first:
            torch.save({name: p.grad for name, p in model.named_parameters()}, path)
    return 0


def leave_at_once() -> int:
    """Leave a run right after a step, on one core, where threads seldom take turns."""
    sys.setswitchinterval(60)
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    with joined(torch.device("cpu")):
        model = DistributedDataParallel(torch.nn.Linear(3, 3))
        model(torch.ones(2, 3)).sum().backward()
    return 0


def command(*arguments: str) -> int:
    """The command line."""
    return cli.main(list(arguments))
