"""``annotator3d label``."""

from __future__ import annotations

import argparse
from pathlib import Path

from annotator3d.cli.command import command
from annotator3d.cli.options import add_scans
from annotator3d.cli.review_options import add_review
from annotator3d.cli.viewing import add_viewing, check_viewer, view
from annotator3d.errors import ConfigError

DEMO = Path("work_dirs/label-demo")


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "work_dir",
        nargs="?",
        metavar="WORK_DIR|PACKAGE",
        help="work directory of a run, or a work package",
    )
    add("--demo", action="store_true", help="practise on simulated scans; needs no data")
    add_scans(parser)
    add_viewing(parser)
    add_review(parser)


@command(
    "label",
    help="answer the queries of a run, in a window or in a browser",
    options=add_options,
    order=40,
)
def label(args: argparse.Namespace) -> None:
    from annotator3d.cli.stopping import run_until_stopped

    run_until_stopped(lambda: _label(args), "all answers are saved")


def _label(args: argparse.Namespace) -> None:
    if args.demo == (args.work_dir is not None):
        raise ConfigError("label needs either a WORK_DIR or --demo")
    if args.demo and args.review:
        raise ConfigError(f"--review needs answers: annotator3d label {DEMO} --review")
    viewer = check_viewer(args)
    if args.demo:
        _make_demo()
    view(args, DEMO if args.demo else Path(args.work_dir), viewer)


def _make_demo() -> None:
    from annotator3d.api.demo import make_demo
    from annotator3d.cli.terminal import open_reporter

    with open_reporter() as reporter:
        make_demo(DEMO, reporter)
