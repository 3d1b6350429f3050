"""``annotator3d run``."""

from __future__ import annotations

import argparse
import shlex

from annotator3d.cli.command import command
from annotator3d.cli.options import add_scans, add_set, add_work_dir
from annotator3d.cli.working import add_working, check_working, work_through
from annotator3d.errors import ConfigError


def add_options(parser: argparse.ArgumentParser) -> None:
    add_work_dir(parser, "work directory of a run that has begun")
    add_scans(parser)
    add_set(parser)
    add_working(parser)


@command(
    "run",
    help="go on with a run: train, answer in the viewer, and train on, until its rounds are done",
    options=add_options,
    order=33,
    when_stopped="; nothing in the ledger is lost: the same command continues",
)
def run(args: argparse.Namespace) -> None:
    from annotator3d.engine.workdir import WorkDir

    work_dir = WorkDir(args.work_dir)
    if not work_dir.path.is_dir():
        raise FileNotFoundError(f"there is no work directory {work_dir}")
    check_working(args)
    config = work_dir.config(args.config, args.set or (), network=True)
    if not config.is_active:
        raise ConfigError(
            f"run goes from round to round, and {work_dir} is of {config.setting}, which asks "
            f"nothing: annotator3d train {shlex.quote(str(work_dir.config_path))} --resume"
        )
    data_root = args.data_root or work_dir.moved_data_root(config)
    again = f"annotator3d run {shlex.quote(str(work_dir))}"
    work_through(args, config, work_dir, data_root, again)
