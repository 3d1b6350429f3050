"""``annotator3d doctor``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from annotator3d.cli.command import command
from annotator3d.cli.options import add_json

COLOURS = {"ok": "green", "missing": "red", "optional": "yellow"}  # by state


@command(
    "doctor",
    help="show what is installed, built and found, and how to get what is missing",
    options=add_json,
    order=90,
)
def doctor(args: argparse.Namespace) -> int:
    from annotator3d.cli.doctor import examine

    report = examine()
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    return 0 if report["ok"] else 1


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
