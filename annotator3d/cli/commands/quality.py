"""``annotator3d quality``: how far people agree, and asking twice."""

from __future__ import annotations

import argparse
import json

from annotator3d.cli.command import command, group
from annotator3d.cli.options import (
    add_annotator,
    add_json,
    add_shares,
    add_work_dir,
    annotator_of,
)
from annotator3d.errors import ConfigError, count

group("quality", help="ask for answers twice, and show how far people agree", order=43)


def add_request(parser: argparse.ArgumentParser) -> None:
    add_work_dir(parser)
    add_shares(parser)
    add_annotator(parser, "who asks (default: your user name)")


def add_report(parser: argparse.ArgumentParser) -> None:
    add_work_dir(parser)
    add_json(parser)


@command(
    "quality request",
    help="ask a second person, or the same person again",
    options=add_request,
    order=1,
)
def request(args: argparse.Namespace) -> None:
    from annotator3d.annotation.second_opinions import OverlapOptions, request_all, share_of
    from annotator3d.engine.workdir import WorkDir

    shares = OverlapOptions(share_of(args.overlap), share_of(args.repeat))
    if not (shares.overlap or shares.repeat):
        raise ConfigError("expected --overlap SHARE or --repeat SHARE, got neither")
    with WorkDir(args.work_dir).ledger(write=True) as ledger:
        overlaps, repeats = request_all(ledger, shares, annotator=annotator_of(args))
    if shares.overlap:
        print(f"{len(overlaps)} more voxels wait for the opinion of a second person")
    if shares.repeat:
        for person, queries in repeats.items():
            print(f"{person} is asked again about {count(len(queries), 'voxel')}")
        if not repeats:
            print("it is too early to ask anybody again")


@command(
    "quality report",
    help="show agreement, kappa, disputes, proposals and corrections",
    options=add_report,
    order=2,
)
def report(args: argparse.Namespace) -> None:
    from annotator3d.analysis.quality.report import quality_of, quality_tables
    from annotator3d.engine.workdir import WorkDir

    with WorkDir(args.work_dir).ledger() as ledger, ledger.snapshot():
        found = quality_of(ledger)
    if args.json:
        print(json.dumps(found))
        return
    from annotator3d.cli.terminal import print_table

    for each in quality_tables(found):
        print_table(each.head, each.rows, each.title)
    if not found["pairs"] and not found["repeats"]:
        # Two answers that one person gave on two machines are disputed, but not independent.
        none = "nobody has answered the same voxel twice yet"
        if found["disputed"]:
            none = "nobody has given a second opinion yet, so agreement cannot be measured"
        print(f"{none}; to ask for one: annotator3d quality request")
