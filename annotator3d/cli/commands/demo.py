"""``annotator3d demo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from annotator3d.cli.command import command
from annotator3d.cli.options import add_set


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="work_dirs/demo", metavar="DIR", help="default: work_dirs/demo"
    )
    add_set(parser, "override a config key of every run")


@command(
    "demo",
    help="run the main task on simulated streets and write a report; needs no data",
    options=add_options,
    order=10,
    when_stopped="; nothing in the ledgers is lost: the same command continues",
)
def demo(args: argparse.Namespace) -> None:
    from annotator3d.analysis.demo import run_demo
    from annotator3d.cli.stopping import run_until_stopped
    from annotator3d.cli.terminal import open_reporter

    with open_reporter() as reporter:
        report = run_until_stopped(
            lambda: run_demo(Path(args.out), reporter, args.set or []),
            "runs that have ended and checkpoints are kept",
        )
    print(f"report: {report}")
