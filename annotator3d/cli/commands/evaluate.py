"""``annotator3d evaluate``."""

from __future__ import annotations

import argparse
import json

from annotator3d.cli.command import command
from annotator3d.cli.configs import config_from, data_root_of
from annotator3d.cli.options import add_config, add_json


def add_options(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="weights of the config's network")
    add_json(parser)


@command(
    "evaluate",
    help="print the mIoU of a checkpoint over every point of the validation scans",
    options=add_options,
    order=32,
)
def evaluate(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import open_reporter, print_iou_table

    config, path = config_from(args, ["val"])  # before torch is loaded
    from annotator3d.engine.evaluation import evaluate_checkpoint

    root = data_root_of(args, config, path)
    with open_reporter(aside=args.json) as reporter:
        result = evaluate_checkpoint(config, args.checkpoint, root, reporter)
    if args.json:
        print(json.dumps(result))
    else:
        print_iou_table(result)
