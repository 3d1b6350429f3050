"""The commands about a run that is there: ``round``, ``cost`` and ``report``."""

from __future__ import annotations

import argparse
import getpass
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    from annotator3d.ledger.ledger import Ledger

AddCommand = Callable[[str, str], argparse.ArgumentParser]


def add_parsers(command: AddCommand) -> None:
    """Add the options of each command; `command` makes its parser."""
    sub = command("round", "how far the rounds of a run are answered, and closing one")
    sub.add_argument("action", choices=("status", "close"))
    sub.add_argument("work_dir", metavar="WORK_DIR")
    sub.add_argument("--round", type=int, metavar="N", help="default: every one with open queries")
    sub.add_argument(
        "--release", action="store_true", help="close: give the open queries back unspent"
    )
    sub.add_argument("--annotator", metavar="NAME", help="close: who decides; default: you")

    sub = command("cost", "what the answers took, and what the open ones will take")
    sub.add_argument("work_dir", metavar="WORK_DIR")
    sub.add_argument("--json", action="store_true")

    sub = command("report", "an HTML report of one run, finished or still running")
    sub.add_argument("work_dir", metavar="WORK_DIR")
    sub.add_argument("--out", metavar="FILE", help="default: WORK_DIR/report.html")


def round_command(args: argparse.Namespace) -> None:
    if args.action == "status":
        if args.release or args.annotator:
            raise ConfigError("--release and --annotator belong to round close")
        return _status(Path(args.work_dir), args.round)
    _close(Path(args.work_dir), args.round, args.release, args.annotator or getpass.getuser())


def _status(work_dir: Path, number: int | None) -> None:
    from annotator3d.ledger.describe import describe_disputed
    from annotator3d.ledger.ledger import Ledger

    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
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
        lines.append(f"{len(members)} {last.words}{f' ({package})' if package else ''}")
    return lines


def _close(work_dir: Path, number: int | None, release: bool, annotator: str) -> None:
    from annotator3d.ledger.ledger import Ledger

    with Ledger.open_existing(work_dir / "ledger.sqlite") as ledger:
        numbers = [number]
        if number is None:
            waiting = sorted({query.round for query in ledger.open_queries()})
            numbers = [n for n in waiting if release or not ledger.is_closed(n)]
        if not numbers:
            print(f"no query of {work_dir} waits for an answer; there is nothing to close")
            return
        for each in numbers:
            closed = ledger.close_round(each, annotator=annotator, release=release)
            kept = f"{closed.open} stay open" if closed.open else "none stays open"
            given = f", {closed.released} released" if release else ""
            given += f" ({closed.held} are held by somebody)" if closed.held else ""
            print(
                f"round {closed.round} is closed: {closed.answered} of {closed.asked} voxels "
                f"answered{given}, {kept}"
            )
    print("The training command goes on with --resume.")


def cost(args: argparse.Namespace) -> None:
    from annotator3d.analysis.costs import cost_of, cost_tables, cost_words
    from annotator3d.ledger.ledger import Ledger

    work_dir = Path(args.work_dir)
    with Ledger.read(work_dir / "ledger.sqlite") as ledger, ledger.snapshot():
        found = cost_of(ledger, work_dir / "rounds")
    if args.json:
        print(json.dumps(found))
        return
    from annotator3d.cli.terminal import print_table

    for each in cost_tables(found):
        print_table(each.head, each.rows, each.title)
    for line in cost_words(found):
        print(line)


def report(args: argparse.Namespace) -> None:
    from annotator3d.analysis.report.run import report_run
    from annotator3d.cli.terminal import open_reporter

    work_dir = Path(args.work_dir)
    with open_reporter() as reporter:
        path = report_run(work_dir, Path(args.out or work_dir / "report.html"), reporter)
    print(f"report: {path}")


COMMANDS = {"round": round_command, "cost": cost, "report": report}
