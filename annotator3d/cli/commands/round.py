"""``annotator3d round``: how far the rounds of a run are answered."""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import TYPE_CHECKING

from annotator3d.cli.command import command, group
from annotator3d.cli.options import add_annotator, add_work_dir, annotator_of
from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    from annotator3d.ledger.ledger import Ledger

group("round", help="show how far the rounds of a run are answered, or close one", order=42)


def add_status(parser: argparse.ArgumentParser) -> None:
    add_work_dir(parser)
    parser.add_argument("--round", type=int, metavar="N", help="this round only")


def add_close(parser: argparse.ArgumentParser) -> None:
    add_work_dir(parser)
    parser.add_argument(
        "--round", type=int, metavar="N", help="default: every round with open queries"
    )
    parser.add_argument(
        "--release", action="store_true", help="give the open queries back to the budget"
    )
    add_annotator(parser, "who decides (default: your user name)")


@command("round status", help="show how far each round is answered", options=add_status, order=1)
def status(args: argparse.Namespace) -> None:
    from annotator3d.engine.workdir import WorkDir
    from annotator3d.ledger.describe import describe_disputed

    work_dir, number = WorkDir(args.work_dir), args.round
    with work_dir.ledger() as ledger:
        rounds = [r for r in ledger.rounds() if number in (None, r.number)]
        if not rounds:
            raise ConfigError(f"{ledger.path} has no round{f' {number}' if number else ''}")
        for entry in rounds:
            asked, waiting = ledger.spent(entry.number), len(ledger.open_queries(entry.number))
            state = "closed" if ledger.is_closed(entry.number) else "waits"
            print(
                f"round {entry.number} ({entry.strategy}): {asked - waiting} of {asked} voxels "
                f"answered{f', {waiting} open, {state}' if waiting else ''}"
            )
            if disputed := len(ledger.disputed_queries(entry.number)):
                print(f"  {describe_disputed(disputed, work_dir)}")
            if decision := ledger.round_decision(entry.number):
                print(f"  {decision}")
            for line in _held(ledger, entry.number):
                print(f"  {line}")


def _held(ledger: Ledger, number: int) -> list[str]:
    """Who holds open queries of a round, how many, and until when."""
    leases, found = ledger.leases.current(), defaultdict(list)
    for query in ledger.open_queries(number):
        if query.id in leases:
            lease = leases[query.id]
            found[lease.annotator, lease.package or ""].append(lease)
    lines = []
    for (_, package), members in sorted(found.items()):
        last = max(members, key=lambda lease: lease.until)
        lines.append(f"{len(members)} {last.description}{f' ({package})' if package else ''}")
    return lines


@command(
    "round close", help="let training go on with the answers there are", options=add_close, order=2
)
def close(args: argparse.Namespace) -> None:
    from annotator3d.engine.workdir import WorkDir
    from annotator3d.ledger.records import has_labels

    with WorkDir(args.work_dir).ledger(write=True) as ledger:
        numbers = [args.round]
        if args.round is None:
            waiting = sorted({query.round for query in ledger.open_queries()})
            numbers = [n for n in waiting if args.release or not ledger.is_closed(n)]
        if not numbers:
            print(f"no query of {args.work_dir} waits for an answer; there is nothing to close")
            return
        who = annotator_of(args)
        for closed in ledger.close_rounds(numbers, annotator=who, release=args.release):
            kept = f"{closed.open} stay open" if closed.open else "none stays open"
            given = f", {closed.released} released" if args.release else ""
            given += f" ({closed.held} are held by somebody)" if closed.held else ""
            print(
                f"round {closed.round} is closed: {closed.answered} of {closed.asked} voxels "
                f"answered{given}, {kept}"
            )
        if not has_labels(ledger.labels_by_scan()):
            print("warning: no point has a class yet, so training would learn nothing from answers")
    print("The training command continues with --resume.")
