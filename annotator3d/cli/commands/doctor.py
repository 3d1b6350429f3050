"""``annotator3d doctor``."""

from __future__ import annotations

import argparse
import json

from annotator3d.cli.command import command
from annotator3d.cli.options import add_json


@command(
    "doctor",
    help="show what is installed, built and found, and how to get what is missing",
    options=add_json,
    order=90,
)
def doctor(args: argparse.Namespace) -> int:
    from annotator3d.cli.doctor import examine, print_report

    report = examine()
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        print_report(report)
    return 0 if report["ok"] else 1
