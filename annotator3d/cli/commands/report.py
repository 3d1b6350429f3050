"""``annotator3d report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from annotator3d.cli.command import command
from annotator3d.cli.options import add_work_dir


def add_options(parser: argparse.ArgumentParser) -> None:
    add_work_dir(parser)
    parser.add_argument("--out", metavar="FILE", help="default: WORK_DIR/report.html")


@command(
    "report",
    help="write an HTML report of one run, finished or still running",
    options=add_options,
    order=51,
)
def report(args: argparse.Namespace) -> None:
    from annotator3d.analysis.report.run import report_run
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.engine.workdir import WorkDir

    work_dir = WorkDir(args.work_dir)
    with open_reporter() as reporter:
        path = report_run(work_dir, Path(args.out or work_dir.path / "report.html"), reporter)
    print(f"report: {path}")
