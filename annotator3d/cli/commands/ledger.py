"""``annotator3d ledger``: copy, move and read the ledger of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from annotator3d.cli.command import command, group
from annotator3d.cli.ledgers import ledger_path
from annotator3d.cli.options import add_ledger
from annotator3d.errors import count

group("ledger", help="check, copy, move and read the ledger of a run", order=60)


def add_backup(parser: argparse.ArgumentParser) -> None:
    add_ledger(parser)
    parser.add_argument(
        "out", metavar="FILE|FOLDER", help="the copy; in a folder, date and time are its name"
    )
    parser.add_argument(
        "--keep", type=int, metavar="N", help="in a folder: keep only the newest N copies"
    )


@command(
    "ledger backup",
    help="copy the ledger, even while people work on it",
    options=add_backup,
    order=2,
)
def backup(args: argparse.Namespace) -> None:
    from annotator3d.ledger.maintenance.backup import back_up

    copy = back_up(ledger_path(args.work_dir), Path(args.out), args.keep)
    print(f"{copy}: complete, {count(copy.stat().st_size, 'byte')}")


def add_export(parser: argparse.ArgumentParser) -> None:
    add_ledger(parser)
    parser.add_argument("out", metavar="OUT", help="a file (jsonl) or a folder (csv)")
    parser.add_argument(
        "--format", choices=("jsonl", "csv"), default="jsonl", help="default: jsonl"
    )


@command("ledger export", help="write the whole ledger as text", options=add_export, order=3)
def export(args: argparse.Namespace) -> None:
    from annotator3d.ledger.maintenance.transfer import export_ledger

    _print_counts(args.out, export_ledger(ledger_path(args.work_dir), Path(args.out), args.format))


def add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="EXPORT", help="what `ledger export` has written")
    parser.add_argument(
        "out",
        metavar="WORK_DIR|LEDGER",
        help="a new ledger *.sqlite, or a work directory without one; the folder is made",
    )


@command(
    "ledger import",
    help="make a ledger from an export, in either format",
    options=add_import,
    order=4,
)
def import_ledger(args: argparse.Namespace) -> None:
    from annotator3d.engine.workdir import WorkDir
    from annotator3d.ledger.maintenance import transfer

    out = Path(args.out)
    is_file = out.is_file() or (out.suffix == ".sqlite" and not out.is_dir())
    path = out if is_file else WorkDir(out).ledger_path
    _print_counts(path, transfer.import_ledger(Path(args.source), path, make_folder=not is_file))


def _print_counts(path: Path | str, counts: dict[str, int]) -> None:
    print(f"{path}: " + ", ".join(_rows(*row) for row in counts.items()))


def _rows(table: str, number: int) -> str:
    one = {"meta": "row of meta", "taxonomies": "taxonomy", "queries": "query"}
    several = {"meta": "rows of meta"}.get(table, table)
    return count(number, one.get(table, table.removesuffix("s")), several)


def add_log(parser: argparse.ArgumentParser) -> None:
    add_ledger(parser)
    add = parser.add_argument
    add("--query", type=int, metavar="N", help="everything that happened to this query")
    add("--annotator", metavar="NAME", help="events of this person only")
    add("--round", type=int, metavar="N", help="events of this round only")
    add("--last", type=int, default=20, metavar="N", help="number of events (default: 20)")


@command(
    "ledger log",
    help="list the last events, or everything that happened to one query",
    options=add_log,
    order=5,
)
def log(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import print_table
    from annotator3d.ledger.history import describe_history
    from annotator3d.ledger.ledger import Ledger

    with Ledger.read(ledger_path(args.work_dir)) as found:
        title, rows = describe_history(found, args.query, args.annotator, args.round, args.last)
    print(title)
    head = ("event", "query", "when", "who", "what", "about", "took")
    if rows:
        print_table(head, rows, whole=("event", "query", "when"))
