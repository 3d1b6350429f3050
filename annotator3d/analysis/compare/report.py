"""Writes ``report.html`` and ``report.json`` of an experiment from its archive alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from annotator3d.analysis.compare.compared_run import ComparedRun
from annotator3d.analysis.compare.environment import environment
from annotator3d.analysis.compare.equal_budgets import Worth, base_of, worth_at_equal_budgets
from annotator3d.analysis.compare.findings import Finding, calibration, findings, wins
from annotator3d.analysis.compare.page import page_of
from annotator3d.analysis.compare.paired import LEVEL, POWER, Paired, is_exact
from annotator3d.analysis.compare.queries import asked_points, overlaps, rare_recall
from annotator3d.analysis.compare.results import Results, read_results
from annotator3d.analysis.report.page import write_page
from annotator3d.data.files import atomic_write, make_folder


def write_comparison(archive: str | Path, out: Path) -> Path:
    """Make the report of a ``results.zip`` in the folder `out`.

    The same archive gives the same bytes.

    Returns:
        the path of ``report.html``.

    Raises:
        FileNotFoundError, ValueError: see `read_results`; or no run has ended.
    """
    results = read_results(archive)
    if not results.runs:
        raise ValueError(f"{archive}: no run has ended yet, so there is nothing to report")
    make_folder(out)
    claimed = claims(results)
    others = secondary(results)
    text = json.dumps(as_json(results, claimed, others), indent=1, allow_nan=False) + "\n"
    with atomic_write(out / "report.json") as file:
        file.write(text.encode())
    write_page(out / "report.html", page_of(results, claimed, others))
    return out / "report.html"


def claims(results: Results) -> list[Finding]:
    """The comparisons by the measure that the experiment file named before the runs."""
    return findings(results, results.experiment.measure, results.experiment.axes[0])


def secondary(results: Results) -> list[list[Finding]]:
    """The same by every other measure, each corrected by itself; nothing is claimed by them."""
    experiment = results.experiment
    measures = [("end", experiment.axes[0])] if experiment.measure == "area" else []
    areas = experiment.axes if experiment.measure == "end" else experiment.axes[1:]
    return [findings(results, m, axis) for m, axis in [*measures, *(("area", a) for a in areas)]]


def as_json(
    results: Results, claimed: list[Finding], others: list[list[Finding]]
) -> dict[str, Any]:
    """Everything that the page shows, and each run's numbers."""
    experiment = results.experiment
    return {
        "experiment": dataclasses.asdict(experiment),
        "seeds": results.seeds,
        "claim": {
            "measure": experiment.measure,
            "axis": experiment.axes[0],
            "test": experiment.test,
            "exact": experiment.test == "sign-flip" and is_exact(len(results.seeds)),
            "level": LEVEL,
            "power": POWER,
            "tests": len(claimed),
        },
        "findings": [_finding(each) for each in claimed],
        "equal_budgets": {
            "base": base_of(experiment),
            "worth": [_worth(each) for each in worth_at_equal_budgets(results)],
        },
        "secondary": [_finding(each) for group in others for each in group],
        "runs": [_run(results, entry) for entry in results.planned],
        "folds": [
            {"task": task, "arm": arm, "seed": seed, **_scores(results, task, arm, seed, run)}
            for task in results.experiment.folds
            for arm in (results.arms(task) if task in results.active else [None])
            for seed, run in results.of(task, arm).items()
        ],
        "wins": {task: _wins(results, task) for task in results.active},
        "overlap": {
            task: [
                {"arms": list(pair), "jaccard": j} for pair, j in overlaps(results, task).items()
            ]
            for task in results.active
        },
        "pool": {task: points.tolist() for task, points in results.pools.items()},
        "calibration": {
            task: None if found is None else {**vars(found), "rate": found.rate}
            for task, found in calibration(results).items()
        },
        "amendments": list(results.amendments),
        "environment": environment(results),
    }


def _paired(paired: Paired | None) -> dict[str, Any] | None:
    return paired and {**vars(paired), "differences": list(paired.differences)}


def _worth(each: Worth) -> dict[str, Any]:
    return {**vars(each), "paired": _paired(each.paired), "shown": each.is_shown}


def _finding(each: Finding) -> dict[str, Any]:
    return {
        **{f: getattr(each, f) for f in ("measure", "axis", "task", "arm", "other")},
        "seeds": list(each.seeds),
        "paired": _paired(each.paired),
        "p_holm": each.p_holm,
        "looks": [vars(look) for look in each.looks],
        "shown": each.shown,
        "words": each.words,
    }


def _run(results: Results, entry: dict[str, Any]) -> dict[str, Any]:
    key = (entry["task"], entry["arm"], entry["seed"])
    if key not in results.runs:
        return dict(entry)
    run = results.runs[key]
    return {**entry, **_scores(results, *key, run), "minutes": run.run.run_info.get("minutes")}


def _scores(
    results: Results, task: str, arm: str | None, seed: int, run: ComparedRun
) -> dict[str, Any]:
    axes = results.experiment.axes
    paired = arm is not None and seed in results.seeds
    return {
        "end": run.end,
        "area": {a: results.scores("area", task, arm, a).get(seed) for a in axes} if paired else {},
        "spent": {axis: run.spent(axis) for axis in axes},
        "iou_per_class": run.run.final.iou_per_class,
        "rare_recall": rare_recall(run),
        "asked": asked_points(run.picks, len(run.run.classes)).tolist(),
    }


def _wins(results: Results, task: str) -> dict[str, Any]:
    arms, matrix, budgets = wins(results, task)
    return {"arms": arms, "matrix": np.asarray(matrix).tolist(), "budgets": budgets}
