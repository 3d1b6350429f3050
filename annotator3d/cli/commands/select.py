"""``annotator3d select``."""

from __future__ import annotations

import argparse
from pathlib import Path

from annotator3d.cli.command import command
from annotator3d.cli.configs import config_from, data_root_of
from annotator3d.cli.options import add_config
from annotator3d.errors import ConfigError, count

_KINDS = {
    "--logits": "class scores before the softmax; -inf is the logarithm of 0",
    "--probabilities": "class scores after the softmax: each row has the sum 1",
    "--scores": "a score for each point",
    "--train-ids": "a class for each point: 0 to C - 1, in the order of the class map",
    "--raw-ids": "a class for each point: its number in the data set's files",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add = parser.add_argument
    add("--work-dir", metavar="DIR", required=True, help="folder of the ledger")
    add("--checkpoint", metavar="FILE", help="weights of the config's network")
    add("--predictions", metavar="DIR", help=".label files or .npy arrays of another network")
    stream = parser.add_argument_group("a stream: scans are decided about as they arrive")
    stream.add_argument(
        "--stream",
        metavar="FROM",
        nargs="?",
        const="folder",
        choices=("folder", "-"),
        help="folder: the data set's, which grows (default); -: paths or ids, a line each, from "
        "standard input. active.queries_per_hour is the budget",
    )
    stream.add_argument(
        "--idle", metavar="SECONDS", type=float, help="end after so long without a new scan"
    )
    kinds = parser.add_argument_group("what the .npy files hold, where that is not clear")
    kinds = kinds.add_mutually_exclusive_group()
    for flag, words in _KINDS.items():
        kind = flag.removeprefix("--").replace("-", "_")
        kinds.add_argument(flag, dest="kind", action="store_const", const=kind, help=words)


@command(
    "select",
    help="select the voxels of one round without training",
    options=add_options,
    order=31,
    when_stopped="; nothing in the ledger is lost",
)
def select(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import open_reporter

    config, path = config_from(args, ["train"])  # before torch is loaded
    from annotator3d.engine.rounds.select_only import select_only

    if args.idle is not None and not args.stream:
        raise ConfigError("--idle belongs to --stream")
    given = {
        "checkpoint": args.checkpoint,
        "predictions": args.predictions,
        "prediction_kind": args.kind,
        "data_root": data_root_of(args, config, path),
    }
    if args.stream:
        return _stream(args, config, given)
    with open_reporter() as reporter:
        result = select_only(config, args.work_dir, **given, reporter=reporter)
    print(
        f"round {result.round}: {result.strategy} asks about {count(result.voxels, 'voxel')} "
        f"({count(result.points, 'point')}) in {count(result.scans, 'scan')}: {result.listing}"
    )


def _stream(args: argparse.Namespace, config, given: dict) -> None:
    import sys

    from annotator3d.cli.terminal import open_reporter
    from annotator3d.engine.rounds.select_stream import select_stream

    with open_reporter() as reporter:
        found = select_stream(
            config,
            args.work_dir,
            **given,
            paths=sys.stdin if args.stream == "-" else None,
            idle=args.idle,
            reporter=reporter,
        )
    left = f", {count(found.unreadable, 'scan')} left out" if found.unreadable else ""
    late = f", {count(found.passed_over, 'scan')} passed over" if found.passed_over else ""
    print(
        f"stream: {count(found.voxels, 'voxel')} asked about in {count(found.scans, 'scan')}"
        f"{left}{late}: {Path(args.work_dir) / 'rounds'}/*/queries.csv"
    )
