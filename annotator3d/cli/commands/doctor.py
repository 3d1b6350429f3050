"""``annotator3d doctor``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from annotator3d.cli.command import command
from annotator3d.cli.options import add_json

TABLE = "gpu-check.md"
COLOURS = {"ok": "green", "missing": "red", "optional": "yellow"}  # by state


def _options(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    parser.add_argument(
        "--gpu",
        action="store_true",
        help="try everything that wants a GPU (at most 10 minutes) and write a table of it",
    )
    parser.add_argument("--table", metavar="FILE", help=f"of --gpu (default: {TABLE})")
    parser.add_argument(
        "--data-root",
        metavar="DIR",
        help="for the benchmarks of --gpu: real scans with labels, in SemanticKITTI's layout",
    )


@command(
    "doctor",
    help="show what is installed, built and found, and how to get what is missing",
    options=_options,
    order=90,
)
def doctor(args: argparse.Namespace) -> int:
    _check_options(args)
    if args.gpu:
        return _check_gpu(args)
    from annotator3d.cli.doctor import examine

    report = examine()
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    return 0 if report["ok"] else 1


def _check_options(args: argparse.Namespace) -> None:
    from annotator3d.errors import ConfigError

    if args.gpu and args.json:
        raise ConfigError("--json: --gpu writes a table, not JSON; leave one of the two out")
    for option in ("table", "data_root"):
        if getattr(args, option) is not None and not args.gpu:
            name = option.replace("_", "-")
            raise ConfigError(f"--{name}: is an option of --gpu; add --gpu or leave it out")


def _check_gpu(args: argparse.Namespace) -> int:
    import tempfile
    from pathlib import Path

    from annotator3d.cli.gpu_check.machine import missing
    from annotator3d.cli.gpu_check.plan import checkout, make_plan
    from annotator3d.cli.gpu_check.run import check_gpu

    if lacking := missing():
        print("nothing was checked, since no GPU can be used here:")
        print("\n".join(f"- {words}" for words in lacking))
        return 1
    table = Path(args.table or TABLE)
    if not table.absolute().parent.is_dir():
        raise FileNotFoundError(f"--table: there is no folder {table.parent}; make it first")
    with tempfile.TemporaryDirectory(prefix="annotator3d-gpu-") as scratch:
        steps = make_plan(checkout(), Path(scratch), args.data_root)
        print(f"{len(steps)} steps, at most 10 minutes; {table} is written after each", flush=True)
        passed = check_gpu(steps, table, lambda words: print(words, flush=True))
    print(f"{table} holds the table for docs/benchmarks.md")
    return 0 if passed else 1


def _print(report: dict[str, Any]) -> None:
    """Print a table, or plain lines if rich is missing or broken."""
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except Exception:  # rich may be broken in any way, which the report shows
        for check in report["checks"]:
            fix = f"; {check['fix']}" if check["fix"] else ""
            print(f"{check['name']}: {check['state']}: {check['found']}{fix}")
        return
    from annotator3d.cli.visible import terminal

    table = Table()
    for head in ("part", "found", "state", "what to do"):
        table.add_column(head, overflow="fold")
    for check in report["checks"]:
        state = f"[{COLOURS[check['state']]}]{check['state']}[/]"
        table.add_row(check["name"], escape(check["found"]), state, escape(check["fix"]))
    Console(file=terminal()).print(table)
