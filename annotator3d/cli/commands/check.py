"""``annotator3d check``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.cli.command import command
from annotator3d.cli.options import add_json, add_set, add_trust, check_workers
from annotator3d.errors import count

if TYPE_CHECKING:
    from annotator3d.data.checking.dataset import Checked
    from annotator3d.data.datasets.base import ScanDataset


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", metavar="DATA", help="root of the dataset")
    add("--config", metavar="CONFIG", help="check what this config takes from DATA")
    add_set(parser)
    add_trust(parser)
    add("--taxonomy", metavar="FILE", help="class map, if not the dataset's own")
    add("--strict", action="store_true", help="exit with 1 for warnings, not only for errors")
    add("--all", action="store_true", help="print every problem, not ten of each kind")
    add(
        "--beside-data",
        action="store_true",
        help="keep the result in DATA/.annotator3d, for all who use DATA, not in your cache",
    )
    add("--workers", type=int, metavar="N", help="threads (default: one for each core)")
    add_json(parser)


@command(
    "check",
    help="read every file of a dataset and list what is wrong",
    options=add_options,
    order=22,
)
def check(args: argparse.Namespace) -> int:
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.data.checking import report
    from annotator3d.data.checking.dataset import check_dataset, merge

    check_workers(args.workers)
    results = []
    with open_reporter(aside=args.json) as reporter:
        for dataset in _datasets(args):
            name = f"checking {type(dataset).__name__}"
            if not args.json:
                print(f"{name} in {dataset.root}: {count(len(dataset), 'scan')}")

            def progress(done: int, total: int, name: str = name) -> None:
                reporter.progress(name, done, total)

            results.append(check_dataset(dataset, progress, args.workers))
    kept = _keep(results, args.beside_data)
    summary = report.summarise(merge(results))
    if args.json:
        print(json.dumps(summary))
        return _code(summary, args.strict)
    many = len(summary["problems"]) if args.all else 10
    for line in report.lines(summary, many):
        print(line)
    found = [problem["severity"] for problem in summary["problems"]]
    verdict = f"{count(found.count('error'), 'error')}, {count(found.count('warning'), 'warning')}"
    print(f"{verdict if found else 'nothing is wrong'}; {kept}")
    return _code(summary, args.strict)


def _code(summary: dict, strict: bool) -> int:
    """1 for errors, which stop a training; with ``--strict`` for warnings, too."""
    found = {problem["severity"] for problem in summary["problems"]}
    return 1 if "error" in found or (strict and found) else 0


def _keep(results: list[Checked], beside: bool) -> str:
    """Keep the results for training, and say where."""
    from annotator3d.data.checking import store

    try:
        kept = dict.fromkeys(str(store.save(result, beside)) for result in results)
    except OSError as error:
        return f"not kept for training, since {error}"
    return f"kept in {', '.join(kept)}"


def _datasets(args: argparse.Namespace) -> list[ScanDataset]:
    """What lies in the folder; or what a config takes from it, and its source."""
    from annotator3d.data.checking.opening import open_folder

    if args.config is None:
        return open_folder(Path(args.data), args.taxonomy)
    from annotator3d.engine.build import build_dataset
    from annotator3d.engine.config.load import find_config, load_config

    data = load_config(find_config(args.config), args.set or [], python=False, network=False).data
    opened = []
    for key, root in (("train", args.data), ("val", args.data), ("source", None)):
        values = getattr(data, key)
        if values is not None and (root or values.get("root")):
            values = {**values, "labels": "optional"}
            opened.append(build_dataset(values, f"data.{key}", root))
    return opened
