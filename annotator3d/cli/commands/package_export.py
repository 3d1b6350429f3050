"""``annotator3d package export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.cli.command import command
from annotator3d.cli.ledgers import require_work_dir
from annotator3d.cli.options import add_scans, add_work_dir
from annotator3d.errors import ConfigError, count

if TYPE_CHECKING:
    from annotator3d.annotation.packages.choice import PackageChoice
    from annotator3d.annotation.packages.export import PackageResult


def add_options(parser: argparse.ArgumentParser) -> None:
    add_work_dir(parser)
    add = parser.add_argument
    add("out", metavar="FILE.a3dpack", help="package to write")
    add(
        "--to",
        required=True,
        metavar="NAME",
        help="who will label; the queries are held for this person",
    )
    add(
        "--days",
        type=float,
        default=14.0,
        help="how long the queries are held (default: 14)",
    )
    add(
        "--crop",
        type=float,
        metavar="METRES",
        help="pack only points this near to a query (default: whole scans)",
    )
    add("--images", action="store_true", help="pack camera images around the queries, too")
    add_scans(parser)
    _add_choice(parser)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("which queries").add_argument
    add(
        "--queries",
        default="open",
        metavar="open|disputed|all|3,17-20",
        help="default: open",
    )
    add("--round", type=int, action="append", metavar="N", help="of this round (repeatable)")
    add("--scan", action="append", metavar="ID", help="of this scan (repeatable)")
    add("--share", metavar="I/N", help="the I-th of N equal shares")
    add("--limit", type=int, metavar="N", help="at most N queries")
    add(
        "--again",
        action="store_true",
        help="those that this person already has, such as after a package was lost",
    )


@command(
    "package export",
    help="pack queries with their scans, predictions and classes",
    options=add_options,
    order=1,
)
def export(args: argparse.Namespace) -> None:
    from annotator3d.annotation.packages.export import ExportOptions
    from annotator3d.api.packages import export_package
    from annotator3d.cli.terminal import open_reporter

    options = ExportOptions(args.to, _choice(args), args.days, args.crop, args.images)
    with open_reporter() as reporter:
        packed = export_package(
            require_work_dir(args.work_dir),
            Path(args.out),
            options,
            config=args.config,
            data_root=args.data_root,
            reporter=reporter,
        )
    _print_packed(packed, args)


def _choice(args: argparse.Namespace) -> PackageChoice:
    from annotator3d.annotation.packages.choice import PackageChoice

    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit: expected 1 or more, got {args.limit}")
    return PackageChoice(
        args.queries,
        tuple(args.round or ()),
        tuple(args.scan or ()),
        None if args.share is None else _share(args.share),
        args.limit,
        args.again,
    )


def _share(text: str) -> tuple[int, int]:
    part, _, of = text.partition("/")
    if not (part.isdigit() and of.isdigit() and 1 <= int(part) <= int(of)):
        raise ConfigError(f"--share {text}: expected I/N, such as 1/3")
    return int(part), int(of)


def _print_packed(packed: PackageResult, args: argparse.Namespace) -> None:
    name, held = Path(args.out).name, f"held here for {args.days:g} days"
    if not packed.held:
        held = f"none waits for an answer of {args.to}, so none is held here"
    elif packed.held < packed.queries:
        held = f"{packed.held} wait for an answer of {args.to} and are {held}"
    print(
        f"{args.out}: {count(packed.queries, 'query', 'queries')} in "
        f"{count(packed.scans, 'scan')} for {args.to}, "
        f"{packed.bytes / 1e6:.1f} MB; {held}"
    )
    if args.images:
        print(f"camera images of {packed.images} queries")
    if packed.held_by_others:
        print(f"{packed.held_by_others} more are held by somebody else and were left out")
    if packed.out:
        print(
            f"{packed.out} more are in another package for {args.to} and were left out; --again "
            "packs those"
        )
    if packed.held:
        print(f"There: annotator3d label {name}")
    if packed.disputed or not packed.held:
        only = " --disputed" if packed.disputed else ""
        print(f"There, to decide: annotator3d label {name} --review{only}")
    print(f"Back here: annotator3d package merge {args.work_dir} {name}")
