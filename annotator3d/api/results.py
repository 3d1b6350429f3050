"""What a run gives: its mIoU, the IoU of each class, and what each round cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator3d.analysis.runs import read_run


@dataclass(frozen=True)
class Evaluation:
    """An evaluation over every raw point of the validation scans."""

    miou: float
    """Percent, over the classes that occur in the ground truth."""
    iou_per_class: dict[str, float | None]
    """Percent; None: the class is absent from the ground truth."""
    confusion: NDArray[np.int64]
    """[C, C + 1] points; row: ground truth, column: predicted, last column: no prediction."""

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Evaluation:
        """From what `engine.metrics.describe` gives."""
        confusion = np.array(found["confusion"], np.int64)
        return cls(found["miou"], dict(found["iou_per_class"]), confusion)


@dataclass(frozen=True)
class RunResult:
    """What a finished run came to."""

    work_dir: Path
    miou: float
    """Percent, of the last evaluation."""
    iou_per_class: dict[str, float | None]
    """Percent, of the last evaluation; None: absent from the ground truth."""
    rounds: list[dict[str, Any]]
    """What each evaluation of a round came to: `round`, `epoch`, `miou` and, cumulatively,
    `voxels` asked, their `points`, `answered` voxels and `labelled_points`; for
    `pandas.DataFrame`. Empty where nothing is asked."""


def read_result(work_dir: str | Path) -> RunResult:
    """The result of the finished run in a work directory.

    Raises FileNotFoundError if there is no run, ValueError if it is not finished.
    """
    run = read_run(work_dir)
    columns = ("round", "epoch", "miou", "voxels", "points", "answered", "labelled_points")
    rounds = [
        {name: value for name, value in asdict(e).items() if name in columns}
        for e in run.evaluations
        if e.round
    ]
    return RunResult(Path(work_dir), run.final.miou, dict(run.final.iou_per_class), rounds)
