"""The command for people on other machines: ``package``, with its options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    from annotator3d.ledger.ledger import Ledger

AddCommand = Callable[[str, str], argparse.ArgumentParser]


def add_parsers(command: AddCommand) -> None:
    """Add the options of each command; `command` makes its parser."""
    sub = command("package", "queries for somebody on another machine, in one file")
    actions = sub.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        found = actions.add_parser(name, help=text, description=text)
        found.add_argument("--debug", action="store_true", help="show tracebacks")
        return found

    one = action("export", "pack queries with their scans, predictions and classes")
    one.add_argument("work_dir", metavar="WORK_DIR")
    one.add_argument("out", metavar="FILE.a3dpack")
    one.add_argument("--to", required=True, metavar="NAME", help="who will label; the queries are"
                     " held for them")  # fmt: skip
    one.add_argument("--queries", default="open", metavar="open|disputed|all|3,17-20")
    one.add_argument("--round", type=int, action="append", metavar="N", help="of these rounds only")
    one.add_argument("--scan", action="append", metavar="ID", help="of these scans only")
    one.add_argument("--share", metavar="I/N", help="the I-th of N equal shares")
    one.add_argument("--limit", type=int, metavar="N", help="at most so many")
    one.add_argument(
        "--again",
        action="store_true",
        help="what is out for this person already, as after a package was lost",
    )
    one.add_argument("--days", type=float, default=14.0, help="for which they are held at home")
    one.add_argument("--crop", type=float, metavar="METRES",
                     help="only points so near to a query; default: whole scans")  # fmt: skip
    one.add_argument("--images", action="store_true", help="camera images around the queries, too")
    one.add_argument("--config", metavar="CONFIG", help="where the work directory holds none")
    one.add_argument("--data-root", metavar="DIR", help="where the scans are now")

    one = action("recall", "end the holds of a person, so that others are asked")
    one.add_argument("work_dir", metavar="WORK_DIR")
    one.add_argument("--from", dest="who", required=True, metavar="NAME", help="who holds them")
    one.add_argument("--queries", metavar="3,17-20", help="default: all that they hold")

    one = action("merge", "bring the answers of packages home; again is allowed")
    one.add_argument("work_dir", metavar="WORK_DIR")
    one.add_argument("packages", nargs="+", metavar="PACKAGE")

    one = action("show", "what a package holds and how far it is answered")
    one.add_argument("package", metavar="PACKAGE")


def package(args: argparse.Namespace) -> int:
    actions = {"export": _export, "recall": _recall, "merge": _merge, "show": _show}
    return actions[args.action](args) or 0


def _export(args: argparse.Namespace) -> None:
    from annotator3d.annotation.packages.choice import PackageChoice
    from annotator3d.api import export_package
    from annotator3d.cli.terminal import open_reporter

    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit: expected 1 or more, got {args.limit}")
    choice = PackageChoice(
        args.queries,
        tuple(args.round or ()),
        tuple(args.scan or ()),
        None if args.share is None else _share(args.share),
        args.limit,
        args.again,
    )
    with open_reporter() as reporter:
        packed = export_package(
            _work_dir(args.work_dir),
            Path(args.out),
            to=args.to,
            choice=choice,
            days=args.days,
            crop=args.crop,
            images=args.images,
            config=args.config,
            data_root=args.data_root,
            reporter=reporter,
        )
    name, held = Path(args.out).name, f"held here for {args.days:g} days"
    if not packed.held:
        held = f"none waits for an answer of {args.to}, so none is held here"
    elif packed.held < packed.queries:
        held = f"{packed.held} wait for an answer of {args.to} and are {held}"
    print(
        f"{args.out}: {packed.queries} queries in {packed.scans} scans for {args.to}, "
        f"{packed.bytes / 1e6:.1f} MB; {held}"
    )
    if args.images:
        print(f"camera images of {packed.images} queries")
    if packed.held_by_others:
        print(f"{packed.held_by_others} more are held by somebody else and were left out")
    if packed.out:
        print(
            f"{packed.out} more are out for {args.to} already and were left out; --again packs "
            "those again"
        )
    if packed.held:
        print(f"There: annotator3d label {name}")
    if packed.disputed or not packed.held:
        only = " --disputed" if packed.disputed else ""
        print(f"There, to decide: annotator3d label {name} --review{only}")
    print(f"Back here: annotator3d package merge {args.work_dir} {name}")


def _recall(args: argparse.Namespace) -> None:
    from annotator3d.annotation.packages.export import recall

    with _open_to_write(args.work_dir) as ledger:
        found = recall(ledger, args.who, args.queries)
    print(
        f"{args.work_dir}: {len(found)} queries are held for {args.who} no longer: others are "
        "asked. Answers to them in a package still count: annotator3d package merge"
    )


def _merge(args: argparse.Namespace) -> int:
    from annotator3d.annotation.packages.merge import merge

    failed = 0
    with _open_to_write(args.work_dir) as ledger:
        for name in args.packages:
            merged = merge(ledger, Path(name))
            people = ", ".join(f"{n} of {who}" for who, n in sorted(merged.responses.items()))
            others = ", ".join(f"{n} {kind}" for kind, n in sorted(merged.others.items()))
            print(f"{name}: {merged.responses.total()} new answers ({people or 'nobody'})")
            if others:
                print(f"  also new: {others}")
            if merged.replaced:
                print(
                    f"  {merged.replaced} of them were corrected or taken back; the others answer "
                    f"{merged.answered} queries"
                )
            if merged.in_part:
                print(
                    f"  {len(merged.in_part)} queries wait again: they were answered with a class "
                    "that was split here"
                )
            if merged.known:
                print(f"  {merged.known} events were here already")
            if merged.disputed:
                print(
                    f"  {len(merged.disputed)} queries are answered differently and wait for a "
                    f"decision: annotator3d label {args.work_dir} --review --disputed"
                )
            if merged.released:
                failed = 1
                print(
                    f"  {len(merged.released)} answered queries were released here meanwhile; "
                    f"their answers stay in the package: {_listed(merged.released)}"
                )
        waiting = len(ledger.open_queries())
    print(f"{args.work_dir}: {waiting} queries wait for an answer")
    return failed


def _show(args: argparse.Namespace) -> None:
    from annotator3d.annotation.packages.package import read_manifest
    from annotator3d.ledger.ledger import Ledger

    path = Path(args.package)
    manifest = read_manifest(path)
    with Ledger.read(path) as ledger:
        summary, scans = ledger.summary(), len(ledger.scans())
        classes = ", ".join(ledger.taxonomy_names)
    points = "whole scans" if manifest.crop is None else f"points within {manifest.crop:g} m"
    print(f"for {manifest.to}, made by {manifest.made_by} at {manifest.made_at}")
    print(f"{summary.voxels} queries in {scans} scans ({points}); {summary.open} are open")
    print(f"classes: {classes}")


def _open_to_write(work_dir: str) -> Ledger:
    from annotator3d.ledger.ledger import Ledger

    return Ledger.open_existing(_work_dir(work_dir) / "ledger.sqlite")


def _work_dir(text: str) -> Path:
    from annotator3d.ledger.database import is_package

    if is_package(Path(text)):
        raise ConfigError(f"{text} is a work package: a work directory belongs here")
    return Path(text)


def _share(text: str) -> tuple[int, int]:
    part, _, of = text.partition("/")
    if not (part.isdigit() and of.isdigit() and 1 <= int(part) <= int(of)):
        raise ConfigError(f"--share {text}: expected I/N, such as 1/3")
    return int(part), int(of)


def _listed(numbers: list[int]) -> str:
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return ", ".join(map(str, numbers[:5])) + more


COMMANDS = {"package": package}
