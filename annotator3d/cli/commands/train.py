"""``annotator3d train``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.cli.command import command
from annotator3d.cli.configs import config_from, data_root_of, run_of
from annotator3d.cli.options import add_config
from annotator3d.cli.ranks import is_first

if TYPE_CHECKING:
    from annotator3d.engine.config.schema import RunConfig
    from annotator3d.engine.record import RunRecord
    from annotator3d.engine.workdir import WorkDir


def add_options(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add = parser.add_argument
    add("--work-dir", metavar="DIR", help="default: work_dirs/<setting>-<config>-seed<N>")
    add("--init", metavar="CHECKPOINT", help="source checkpoint that ASFDA and ADA start from")
    add("--resume", action="store_true", help="continue the run in the work directory")


@command(
    "train",
    help="train from a config: source-only, target-only, AL, ASFDA or ADA",
    options=add_options,
    order=30,
    when_stopped="; nothing in the ledger is lost: continue with the same command and --resume",
)
def train(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import open_reporter

    config, path = config_from(args)  # before torch is loaded
    from annotator3d.engine.rounds.hook import WaitingForOracleError
    from annotator3d.engine.run import train as run

    work_dir = _work_dir(args, config, path)
    if is_first():
        print(f"{config.setting}: {path} into {work_dir}, seed {config.seed}")
    try:
        with open_reporter() as reporter:
            record = run(
                config,
                work_dir,
                resume=args.resume,
                data_root=data_root_of(args, config, path),
                reporter=reporter,
            )
    except WaitingForOracleError as waiting:
        if is_first():
            _print_what_to_do(waiting, work_dir)
        return
    if is_first():
        _print_result(record, work_dir, evaluated=config.data.val is not None)


def _work_dir(args: argparse.Namespace, config: RunConfig, path: Path) -> WorkDir:
    from annotator3d.engine.workdir import WorkDir

    if args.work_dir is not None:
        return WorkDir(args.work_dir)
    run = run_of(path) if args.resume else None
    name = f"{config.setting}-{path.stem}-seed{config.seed}"
    return run or WorkDir(Path("work_dirs") / name)


def _print_what_to_do(waiting: Exception, work_dir: WorkDir) -> None:
    quoted = shlex.quote(str(work_dir))
    print(f"{waiting}. To answer them: annotator3d label {quoted}")
    print(f"To train on what is answered: annotator3d round close {quoted}")
    print("Then run this command again with --resume.")


def _print_result(record: RunRecord, work_dir: WorkDir, evaluated: bool) -> None:
    if not evaluated:
        print(f"not evaluated, since the config has no data.val; {work_dir}")
        return
    last = record.final()
    if last["absent"]:
        print(f"not in the ground truth, left out of the mean: {', '.join(last['absent'])}")
    print(f"mIoU {last['miou']:.2f} % after the last epoch; {work_dir}")
