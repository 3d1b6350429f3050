"""``annotator3d ledger verify``: a ledger, a backup or a work package, with its scans."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from annotator3d.cli.command import command
from annotator3d.cli.ledgers import ledger_path
from annotator3d.cli.options import add_json, add_scans
from annotator3d.errors import ConfigError, count
from annotator3d.system_errors import in_words

if TYPE_CHECKING:
    from annotator3d.reporter import Reporter


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "work_dir",
        metavar="WORK_DIR|LEDGER|PACKAGE",
        help="work directory of a run, a ledger file, or a work package",
    )
    add_scans(parser)
    parser.add_argument("--no-scans", action="store_true", help="do not read the scans")
    add_json(parser)


class ScanAccess(NamedTuple):
    """What the scans of a ledger are read from."""

    source: Any = None  # `ScanSource`; None: they are not checked
    predictions: Any = None
    problems: Sequence[str] = ()
    unchecked: Sequence[str] = ()  # what is not looked at, and why


@command(
    "ledger verify",
    help="check every rule of a ledger, and the scans that its queries are about",
    options=add_options,
    order=1,
)
def verify(args: argparse.Namespace) -> int:
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.ledger.database import is_package
    from annotator3d.ledger.maintenance.verify import verify as check

    path = ledger_path(args.work_dir)
    with open_reporter(aside=args.json) as reporter:
        scans = _of_package(path, args) if is_package(path) else _of_run(path, args, reporter)
        found = check(
            path,
            scans.source,
            scans.predictions,
            lambda done, total: reporter.progress("reading scans", done, total),
        )
    if found.counts:  # else the file itself cannot be read, which is why the scans cannot
        found.problems += scans.problems
    if args.json:
        values = {"ledger": str(path), "problems": found.problems, "checked": found.counts}
        values["notes"] = found.notes
        print(json.dumps({**values, "not_checked": scans.unchecked}))
        return 1 if found.problems else 0
    for problem in found.problems:
        print(problem, file=sys.stderr)
    for words in (*found.notes, *scans.unchecked):
        print(words)
    counts = ", ".join(_counted(name, number) for name, number in found.counts.items())
    print(f"{path}: {counts or 'its rows cannot be read'}; {count(len(found.problems), 'problem')}")
    return 1 if found.problems else 0


def _of_run(path: Path, args: argparse.Namespace, reporter: Reporter) -> ScanAccess:
    from annotator3d.active.stored_predictions import StoredPredictions
    from annotator3d.api.scans import scan_source
    from annotator3d.engine.workdir import WorkDir

    work_dir = WorkDir(path.parent)
    if args.no_scans:
        return ScanAccess()
    if args.config is None and not work_dir.config_path.is_file():
        return ScanAccess(
            unchecked=[
                f"the scans are not checked: {work_dir} has no config.yaml that says where they "
                "are. Pass --config FILE, such as WORK_DIR/config.yaml (and --data-root DIR if "
                "they have moved)"
            ]
        )
    try:
        source = scan_source(work_dir, args.config, args.data_root, reporter)
    except ConfigError:
        raise
    except (OSError, ValueError) as error:  # the ledger itself can be checked all the same
        return ScanAccess(
            problems=[f"the scans cannot be checked (--no-scans skips them): {in_words(error)}"]
        )
    return ScanAccess(source, StoredPredictions(work_dir.rounds))


def _of_package(path: Path, args: argparse.Namespace) -> ScanAccess:
    """A package carries its scans and predictions itself."""
    from annotator3d.annotation.packages.package import PackageSource, damaged_contents
    from annotator3d.api.packages import refuse_options

    refuse_options(path, args.config, args.data_root)
    try:
        if problems := damaged_contents(path):
            return ScanAccess(problems=problems)
        source = PackageSource(path)
    except (OSError, ValueError) as error:
        return ScanAccess(
            problems=[f"the contents of the package cannot be checked: {in_words(error)}"]
        )
    return ScanAccess() if args.no_scans else ScanAccess(source, source)


def _counted(name: str, number: int) -> str:
    """``name`` is that of a table or of files, such as "rounds" or "queries"."""
    single = name[:-3] + "y" if name.endswith("ies") else name.removesuffix("s")
    return f"{number} {single if number == 1 else name}"
