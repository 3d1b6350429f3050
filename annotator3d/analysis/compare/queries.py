"""What the arms asked: shares of classes, rare classes, and the overlap of their query sets."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from annotator3d.analysis.compare.compared_run import ComparedRun
from annotator3d.analysis.compare.picks import Pick
from annotator3d.analysis.compare.results import Results

RARE = 0.01  # a class with a smaller share of the test points is rare


def asked_points(picks: tuple[Pick, ...], classes: int) -> np.ndarray:
    """[C] int64: points that the answers gave to each class."""
    found = np.zeros(classes, np.int64)
    for pick in picks:
        for name, points in pick.labels.items():
            if name < classes:
                found[name] += points
    return found


def jaccard(one: ComparedRun, other: ComparedRun) -> float:
    """Voxels that both asked about, as a share of those that either did; 0 for none at all."""
    either = len(one.cells | other.cells)
    return len(one.cells & other.cells) / either if either else 0.0


def overlaps(results: Results, task: str) -> dict[tuple[str, str], float]:
    """Mean Jaccard index of the query sets of two arms over their pairs."""
    found = {}
    for one, other in combinations(results.asking(task), 2):
        a, b = results.of(task, one), results.of(task, other)
        shared = [jaccard(a[seed], b[seed]) for seed in a if seed in b]
        if shared:
            found[one, other] = float(np.mean(shared))
    return found


def points_tested(run: ComparedRun) -> np.ndarray:
    """[C] int64: points of each class in the test scans."""
    return run.run.final.confusion.sum(axis=1)


def rare_classes(run: ComparedRun) -> np.ndarray:
    """[C] bool: in the test scans, but with less than 1 % of their points."""
    points = points_tested(run)
    return (points > 0) & (points < RARE * points.sum())


def rare_recall(run: ComparedRun) -> float | None:
    """Mean recall of the rare classes at the end, in percent; None where no class is rare."""
    rare = rare_classes(run)
    if not rare.any():
        return None
    hits = np.diagonal(run.run.final.confusion)
    return 100 * float((hits[rare] / points_tested(run)[rare]).mean())


def class_differences(results: Results, task: str, one: str, other: str) -> dict[str, list[float]]:
    """Differences of the final IoU by class, one for each whole pair; absent classes left out."""
    a, b = results.of(task, one), results.of(task, other)
    found: dict[str, list[float]] = {}
    for seed in a:
        if seed not in b:
            continue
        ours, theirs = a[seed].run.final.iou_per_class, b[seed].run.final.iou_per_class
        for name, iou in ours.items():
            if iou is not None and theirs[name] is not None:
                found.setdefault(name, []).append(iou - theirs[name])
    return found
