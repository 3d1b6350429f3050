"""Several runs as one dictionary, written as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from annotator3d.analysis.runs import Evaluation, Run
from annotator3d.data.files import atomic_write

SETTING_ORDER = ("ada", "asfda", "al")  # the main task first
STRATEGY_ORDER = ("random", "entropy", "margin", "vcd")
CURVE_NOTE = (
    "Only the last round of each run is the result of its whole training. The rounds before it "
    "were evaluated during training: the same network, not yet trained to the end."
)
Reference = Run | float | None


def summarise(
    runs: Mapping[Any, Run] | Iterable[Run],
    source_only: Reference,
    zero_label: Reference,
    target_only: Reference,
    wall_seconds: float,
) -> dict[str, Any]:
    """Summarise runs of AL, ASFDA and ADA beside the three runs that no query went into.

    Each round of a run is represented by its last evaluation, that is, by the last one before the
    answers of the next round came in. mIoU and IoU are in percent of all test points.

    Args:
        runs: runs with at least one round, or a mapping whose values they are.
        source_only, zero_label, target_only: the reference runs, or only their mIoU in percent, or
            None where there is none.
        wall_seconds: what all the runs took together.

    Returns:
        JSON-ready: source_only_miou, zero_label_miou, target_only_miou, wall_seconds, runs (each
        with setting, strategy, seed and rounds), and further keys.

    Raises:
        ValueError: a run without rounds, two runs of one (setting, strategy, seed), or runs of
            different classes.
    """
    listed = list(runs.values()) if isinstance(runs, Mapping) else list(runs)
    references = {
        "source_only": source_only,
        "zero_label": zero_label,
        "target_only": target_only,
    }
    classes = _common_classes([*listed, *(r for r in references.values() if isinstance(r, Run))])
    _refuse_twins(listed)
    return {
        **{f"{name}_miou": _miou(run) for name, run in references.items()},
        "wall_seconds": float(wall_seconds),
        "note": CURVE_NOTE,
        "classes": classes,
        "reference_iou_per_class": {
            name: run.final.iou_per_class if isinstance(run, Run) else None
            for name, run in references.items()
        },
        "runs": [_run_entry(run) for run in sorted(listed, key=_place)],
    }


def write_summary(path: str | Path, summary: Mapping[str, Any]) -> None:
    """Write `summary` as JSON; the file is replaced in one step."""
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    with atomic_write(path) as file:
        file.write(text.encode())


def ordered(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """The distinct names, those of `order` first and in its order, then the others by name."""
    return sorted(set(names), key=lambda name: _rank(name, order))


def _rank(name: str, order: Sequence[str]) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)


def _place(run: Run) -> tuple[tuple[int, str], tuple[int, str], int]:
    return _rank(run.setting, SETTING_ORDER), _rank(run.strategy, STRATEGY_ORDER), run.seed


def _common_classes(runs: Sequence[Run]) -> list[str]:
    if not runs:
        raise ValueError("runs: expected at least one run, got none")
    for run in runs[1:]:
        if run.classes != runs[0].classes:
            raise ValueError(
                f"{run.work_dir}: its classes {run.classes} are not those of "
                f"{runs[0].work_dir} {runs[0].classes}; they cannot stand in one summary"
            )
    return list(runs[0].classes)


def _refuse_twins(runs: Sequence[Run]) -> None:
    seen: dict[tuple[str, str, int], Run] = {}
    for run in runs:
        twin = seen.setdefault((run.setting, run.strategy, run.seed), run)
        if twin is not run:
            raise ValueError(
                f"{twin.work_dir} and {run.work_dir} are both {run.setting} {run.strategy} with "
                f"seed {run.seed}; leave one out, or give it another seed"
            )


def _miou(reference: Reference) -> float | None:
    if reference is None:
        return None
    return reference.final.miou if isinstance(reference, Run) else float(reference)


def _run_entry(run: Run) -> dict[str, Any]:
    last_of_round = {e.round: e for e in run.evaluations if e.round > 0}
    if not last_of_round:
        raise ValueError(
            f"{run.work_dir}: no evaluation after a round of queries; pass such a run as "
            "source_only, zero_label or target_only"
        )
    return {
        "setting": run.setting,
        "strategy": run.strategy,
        "seed": run.seed,
        "work_dir": str(run.work_dir),
        "rounds": [_round_entry(e, e is run.final) for e in last_of_round.values()],
    }


def _round_entry(evaluation: Evaluation, final: bool) -> dict[str, Any]:
    return {
        "round": evaluation.round,
        "voxels": evaluation.voxels,
        "points": evaluation.points,
        "answered": evaluation.answered,
        "miou": evaluation.miou,
        "iou_per_class": evaluation.iou_per_class,
        "epoch": evaluation.epoch,
        "during_training": not final,
        "labelled_points": evaluation.labelled_points,
        "void_queries": evaluation.void_queries,
    }
