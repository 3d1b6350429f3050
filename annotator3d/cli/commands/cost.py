"""``annotator3d cost``."""

from __future__ import annotations

import argparse
import json

from annotator3d.cli.command import command
from annotator3d.cli.options import add_json, add_work_dir


def add_options(parser: argparse.ArgumentParser) -> None:
    add_work_dir(parser)
    add_json(parser)


@command(
    "cost",
    help="show the time that the answers took and that the open queries will take",
    options=add_options,
    order=50,
)
def cost(args: argparse.Namespace) -> None:
    from annotator3d.analysis.costs import cost_of, cost_tables, cost_words
    from annotator3d.engine.workdir import WorkDir

    work_dir = WorkDir(args.work_dir)
    with work_dir.ledger() as ledger, ledger.snapshot():
        found = cost_of(ledger, work_dir.rounds)
    if args.json:
        print(json.dumps(found))
        return
    from annotator3d.cli.terminal import print_table

    for each in cost_tables(found):
        print_table(each.head, each.rows, each.title)
    for line in cost_words(found):
        print(line)
