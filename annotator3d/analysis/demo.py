"""The demo: the main job on simulated streets, from simulation to report, on two CPU cores."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from annotator3d.analysis.figures.birdseye import birds_eye
from annotator3d.analysis.figures.curves import budget_curves, class_bars
from annotator3d.analysis.report.experiment import Notes, write_report
from annotator3d.analysis.runs import read_run
from annotator3d.analysis.summary import summarise, write_summary
from annotator3d.engine.build import build_dataset
from annotator3d.engine.config.load import find_config, load_config
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.jobs import Job, run_jobs
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import count
from annotator3d.reporter import Reporter

ACTIVE = list(product(("al", "asfda", "ada"), ("random", "vcd")))
PICTURED = ("ada", "vcd")  # the run whose queries the bird's-eye picture shows


def demo_config(setting: str, overrides: Sequence[str]) -> RunConfig:
    return load_config(find_config(f"{setting}/streets_demo"), overrides)


def demo_jobs(out: Path, overrides: Sequence[str] = ()) -> list[Job]:
    """Source-only and target-only, {random, vcd} x {AL, ASFDA, ADA}, and ADA without a label."""

    def job(name: str, setting: str, *own: str) -> Job:
        start = "source-only" if setting in ("asfda", "ada") else None
        config = demo_config(setting, [*overrides, *own])
        return Job(name, config, WorkDir(out / name.replace(" ", "-")), start)

    active = {
        (setting, strategy): job(f"{setting} {strategy}", setting, f"active.strategy={strategy}")
        for setting, strategy in ACTIVE
    }
    return [
        job("source-only", "source_only"),
        # The long ones first, so that no core waits at the end.
        *(active["ada", strategy] for strategy in ("vcd", "random")),
        job("zero-label", "ada", "active.rounds_at=[]"),
        *(run for (setting, _), run in active.items() if setting != "ada"),
        job("target-only", "target_only"),
    ]


def run_demo(out: Path, reporter: Reporter, overrides: Sequence[str] = ()) -> Path:
    """Simulate, train, compare; writes ``summary.json`` and ``report.html`` into `out`.

    Args:
        overrides: ``key=value`` settings for every run.

    Returns:
        the path of the report.
    """
    began = time.monotonic()
    config = demo_config("ada", overrides)
    for key in ("source", "train", "val"):
        build_dataset(getattr(config.data, key), f"data.{key}", progress=reporter.progress)
    jobs = demo_jobs(out, overrides)
    trained = run_jobs(jobs, reporter)
    runs = {job.name: read_run(job.work_dir) for job in jobs}
    wall_seconds = time.monotonic() - began
    if not trained and (out / "summary.json").exists():  # only read back: keep what it took
        wall_seconds = json.loads((out / "summary.json").read_text())["wall_seconds"]
    summary = summarise(
        [runs[f"{setting} {strategy}"] for setting, strategy in ACTIVE],
        runs["source-only"],
        runs["zero-label"],
        runs["target-only"],
        wall_seconds=wall_seconds,
    )
    write_summary(out / "summary.json", summary)
    pictured = next(job for job in jobs if job.name == " ".join(PICTURED))
    figures = {
        "curves": budget_curves(summary),
        "classes": class_bars(summary),
        "birds_eye": queried_scan(pictured, out / "queries.png"),
    }
    target_epochs = next(j for j in jobs if j.name == "target-only").config.schedule.epochs
    write_report(out / "report.html", summary, figures, _notes(config, target_epochs))
    return out / "report.html"


def queried_scan(job: Job, path: Path) -> bytes:
    """Bird's-eye picture of the scan with the most labelled points in its queried voxels."""
    pool = build_dataset(job.config.data.train, "data.train")
    with job.work_dir.ledger() as ledger:
        queries = ledger.queries()
    points: dict[str, int] = {}
    for query in queries:
        points[query.scan] = points.get(query.scan, 0) + query.num_points
    chosen = max(sorted(points), key=points.__getitem__)
    scan, taxonomy = pool.read(pool.index(chosen)), pool.taxonomy
    shown = scan.labels < taxonomy.num_classes
    colors = taxonomy.colors[scan.labels[shown]]
    return birds_eye(
        scan.xyz[shown],
        colors,
        [query.cell for query in queries if query.scan == chosen],
        job.config.active.voxel_size,
        path,
        title=f"Simulated scan {chosen}: the voxels that were asked about",
        zoom=3,
        legend=dict(zip(taxonomy.names, taxonomy.colors, strict=True)),
    )


def _notes(config: RunConfig, target_epochs: int) -> Notes:
    data, active = config.data, config.active
    return Notes(
        title="annotator3d: five voxels per scan",
        source=f"{data.source['domain']} (simulated)",
        target=f"{data.train['domain']} (simulated)",
        simulated=True,
        commands=["annotator3d demo"],
        remarks=[
            f"{len(active.rounds_at)} rounds of {active.queries_per_scan} voxel of "
            f"{active.voxel_size} m per scan; {config.schedule.epochs} epochs of ADA; network "
            f"voxels of {config.model.voxel_size} m.",
            "Zero-label is ADA with the same checkpoint, schedule, source batches and batch-norm "
            "adaptation, but without a single label of the target.",
            f"Target-only starts from nothing, on all labels of the target, and trains for "
            f"{count(target_epochs, 'epoch')}. AL starts from nothing, too, with as few steps as "
            "ASFDA.",
        ],
    )
