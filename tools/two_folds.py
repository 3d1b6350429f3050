#!/usr/bin/env python3
"""The main job on a few real scans: two folds by sequence, several seeds, pooled.

Every scan is tested once, by the network that did not see its sequence. Writes the tables of
docs/results.md to OUT/tables.md. A stopped experiment continues where it stopped.

    python tools/two_folds.py SEMANTICKITTI_ROOT OUT [--seeds 3] [--set key=value]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from annotator3d.analysis.pooled import markdown, pool_runs
from annotator3d.analysis.runs import read_run
from annotator3d.cli.terminal import open_reporter
from annotator3d.engine.build import build_dataset
from annotator3d.engine.config.load import find_config, load_config
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.evaluation import evaluate_into
from annotator3d.engine.jobs import Job, last_checkpoint, run_jobs
from annotator3d.engine.workdir import WorkDir
from annotator3d.reporter import Reporter

FOLDS = (("00", "03", "06", "09"), ("02", "05", "07", "08"))
ARMS = list(product(("ada", "asfda", "al"), ("vcd", "random")))


def config_of(setting: str, root: str, fold: int, seed: int, extra: list[str]) -> RunConfig:
    train, val = json.dumps(FOLDS[fold]), json.dumps(FOLDS[1 - fold])
    return load_config(
        find_config(f"{setting}/semantickitti_few"),
        [
            f"seed={seed}",
            f"data.train.root={json.dumps(root)}",
            f"data.val.root={json.dumps(root)}",
            f"data.train.sequences={train}",
            f"data.val.sequences={val}",
            *extra,
        ],
    )


def make_jobs(root: str, out: Path, seeds: int, extra: list[str]) -> list[Job]:
    """All runs; the source-only network of a seed is one for both folds."""
    jobs = []

    def add(setting: str, name: str, seed: int, fold: int, *more: str) -> None:
        start = f"source-only seed {seed}" if setting in ("asfda", "ada") else None
        config = config_of(setting, root, fold, seed, [*extra, *more])
        full = f"{name} seed {seed}" + ("" if setting == "source_only" else f" fold {fold}")
        jobs.append(Job(full, config, WorkDir(out / full.replace(" ", "-")), start))

    for seed in range(seeds):
        add("source_only", "source-only", seed, 0)
    for seed, fold in product(range(seeds), range(len(FOLDS))):
        for setting, strategy in ARMS:
            add(setting, f"{setting} {strategy}", seed, fold, f"active.strategy={strategy}")
        add("ada", "zero-label", seed, fold, "active.rounds_at=[]")
        add("target_only", "target-only", seed, fold)
    return jobs


def read_grid(
    jobs: dict[str, Job], root: str, out: Path, seeds: int, extra: list[str], reporter: Reporter
) -> dict:
    """Finished runs by (setting, strategy, seed, fold); source-only is tested on each fold here."""
    grid = {}
    for seed, fold in product(range(seeds), range(len(FOLDS))):
        of = f"seed {seed} fold {fold}"
        for setting, strategy in ARMS:
            run = read_run(jobs[f"{setting} {strategy} {of}"].work_dir)
            grid[setting, strategy, seed, fold] = run
        grid["ada", "zero_label", seed, fold] = read_run(jobs[f"zero-label {of}"].work_dir)
        grid["target_only", "none", seed, fold] = read_run(jobs[f"target-only {of}"].work_dir)
        source = jobs[f"source-only seed {seed}"]
        config = config_of("source_only", root, fold, seed, extra)
        folder = WorkDir(out / f"source-only-{of.replace(' ', '-')}")
        evaluate_into(folder, config, last_checkpoint(source), reporter)
        grid["source_only", "none", seed, fold] = read_run(folder)
    return grid


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", help="folder with sequences/ 00, 02, 03, 05, 06, 07, 08 and 09")
    parser.add_argument("out", type=Path, help="gets a work directory for each run, and tables.md")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args(argv)
    began = time.monotonic()
    jobs = make_jobs(args.root, args.out, args.seeds, args.set)
    with open_reporter() as reporter:
        build_dataset(jobs[0].config.data.source, "data.source", progress=reporter.progress)
        run_jobs(jobs, reporter)
        by_name = {job.name: job for job in jobs}
        grid = read_grid(by_name, args.root, args.out, args.seeds, args.set, reporter)
    tables = markdown(pool_runs(grid))
    (args.out / "tables.md").write_text(tables)
    print(tables)
    minutes = (time.monotonic() - began) / 60
    print(f"{len(jobs)} runs in {minutes:.0f} minutes; {args.out / 'tables.md'}")


if __name__ == "__main__":
    main()
