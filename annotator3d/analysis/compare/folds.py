"""Runs of several folds as one run, whose confusion matrix is the sum of theirs.

With few test scans many classes have no point in a fold, and its mIoU is noise. Folds that together
test every scan once are one test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from annotator3d.analysis.compare.compared_run import ComparedRun
from annotator3d.analysis.runs import Evaluation, Run
from annotator3d.engine.metrics import iou_from_confusion


def pool_folds(runs: Sequence[ComparedRun]) -> ComparedRun:
    """One run of an arm and seed: confusions, budgets and queries of the folds added up.

    Raises:
        ValueError: the folds have other classes, were evaluated at other epochs, or were tested on
            the same scans.
    """
    first = runs[0].run
    data = [compared.run.run_info.get("data", {}).get("val", {}) for compared in runs]
    tested = [values["fingerprint"] for values in data if "fingerprint" in values]
    if len(set(tested)) < len(tested):
        raise ValueError(
            f"folds of {_words(first)} were tested on the same scans, which would count twice; "
            "give each fold another data.val"
        )
    for other in (compared.run for compared in runs[1:]):
        if other.classes != first.classes:
            raise ValueError(f"{_words(other)} and {_words(first)} have different classes")
        if [(e.epoch, e.round) for e in other.evaluations] != [
            (e.epoch, e.round) for e in first.evaluations
        ]:
            raise ValueError(
                f"{_words(other)} and {_words(first)} were evaluated after different epochs or "
                "rounds; folds are added up evaluation by evaluation"
            )
    evaluations = zip(*(compared.run.evaluations for compared in runs), strict=True)
    pooled = tuple(_pool(each, first.classes) for each in evaluations)
    picks = tuple(pick for compared in runs for pick in compared.picks)
    return ComparedRun(replace(first, evaluations=pooled), picks)


def _pool(parts: Sequence[Evaluation], classes: Sequence[str]) -> Evaluation:
    confusion = sum(part.confusion for part in parts)
    iou, miou = iou_from_confusion(confusion)
    by_class = {
        name: None if value != value else 100 * float(value)
        for name, value in zip(classes, iou, strict=True)
    }
    answered = [part.answered for part in parts]
    return replace(
        parts[0],
        miou=100 * miou,
        iou_per_class=by_class,
        confusion=confusion,
        voxels=sum(part.voxels for part in parts),
        points=sum(part.points for part in parts),
        labelled_points=sum(part.labelled_points for part in parts),
        void_queries=sum(part.void_queries for part in parts),
        answered=None if None in answered else sum(answered),
    )


def _words(run: Run) -> str:
    return f"the run of {run.setting} with {run.strategy}, seed {run.seed}"
