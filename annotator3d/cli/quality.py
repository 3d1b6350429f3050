"""The commands about how good the answers are: ``quality`` and ``ledger suspicious``."""

from __future__ import annotations

import argparse
import getpass
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    from annotator3d.ledger.ledger import Ledger

AddCommand = Callable[[str, str], argparse.ArgumentParser]


def add_parsers(command: AddCommand) -> None:
    """Add the options of each command; `command` makes its parser."""
    sub = command("quality", "asking for answers twice, and how far people agree")
    actions = sub.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        found = actions.add_parser(name, help=text, description=text)
        found.add_argument("--debug", action="store_true", help="show tracebacks")
        return found

    ask = action("request", "ask a second person, or the same one again")
    ask.add_argument("work_dir", metavar="WORK_DIR")
    add_shares(ask)
    ask.add_argument("--annotator", metavar="NAME", help="who asks; default: you")
    tell = action("report", "agreement, kappa, disputes, proposals, corrections")
    tell.add_argument("work_dir", metavar="WORK_DIR")
    tell.add_argument("--json", action="store_true")


def add_suspicious(action: AddCommand) -> None:
    """Add ``ledger suspicious``; `action` makes its parser."""
    sub = action("suspicious", "answers that the trained network contradicts, and asking again")
    sub.add_argument("work_dir", metavar="WORK_DIR")
    sub.add_argument("--checkpoint", metavar="FILE", help="default: the newest of the run")
    sub.add_argument("--worst", type=int, default=20, metavar="N", help="how many; default: 20")
    sub.add_argument(
        "--below", default="50%", metavar="SHARE",
        help="only where the network gives less than this to what was answered; default: 50%%",
    )  # fmt: skip
    sub.add_argument("--queue", action="store_true", help="ask for these answers again")
    sub.add_argument("--annotator", metavar="NAME", help="--queue: who asks; default: you")
    sub.add_argument("--config", metavar="CONFIG", help="where the work directory holds none")
    sub.add_argument("--data-root", metavar="DIR", help="where the scans are now")


def add_shares(sub: argparse.ArgumentParser) -> None:
    """Add the options that say how much is asked again."""
    sub.add_argument(
        "--overlap", default="0", metavar="SHARE",
        help="ask a second person about this share of each round, as 5%% or 0.05",
    )  # fmt: skip
    sub.add_argument(
        "--repeat", default="0", metavar="SHARE",
        help="ask the same person again about this share of the answers, later",
    )  # fmt: skip


def quality(args: argparse.Namespace) -> None:
    work_dir = Path(args.work_dir)
    if args.action == "report":
        return _report(work_dir, args.json)
    _request(work_dir, args.overlap, args.repeat, args.annotator or getpass.getuser())


def _request(work_dir: Path, overlap: str, repeat: str, annotator: str) -> None:
    from annotator3d.annotation.second_opinions import OverlapOptions, request_all, share_of

    shares = OverlapOptions(share_of(overlap), share_of(repeat))
    if not (shares.overlap or shares.repeat):
        raise ConfigError("quality request needs --overlap SHARE or --repeat SHARE")
    with _open(work_dir) as ledger:
        overlaps, repeats = request_all(ledger, shares, annotator=annotator)
    if shares.overlap:
        print(f"{len(overlaps)} voxels more wait for a second person's opinion")
    if shares.repeat:
        for person, queries in repeats.items():
            print(f"{person} is asked again about {len(queries)} voxels")
        if not repeats:
            print("nothing is due to be asked of the same person again")


def _report(work_dir: Path, as_json: bool) -> None:
    from annotator3d.analysis.quality.report import quality_of, quality_tables
    from annotator3d.ledger.ledger import Ledger

    with Ledger.read(work_dir / "ledger.sqlite") as ledger, ledger.snapshot():
        report = quality_of(ledger)
    if as_json:
        print(json.dumps(report))
        return
    from annotator3d.cli.terminal import print_table

    for each in quality_tables(report):
        print_table(each.head, each.rows, each.title)
    if not report["pairs"] and not report["repeats"]:
        # Two answers that one person gave on two machines are disputed, but not independent.
        none = "nobody has answered the same voxel twice yet"
        if report["disputed"]:
            none = "nobody has given a second opinion yet, so no agreement can be told"
        print(f"{none}: annotator3d quality request asks")


def suspicious(args: argparse.Namespace) -> None:
    from annotator3d.analysis.quality.suspicion import (
        contradicted,
        judge_answers,
        named,
        not_asked_before,
        queue_again,
    )
    from annotator3d.annotation.second_opinions import share_of
    from annotator3d.cli.terminal import open_reporter, print_table
    from annotator3d.engine.workdir import config_of

    if args.worst < 1:
        raise ConfigError(f"--worst: expected at least 1, got {args.worst}")
    if args.annotator and not args.queue:
        raise ConfigError("--annotator belongs to --queue")
    work_dir, below = Path(args.work_dir), share_of(args.below)
    with open_reporter() as reporter:
        judged, source = judge_answers(
            config_of(work_dir, args.config),
            work_dir,
            reporter,
            checkpoint=None if args.checkpoint is None else Path(args.checkpoint),
            data_root=args.data_root,
        )
    found, effective = contradicted(judged, below)
    from annotator3d.ledger.ledger import Ledger

    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        names, size = ledger.taxonomy_names, ledger.voxel_size
        fresh = not_asked_before(ledger, found)
    before = f"; {len(found) - len(fresh)} of these were asked about before" if found else ""
    print(
        f"{source}: {len(found)} of {effective} answers in force are contradicted "
        f"(below {args.below}){before}"
    )
    listed = fresh[: args.worst]
    rows = [
        [str(j.query.id), j.query.scan, f"{j.distance(size):.0f} m", j.annotator,
         named(j.said, names), named(j.predicted, names), f"{100 * j.probability:.1f} %"]
        for j in listed
    ]  # fmt: skip
    if rows:
        head = ["voxel", "scan", "range", "person", "said", "predicted", "probability"]
        title = f"The worst {len(rows)} of the {len(fresh)} that nobody was asked about yet"
        print_table(head, rows, title)
    if args.queue and found:
        with _open(work_dir) as ledger:
            who = args.annotator or getpass.getuser()
            asked = queue_again(ledger, listed, annotator=who, source=source)
        late = len(listed) - len(asked)
        since = f"; {late} were answered or asked about meanwhile" if late else ""
        print(f"{len(asked)} are asked again{since}")


def _open(work_dir: Path) -> Ledger:
    from annotator3d.ledger.ledger import Ledger

    return Ledger.open_existing(work_dir / "ledger.sqlite")


COMMANDS = {"quality": quality}
