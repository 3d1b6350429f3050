"""Time the commands that keep a ledger, at the size of SemanticKITTI: 19,130 scans, 5 rounds.

Answers, people and times are drawn from a seed; there are no scans behind them. Every command is a
process of its own. Usage: python tools/bench_ledger.py [--scans 19130] [--rounds 5] [--repeat 3]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from annotator3d.data.taxonomy import load_taxonomy
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.records import Answer, ScanRecord

PEOPLE = ("ann", "bob", "cleo")
COMMANDS = (
    "ledger verify {run} --no-scans",
    "ledger backup {run} {new}",
    "ledger export {run} {text}",
    "ledger import {text} {new}",
    "ledger log {run} --query 1",
    "round status {run}",
    "quality request {run} --overlap 5%",
    "quality report {run}",
    "cost {run}",
)


def fill(path: Path, scans: int, rounds: int) -> int:
    """Write a ledger with one voxel a scan and round, all answered; returns its queries."""
    taxonomy, random = load_taxonomy("semantickitti19"), np.random.default_rng(0)
    ids = [f"{i // 4541:02d}/{i % 4541:06d}" for i in range(scans)]
    with Ledger.open(path, taxonomy.names, taxonomy.digest(), 0.25) as ledger:
        ledger.file.db.execute("PRAGMA synchronous = OFF")  # it is only written to be read
        ledger.register_scans(ScanRecord(id_, f"{i:064x}", 120_000) for i, id_ in enumerate(ids))
        for round_ in range(1, rounds + 1):
            asked = {
                id_: [
                    SimpleNamespace(
                        cell=(9 * round_ + i % 9, i % 11, 0),
                        utility=float(random.random()),
                        num_points=int(random.integers(5, 60)),
                    )
                ]
                for i, id_ in enumerate(ids)
            }
            ledger.add_round(round_, "vcd", 0, 1, asked, epoch=round_)
            for query in ledger.queries(round_):
                half = query.num_points // 2
                labels = random.integers(0, 19, 2).repeat([half, query.num_points - half])
                answer = Answer(
                    labels=labels.astype(np.uint8),
                    annotator=PEOPLE[query.id % 3],
                    seconds=float(random.lognormal(1.5, 0.5)),
                    clicks=2,
                )
                ledger.record(query.id, answer)
        return ledger.spent()


def run(command: list[str]) -> tuple[float, float]:
    """Wall-clock and processor seconds of a command, whole process."""
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "annotator3d", *command],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=19_130)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "run").mkdir()
        queries = fill(home / "run/ledger.sqlite", args.scans, args.rounds)
        size = os.path.getsize(home / "run/ledger.sqlite") / 1e6
        print(f"{queries:,} queries, {size:.0f} MB")
        for command in COMMANDS:
            times = []
            for _ in range(args.repeat):
                shutil.rmtree(home / "new", ignore_errors=True)
                Path(home / "new").unlink(missing_ok=True)
                if "export" in command:
                    (home / "text.jsonl").unlink(missing_ok=True)
                places = {"run": home / "run", "new": home / "new", "text": home / "text.jsonl"}
                times.append(run(command.format(**places).split()))
            wall, processor = (statistics.median(each) for each in zip(*times, strict=True))
            shown = command.replace("{run}", "WORK_DIR").replace("{new}", "NEW")
            shown = shown.replace("{text}", "FILE")
            print(f"{shown}: {wall:.1f} s, {processor:.1f} s of processor")


if __name__ == "__main__":
    main()
