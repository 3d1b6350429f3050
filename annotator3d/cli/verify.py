"""``ledger verify``: a ledger, a copy of one or a work package, with its scans where it can."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    from annotator3d.cli.terminal import Reporter


def add_verify(action: Callable[[str, str], argparse.ArgumentParser]) -> None:
    one = action("verify", "check every rule that a ledger keeps, and the scans it speaks of")
    one.add_argument("work_dir", metavar="WORK_DIR|LEDGER|PACKAGE")
    one.add_argument("--config", metavar="CONFIG", help="where the work directory holds none")
    one.add_argument("--data-root", metavar="DIR", help="where the scans are now")
    one.add_argument("--no-scans", action="store_true", help="do not read the scans")
    one.add_argument("--json", action="store_true")


def ledger_path(text: str) -> Path:
    """The ledger file that a work directory or a file means; it is there."""
    path = Path(text)
    path = path / "ledger.sqlite" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"there is no ledger {path}; name a work directory or a ledger")
    return path


@dataclass
class _Scans:
    """What the scans of a ledger are read from."""

    source: Any = None  # `ScanSource`; None: they are not checked
    predictions: Any = None
    problems: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)  # what is not looked at, and why


def verify(args: argparse.Namespace) -> int:
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.ledger.database import is_package
    from annotator3d.ledger.maintenance.verify import verify as check

    path = ledger_path(args.work_dir)
    with open_reporter() as reporter:
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
        print(json.dumps({**values, "not_checked": scans.unchecked}))
        return 1 if found.problems else 0
    for problem in found.problems:
        print(problem, file=sys.stderr)
    for words in scans.unchecked:
        print(words)
    counts = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    print(f"{path}: {counts or 'its rows cannot be read'}; {len(found.problems)} problems")
    return 1 if found.problems else 0


def _of_run(path: Path, args: argparse.Namespace, reporter: Reporter) -> _Scans:
    from annotator3d.active.stored_predictions import StoredPredictions
    from annotator3d.api import scan_source

    folder = path.parent
    if args.no_scans:
        return _Scans()
    if args.config is None and not (folder / "config.yaml").is_file():
        return _Scans(
            unchecked=[
                f"the scans are not checked: {folder} holds no config.yaml that says where they "
                "are; name it with --config, such as WORK_DIR/config.yaml (and their folder with "
                "--data-root)"
            ]
        )
    try:
        source = scan_source(folder, args.config, args.data_root, reporter)
    except ConfigError:
        raise
    except (OSError, ValueError) as error:  # the ledger itself can be checked all the same
        words = f"the scans cannot be checked (--no-scans leaves them out): {error}"
        return _Scans(problems=[words])
    return _Scans(source, StoredPredictions(folder / "rounds"))


def _of_package(path: Path, args: argparse.Namespace) -> _Scans:
    """A package brings its scans and predictions itself."""
    from annotator3d.annotation.packages.package import PackageSource, damaged_contents
    from annotator3d.api import refuse_options

    refuse_options(path, args.config, args.data_root)
    try:
        if problems := list(damaged_contents(path)):
            return _Scans(problems=problems)
        source = PackageSource(path)
    except (OSError, ValueError, sqlite3.Error) as error:
        return _Scans(problems=[f"what the package carries cannot be checked: {error}"])
    return _Scans() if args.no_scans else _Scans(source, source)
