"""The demo: the main job on simulated streets, from simulation to report, on two CPU cores."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from annotator3d.analysis.figures.birdseye import birds_eye
from annotator3d.analysis.figures.curves import budget_curves, class_bars
from annotator3d.analysis.report.experiment import Notes, write_report
from annotator3d.analysis.report.growing import RunState, write_growing
from annotator3d.analysis.runs import Run, read_run
from annotator3d.analysis.summary import summarise, write_summary
from annotator3d.data.files import make_folder
from annotator3d.data.plain_json import parse_json
from annotator3d.engine.build import build_dataset
from annotator3d.engine.config.load import find_config, load_config
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.jobs import Job, prepare_processes, run_jobs
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import count
from annotator3d.reporter import Reporter

ACTIVE = list(product(("al", "asfda", "ada"), ("random", "vcd")))
PICTURED = "ada vcd"  # the run whose queries the bird's-eye picture shows


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
    prepare_processes()
    config = demo_config("ada", overrides)
    for key in ("source", "train", "val"):
        build_dataset(getattr(config.data, key), f"data.{key}", progress=reporter.progress)
    jobs = demo_jobs(out, overrides)
    target_epochs = next(j for j in jobs if j.name == "target-only").config.schedule.epochs
    notes = _notes(config, target_epochs)
    make_folder(out)
    growing = GrowingReport(out / "report.html", jobs, notes, began)
    reporter.info(f"the report fills while the runs go on: {out / 'report.html'}")
    trained = run_jobs(jobs, reporter, changed=growing.change)
    wall_seconds = time.monotonic() - began
    if not trained and (out / "summary.json").exists():  # only read back: keep what it took
        wall_seconds = parse_json((out / "summary.json").read_text())["wall_seconds"]
    summary = summary_of({job.name: read_run(job.work_dir) for job in jobs}, wall_seconds)
    write_summary(out / "summary.json", summary)
    pictured = next(job for job in jobs if job.name == PICTURED)
    figures = {
        "curves": budget_curves(summary),
        "classes": class_bars(summary),
        "birds_eye": queried_scan(pictured, out / "queries.png"),
    }
    write_report(out / "report.html", summary, figures, notes)
    return out / "report.html"


class GrowingReport:
    """The report while the runs go on: a scan of the target at once, results as they come.

    Args:
        path: of the HTML file.
        began: `time.monotonic` when the demo was started.
    """

    def __init__(self, path: Path, jobs: Sequence[Job], notes: Notes, began: float) -> None:
        self.path, self.notes, self.began = path, notes, began
        self.states = {job.name: RunState(job.name, "waiting") for job in jobs}
        self.jobs = {job.name: job for job in jobs}
        self.ended: dict[str, Run] = {}
        self.picture = b""

    def change(self, name: str, state: str) -> None:
        """Note that a run is "running" or has "ended", and write the page again."""
        if state == "ended":
            self.ended[name] = read_run(self.jobs[name].work_dir)
            self.states[name] = RunState(name, state, self.ended[name].final.miou)
        else:
            self.states[name] = RunState(name, state)
        if not self.picture or (name, state) == (PICTURED, "ended"):
            self.picture = queried_scan(self.jobs[PICTURED])
        answered = any(name in self.ended for name in map(" ".join, ACTIVE))
        summary = summary_of(self.ended, time.monotonic() - self.began) if answered else None
        figures = {"birds_eye": self.picture}
        write_growing(self.path, list(self.states.values()), summary, figures, self.notes)


def summary_of(runs: Mapping[str, Run], wall_seconds: float) -> dict[str, Any]:
    """The summary of those runs of `demo_jobs` that have ended, by name."""
    return summarise(
        [runs[name] for name in map(" ".join, ACTIVE) if name in runs],
        runs.get("source-only"),
        runs.get("zero-label"),
        runs.get("target-only"),
        wall_seconds=wall_seconds,
    )


def queried_scan(job: Job, path: Path | None = None) -> bytes:
    """Bird's-eye picture of the scan with the most labelled points in its queried voxels.

    Of the pool's first scan, as long as there is no query.
    """
    pool = build_dataset(job.config.data.train, "data.train")
    queries = []
    if job.work_dir.has_ledger():
        with job.work_dir.ledger() as ledger:
            queries = ledger.queries()
    points = {pool.ids[0]: 0}
    for query in queries:
        points[query.scan] = points.get(query.scan, 0) + query.num_points
    chosen = max(sorted(points), key=points.__getitem__)
    asked = ": the voxels that were asked about" if queries else ""
    scan, taxonomy = pool.read(pool.index(chosen)), pool.taxonomy
    shown = scan.labels < taxonomy.num_classes
    colors = taxonomy.colors[scan.labels[shown]]
    return birds_eye(
        scan.xyz[shown],
        colors,
        [query.cell for query in queries if query.scan == chosen],
        job.config.active.voxel_size,
        path,
        title=f"Simulated scan {chosen}{asked}",
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
