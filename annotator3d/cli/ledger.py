"""The commands that keep a ledger: ``ledger`` and ``taxonomy``, with their options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from annotator3d.cli.quality import add_suspicious, suspicious
from annotator3d.cli.taxonomy import add_taxonomy, taxonomy
from annotator3d.cli.verify import add_verify, ledger_path, verify

AddCommand = Callable[[str, str], argparse.ArgumentParser]


def add_parsers(command: AddCommand) -> None:
    """Add the options of each command; `command` makes its parser."""
    add_taxonomy(command("taxonomy", "take the answers of a run over to another class list"))
    _ledger_options(command("ledger", "check, copy, move and read the ledger of a run"))


def _ledger_options(sub: argparse.ArgumentParser) -> None:
    actions = sub.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        found = actions.add_parser(name, help=text, description=text)
        found.add_argument("--debug", action="store_true", help="show tracebacks")
        return found

    add_verify(action)

    one = action("backup", "copy the ledger, also while people work on it")
    one.add_argument("work_dir", metavar="WORK_DIR|LEDGER")
    one.add_argument("out", metavar="FILE|FOLDER", help="a folder gets a file with date and time")
    one.add_argument("--keep", type=int, metavar="N", help="in a folder: only the newest N stay")

    one = action("export", "write the whole ledger as text")
    one.add_argument("work_dir", metavar="WORK_DIR|LEDGER")
    one.add_argument("out", metavar="OUT", help="a file (jsonl) or a folder (csv)")
    one.add_argument("--format", choices=("jsonl", "csv"), default="jsonl")

    one = action("import", "make a ledger of what export wrote, in either format")
    one.add_argument("source", metavar="EXPORT")
    one.add_argument("out", metavar="WORK_DIR|LEDGER", help="must not hold a ledger; what is"
                     " not called *.sqlite is a work directory, made if need be")  # fmt: skip

    one = action("log", "what happened, readable: to one query, or last of all")
    one.add_argument("work_dir", metavar="WORK_DIR|LEDGER")
    one.add_argument("--query", type=int, metavar="N", help="everything that happened to one")
    one.add_argument("--annotator", metavar="NAME")
    one.add_argument("--round", type=int, metavar="N")
    one.add_argument("--last", type=int, default=20, metavar="N", help="events; default: 20")

    add_suspicious(action)


def ledger(args: argparse.Namespace) -> int:
    return ACTIONS[args.action](args) or 0


def _backup(args: argparse.Namespace) -> None:
    from annotator3d.ledger.maintenance.backup import back_up

    copy = back_up(ledger_path(args.work_dir), Path(args.out), args.keep)
    print(f"{copy}: whole, {copy.stat().st_size} bytes")


def _export(args: argparse.Namespace) -> None:
    from annotator3d.ledger.maintenance.transfer import export

    path = ledger_path(args.work_dir)
    counts = export(path, Path(args.out), args.format)
    print(f"{args.out}: " + ", ".join(f"{count} {table}" for table, count in counts.items()))


def _import(args: argparse.Namespace) -> None:
    from annotator3d.ledger.maintenance.transfer import load

    out = Path(args.out)
    is_file = out.is_file() or (out.suffix == ".sqlite" and not out.is_dir())
    path = out if is_file else out / "ledger.sqlite"
    counts = load(Path(args.source), path, make_folder=not is_file)
    print(f"{path}: " + ", ".join(f"{count} {table}" for table, count in counts.items()))


def _log(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import print_table
    from annotator3d.ledger.describe import history
    from annotator3d.ledger.ledger import Ledger

    with Ledger.read(ledger_path(args.work_dir)) as found:
        title, rows = history(found, args.query, args.annotator, args.round, args.last)
    print(title)
    head = ("event", "query", "when", "who", "what", "about", "took")
    print_table(head, rows, whole=("event", "query", "when"))


ACTIONS = {
    "verify": verify,
    "backup": _backup,
    "export": _export,
    "import": _import,
    "log": _log,
    "suspicious": suspicious,
}
COMMANDS = {"taxonomy": taxonomy, "ledger": ledger}
