#!/usr/bin/env python3
"""What wrong answers cost: ASFDA on simulated streets with simulated people of several kinds.

ASFDA learns from the answers alone, so nothing hides what they are worth. All runs start from one
source-only network. Writes the table of docs/results.md to OUT/table.md. A stopped experiment
continues where it stopped.

    python tools/noise.py OUT [--seeds 3] [--set key=value]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean, stdev

from annotator3d.analysis.runs import read_run
from annotator3d.cli.terminal import open_reporter
from annotator3d.data.scan import IGNORE, rows_of_cell
from annotator3d.engine.build import build_dataset
from annotator3d.engine.config.load import find_config, load_config
from annotator3d.engine.jobs import Job, run_jobs
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.effort import round_costs

SOURCE = "source-only"
# The demo's scans are coarse: their points lie further apart than the default of this distance.
_BORDER = "active.oracle.border_distance=0.25"
LEVELS = {
    "no noise": [],
    "light": ["variant=noise_light", _BORDER],
    "dominant label only": ["active.oracle.type=noisy", "active.oracle.dominant=1.0"],
    "heavy": ["variant=noise_heavy", _BORDER],
}


@dataclass(frozen=True)
class Outcome:
    """One run; `wrong` is the share of the labelled points, in percent, with a wrong class."""

    miou: float
    voxels: int
    answered: int
    wrong: float
    hours: float


def make_jobs(out: Path, seeds: int, extra: Sequence[str]) -> list[Job]:
    """A source-only network and, from it, ASFDA with every level of noise, once for each seed."""
    source = load_config(find_config("source_only/streets_demo"), extra)
    jobs = [Job(SOURCE, source, WorkDir(out / SOURCE))]
    for seed, (level, own) in product(range(seeds), LEVELS.items()):
        settings = [f"seed={seed}", "schedule.evaluate_at=[]", *extra, *own]
        config = load_config(find_config("asfda/streets_demo"), settings)
        name = f"{level} {seed}"
        jobs.append(Job(name, config, WorkDir(out / name.replace(" ", "-")), SOURCE))
    return jobs


def outcome(job: Job) -> Outcome:
    """What a finished run came to; its answers are compared with the label files."""
    pool = build_dataset(job.config.data.train, "data.train")
    labelled = wrong = 0
    with job.work_dir.ledger() as ledger:
        meters = round_costs(ledger)
        for scan_id, answers in ledger.labels_by_scan().items():
            scan = pool.read(pool.index(scan_id))
            for cell, labels, _ in answers:
                truth = scan.labels[rows_of_cell(scan.xyz, cell, ledger.voxel_size)]
                given = labels != IGNORE
                labelled += int(given.sum())
                wrong += int((labels != truth)[given].sum())
    return Outcome(
        miou=read_run(job.work_dir).final.miou,
        voxels=sum(meter.voxels for meter in meters),
        answered=sum(meter.answered for meter in meters),
        wrong=100 * wrong / max(labelled, 1),
        hours=sum(meter.seconds for meter in meters) / 3600,
    )


def markdown(found: dict[str, list[Outcome]], seeds: int) -> str:
    head = ["level", *(f"seed {seed}" for seed in range(seeds)), "mean", "minus no noise"]
    head += ["wrong points", "answered", "hours"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " --: |" * (len(head) - 1)]
    clean = [each.miou for each in found["no noise"]]
    for level, runs in found.items():
        miou = [each.miou for each in runs]
        less = [a - b for a, b in zip(miou, clean, strict=True)]
        answered, voxels = mean(e.answered for e in runs), mean(e.voxels for e in runs)
        cells = [level, *(f"{value:.1f}" for value in miou), _spread(miou)]
        cells += [_spread(less, "+") if level != "no noise" else "-"]
        cells += [f"{mean(e.wrong for e in runs):.1f} %", f"{answered:.0f} of {voxels:.0f}"]
        hours = mean(e.hours for e in runs)
        cells += [f"{hours:.2f}" if hours else "-"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _spread(values: Sequence[float], sign: str = "") -> str:
    return f"{mean(values):{sign}.1f}" + (f" +- {stdev(values):.1f}" if len(values) > 1 else "")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="gets a work directory for each run, and table.md")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args(argv)
    began, jobs = time.monotonic(), make_jobs(args.out, args.seeds, args.set)
    with open_reporter() as reporter:
        for key, values in vars(jobs[0].config.data).items():
            if isinstance(values, dict):
                build_dataset(values, f"data.{key}", progress=reporter.progress)
        trained = run_jobs(jobs, reporter)
    by_name = {job.name: job for job in jobs}
    found = {
        level: [outcome(by_name[f"{level} {seed}"]) for seed in range(args.seeds)]
        for level in LEVELS
    }
    start = read_run(by_name[SOURCE].work_dir).final.miou
    table = markdown(found, args.seeds) + f"\nSource-only: {start:.1f}.\n"
    (args.out / "table.md").write_text(table)
    print(table)
    minutes = (time.monotonic() - began) / 60
    print(f"{trained} of {len(jobs)} runs trained, {minutes:.0f} minutes; {args.out / 'table.md'}")


if __name__ == "__main__":
    main()
