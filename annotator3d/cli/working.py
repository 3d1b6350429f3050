"""From one round to the next: train, let a person answer, and train on."""

from __future__ import annotations

import argparse
import shlex
from functools import partial
from typing import TYPE_CHECKING

from annotator3d.cli.review_options import without_review
from annotator3d.cli.stopping import run_until_stopped
from annotator3d.cli.viewing import add_viewing, check_viewer, view

if TYPE_CHECKING:
    from annotator3d.engine.config.schema import RunConfig
    from annotator3d.engine.workdir import WorkDir


def add_working(parser: argparse.ArgumentParser) -> None:
    """The options of a viewer that is opened again and again; not those of a review."""
    parser.add_argument(
        "--no-view", action="store_true", help="open no viewer: stop where a person has to answer"
    )
    add_viewing(parser)
    without_review(parser)


def check_working(args: argparse.Namespace) -> None:
    """Raise, before any work, where no viewer can be opened; see `check_viewer`."""
    if not args.no_view:
        for each in check_viewer(args).listening or ():
            each.close()  # it listens again when there is something to show


def work_through(
    args: argparse.Namespace,
    config: RunConfig,
    work_dir: WorkDir,
    data_root: str | None,
    again: str,
) -> None:
    """Train, and open the viewer where a round waits; to the end, or until it is closed early.

    Args:
        again: the command that goes on.
    """
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.engine.rounds.hook import WaitingForOracleError
    from annotator3d.engine.run import train

    while True:
        try:
            with open_reporter() as reporter:
                train(config, work_dir, resume=True, data_root=data_root, reporter=reporter)
        except WaitingForOracleError as waiting:
            print(f"{waiting}, on {_scans(work_dir)}", flush=True)
            if not args.no_view:
                run_until_stopped(partial(_view, args, work_dir), "all answers are saved")
                if not _open_queries(work_dir):
                    continue
            print(f"next: {again}")
            return
        _print_end(work_dir)
        return


def _view(args: argparse.Namespace, work_dir: WorkDir) -> None:
    view(args, work_dir.path, check_viewer(args))


def _open_queries(work_dir: WorkDir) -> list:
    with work_dir.ledger() as ledger:
        return ledger.open_queries()


def _scans(work_dir: WorkDir) -> str:
    from annotator3d.errors import count, some

    names = dict.fromkeys(query.scan for query in _open_queries(work_dir))
    return f"{count(len(names), 'scan')}: {some([*names])}"


def _print_end(work_dir: WorkDir) -> None:
    run = shlex.quote(str(work_dir))
    print(f"all rounds are answered, and the network is trained: {work_dir}")
    print(f"next: annotator3d export {run} OUT --what predictions --format ply")
