"""The report of one run, finished or not: where it stands, what it asked about, what it learnt."""

from __future__ import annotations

import csv
import dataclasses
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from annotator3d.analysis.costs import cost_section
from annotator3d.analysis.figures.curves import budget_curves, class_shares, training_curves
from annotator3d.analysis.quality.report import quality_section
from annotator3d.analysis.report.blocks import (
    Card,
    Note,
    Section,
    Table,
    duration,
    percent,
    picture,
)
from annotator3d.analysis.report.classes_asked import PoolClasses, picked_points, pool_classes
from annotator3d.analysis.report.outlook import outlook_section
from annotator3d.analysis.report.page import Page, write_page
from annotator3d.analysis.report.taught import taught_sections
from annotator3d.analysis.runs import Run, read_run
from annotator3d.analysis.summary import CURVE_NOTE, summarise
from annotator3d.engine.training.logs import FILE
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import count
from annotator3d.ledger.effort import RoundCost, round_costs
from annotator3d.ledger.ledger import Ledger
from annotator3d.reporter import Reporter

Counts = np.ndarray  # [R, C] int64


def report_run(work_dir: WorkDir, path: Path, reporter: Reporter) -> Path:
    """Write the report of the run in `work_dir` as one HTML file; of rounds of `select`, too.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: one of its files is corrupt.
    """
    has_run = work_dir.run_info_path.is_file() or not work_dir.has_ledger()
    run = read_run(work_dir, finished=False) if has_run else _selected_only(work_dir)
    steps = _steps(work_dir.logs / FILE)
    sections, costs, waiting = [*_budget(run)], [], 0
    if work_dir.has_ledger():
        with work_dir.ledger() as ledger, ledger.snapshot():
            rounds, picked = _rounds(ledger), picked_points(ledger, len(run.classes))
            costs, waiting = round_costs(ledger), len(ledger.open_queries())
            quality = quality_section(ledger)
            cost = cost_section(ledger, work_dir.rounds)
            outlook = outlook_section(ledger, work_dir.rounds)
            taught = taught_sections(work_dir, [entry.number for entry in ledger.rounds()])
        pool = pool_classes(
            work_dir,
            run.run_info,
            lambda done, total: reporter.progress("reading labels", done, total),
        )
        sections += [
            *_classes_asked(run, picked, pool),
            *rounds,
            *taught,
            *outlook,
            *cost,
            *quality,
        ]
    sections += [*_training(steps), *_iou(run), *_facts(run)]
    page = Page(
        title=f"annotator3d: {run.run_info.get('name') or run.setting}",
        lead=f"{run.setting.upper()}, {run.strategy}, seed {run.seed}; {run.work_dir}",
        cards=_cards(run, steps, costs, waiting),
        sections=sections,
    )
    write_page(path, page)
    return path


def _selected_only(work_dir: WorkDir) -> Run:
    """What `select` leaves, as a run without any training."""
    with work_dir.ledger() as ledger, ledger.snapshot():
        rounds, classes = ledger.rounds(), tuple(ledger.taxonomy_names)
        summary = dataclasses.asdict(ledger.summary())
    return Run(
        work_dir=work_dir.path,
        setting="select",
        strategy=", ".join(dict.fromkeys(entry.strategy for entry in rounds)) or "none",
        seed=rounds[-1].seed if rounds else 0,
        classes=classes,
        evaluations=(),
        run_info={"name": work_dir.path.name, "ledger": summary, "classes": list(classes)},
    )


def state_of(run_info: dict[str, Any]) -> str:
    """``done``, ``waiting``, ``stopped``, ``running``; ``interrupted``: its process is gone."""
    state = run_info["state"]
    if state == "running" and run_info.get("host") == socket.gethostname() and "pid" in run_info:
        try:
            os.kill(run_info["pid"], 0)
        except ProcessLookupError:
            return "interrupted"
        except OSError:
            pass
    return state


def _cards(
    run: Run, steps: list[dict[str, float]], costs: list[RoundCost], waiting: int
) -> list[Card]:
    run_info = run.run_info
    epoch = max((int(step.get("epoch", 0)) for step in steps), default=0)
    if "state" in run_info:
        words = f"epoch {epoch} of {run_info.get('epochs', '?')}"
        cards = [Card("State", state_of(run_info), words)]
    else:
        cards = [Card("State", "selected", "without training")]
    if run.evaluations:
        last = run.evaluations[-1]
        words = "final" if last.final else f"after epoch {last.epoch}, during training"
        cards.append(Card("mIoU", percent(last.miou), words))
    if costs:
        answered = sum(cost.answered for cost in costs)
        labelled = sum(cost.labelled_points for cost in costs)
        words = f"{answered:,} answered, {count(labelled, 'labelled point')}; "
        words += f"{waiting:,} wait for an answer"
        cards.append(Card("Queried voxels", f"{sum(cost.voxels for cost in costs):,}", words))
    if "minutes" in run_info:
        processes = count(run_info.get("processes", 1), "process", "processes")
        cards.append(Card("Time", duration(60 * run_info["minutes"]), processes))
    return cards


def _budget(run: Run) -> Iterable[Section]:
    """The curves, or why there are none: one point makes no curve."""
    rounds = sorted({evaluation.round for evaluation in run.evaluations if evaluation.round > 0})
    if len(rounds) == 1:
        last = run.evaluations[-1]
        words = (
            f"No curve is drawn: mIoU was measured after the answers of round {rounds[0]} only, "
            f"{percent(last.miou)} with {last.voxels:,} queried voxels and "
            f"{last.labelled_points:,} labelled points."
        )
        if rounds[0] > 1:
            words += " With schedule.evaluate_at: null a run is evaluated before each later round."
        yield Section("Budget curves", [Note(words)])
    elif rounds:
        summary = summarise([run], None, None, None, 60 * run.run_info.get("minutes", 0))
        caption = "mIoU against queried voxels (left) and labelled points (right)."
        yield Section("Budget curves", [picture("curves", budget_curves(summary), caption)])


def _rounds(ledger: Ledger) -> list[Section]:
    head = ["round", "strategy", "before epoch", "voxels asked", "points", "answered", "open"]
    head += ["no labels"]  # skipped, unsure or disputed
    head += ["labelled points", "void", "classes per voxel", "time", "clicks"]
    rows = []
    for entry, meter in zip(ledger.rounds(), round_costs(ledger), strict=True):
        waiting = len(ledger.open_queries(entry.number))
        closed = " (closed)" if ledger.is_closed(entry.number) else ""
        rows.append(
            [
                str(entry.number),
                entry.strategy,
                str(entry.epoch),
                f"{meter.voxels:,}",
                f"{meter.points:,}",
                f"{meter.answered:,}",
                f"{waiting:,}{closed}",
                f"{max(meter.voxels - waiting - meter.answered, 0):,}",
                f"{meter.labelled_points:,}",
                f"{meter.void_voxels:,}",
                f"{meter.classes_per_voxel:.1f}",
                duration(meter.seconds) if meter.seconds else "-",
                f"{meter.clicks:,}" if meter.clicks else "-",
            ]
        )
    return [Section("Rounds", [Table("", head, rows)])] if rows else []


def _classes_asked(run: Run, picked: Counts, pool: PoolClasses | None) -> Iterable[Section]:
    total = picked.sum(0)
    if not total.any():
        return
    share = 100 * total / total.sum()
    there = None if pool is None else 100 * pool.points / pool.points.sum()
    figure = class_shares(list(run.classes), share, there)
    words = "Labelled points of each class, in percent of all labelled points"
    words += "" if pool is None else ", beside the class's share of the pool's points."
    head = ["class", *(f"round {number}" for number in range(1, len(picked) + 1))]
    head += ["all rounds", "share", "pool", "times the pool's share"]
    rows = [
        [
            name,
            *(f"{count:,}" for count in picked[:, c]),
            f"{total[c]:,}",
            percent(share[c]),
            percent(None if there is None else there[c]),
            "-" if there is None or not there[c] else f"{share[c] / there[c]:.2g}",
        ]
        for c, name in enumerate(run.classes)
    ]
    source = "The labels of the pool cannot be read here: its shares are missing."
    if pool is not None:
        source = f"Shares of the pool: {pool.scans:,} of its {pool.of:,} scans, evenly spaced."
    blocks = [picture("classes asked", figure, words), Table("", head, rows), Note(source)]
    yield Section("Classes that were asked about", blocks)


def _training(steps: list[dict[str, float]]) -> Iterable[Section]:
    trained = [step for step in steps if "loss" in step]
    if len(trained) > 1:
        figure = training_curves(trained)
        caption = "Loss (mean of ten steps) and learning rate by step."
        rates = [step["scans_per_second"] for step in trained if "scans_per_second" in step]
        words = f"{np.median(rates):.3g} scans a second (median)" if rates else ""
        memory = [step["memory"] for step in trained if "memory" in step]
        words += f"; at most {max(memory):,.0f} MiB of memory." if memory else "."
        yield Section("Training", [picture("training", figure, caption), Note(words)])


def _iou(run: Run) -> list[Section]:
    if not run.evaluations:
        return []
    shown = run.evaluations[-6:]
    head = ["class", *(f"epoch {e.epoch}\nround {e.round}" for e in shown), "test points"]
    points = shown[-1].confusion.sum(1)
    rows = [
        [name, *(percent(e.iou_per_class[name], "") for e in shown), f"{points[c]:,}"]
        for c, name in enumerate(run.classes)
    ]
    return [Section("IoU of each class", [Note(CURVE_NOTE), Table("", head, rows)])]


def _facts(run: Run) -> list[Section]:
    run_info = run.run_info
    found = run_info.get("versions", {})
    lines = [
        f"device {run_info['device']}" if run_info.get("device") else "",
        ", ".join(f"{k} {v}" for k, v in found.items() if v != "missing"),
        f"commit {run_info['git']}" if run_info.get("git") else "",
    ]
    for name, values in run_info.get("data", {}).items():
        lines.append(f"{name}: {count(values['scans'], 'scan')} in {values['root']}")
    notes = [Note(line) for line in lines if line]
    return [Section("What it ran on", notes)] if notes else []


def _steps(path: Path) -> list[dict[str, float]]:
    """The lines of the log, with what each of them has."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return [
            {name: float(value) for name, value in line.items() if name and value}
            for line in csv.DictReader(file)
        ]
