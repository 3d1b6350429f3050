"""``annotator3d package``: recall, merge and show work packages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.cli.command import command, group
from annotator3d.cli.ledgers import require_work_dir
from annotator3d.cli.options import add_work_dir
from annotator3d.errors import count

if TYPE_CHECKING:
    from annotator3d.annotation.packages.merge import MergeResult

group("package", help="exchange queries with people on other machines, in one file each", order=44)


def add_recall(parser: argparse.ArgumentParser) -> None:
    add_work_dir(parser)
    parser.add_argument("--from", dest="who", required=True, metavar="NAME", help="who holds them")
    parser.add_argument("--queries", metavar="3,17-20", help="default: all that they hold")


@command(
    "package recall",
    help="end the holds of a person, so that others are asked",
    options=add_recall,
    order=2,
)
def recall(args: argparse.Namespace) -> None:
    from annotator3d.annotation.packages.recall import recall_queries

    with require_work_dir(args.work_dir).ledger(write=True) as ledger:
        found = recall_queries(ledger, args.who, args.queries)
    print(
        f"{args.work_dir}: {count(len(found), 'query is', 'queries are')} no longer held for "
        f"{args.who}, and others are "
        "asked. Answers to them in a package still count: annotator3d package merge"
    )


def add_merge(parser: argparse.ArgumentParser) -> None:
    add_work_dir(parser)
    parser.add_argument("packages", nargs="+", metavar="PACKAGE", help="packages with answers")


@command(
    "package merge",
    help="bring the answers of packages home; merging one again is safe",
    options=add_merge,
    order=3,
)
def merge(args: argparse.Namespace) -> int:
    from annotator3d.annotation.packages.merge import merge_package

    failed = 0
    with require_work_dir(args.work_dir).ledger(write=True) as ledger:
        for name in args.packages:
            merged = merge_package(ledger, Path(name))
            for line in _merged_lines(merged, name, args.work_dir):
                print(line)
            failed |= bool(merged.released)
        waiting = len(ledger.open_queries())
    print(f"{args.work_dir}: {count(waiting, 'query waits', 'queries wait')} for an answer")
    return int(failed)


def _merged_lines(merged: MergeResult, name: str, work_dir: str) -> list[str]:
    people = ", ".join(f"{n} of {who}" for who, n in sorted(merged.responses.items()))
    lines = [f"{name}: {merged.responses.total()} new answers ({people or 'nobody'})"]
    if others := ", ".join(f"{n} {kind}" for kind, n in sorted(merged.others.items())):
        lines.append(f"  also new: {others}")
    if merged.replaced:
        lines.append(
            f"  {merged.replaced} of them were corrected or taken back; the others answer "
            f"{count(merged.answered, 'query', 'queries')}"
        )
    if merged.in_part:
        lines.append(
            f"  {count(len(merged.in_part), 'query waits', 'queries wait')} again: they were "
            "answered with a class that "
            "was split here"
        )
    if merged.known:
        lines.append(f"  {count(merged.known, 'event was', 'events were')} here already")
    if merged.disputed:
        verbs = ("is answered differently and waits", "are answered differently and wait")
        disputed = count(len(merged.disputed), f"query {verbs[0]}", f"queries {verbs[1]}")
        lines.append(
            f"  {disputed} for a decision: annotator3d label {work_dir} --review --disputed"
        )
    if merged.released:
        lines.append(
            f"  {len(merged.released)} answered queries were released here meanwhile; their "
            f"answers stay in the package: {_listed(merged.released)}"
        )
    return lines


def _listed(numbers: list[int]) -> str:
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return ", ".join(map(str, numbers[:5])) + more


def add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", metavar="PACKAGE", help="a work package")


@command(
    "package show",
    help="show what a package holds and how far it is answered",
    options=add_show,
    order=4,
)
def show(args: argparse.Namespace) -> None:
    from annotator3d.annotation.packages.package import read_manifest
    from annotator3d.ledger.ledger import Ledger
    from annotator3d.ledger.package_file import PackageFile

    path = Path(args.package)
    manifest = read_manifest(path)
    PackageFile(path).require_sealed()
    with Ledger.read(path) as ledger:
        summary, scans = ledger.summary(), len(ledger.scans())
        classes = ", ".join(ledger.taxonomy_names)
    points = "whole scans" if manifest.crop is None else f"points within {manifest.crop:g} m"
    print(f"for {manifest.recipient}, made by {manifest.made_by} at {manifest.made_at}")
    print(
        f"{count(summary.voxels, 'query', 'queries')} in {count(scans, 'scan')} "
        f"({points}); {summary.open} are open"
    )
    print(f"classes: {classes}")
